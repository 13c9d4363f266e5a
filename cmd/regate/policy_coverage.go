package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/backtest"
)

func newPolicyCoverageCmd() *cobra.Command {
	var from recordedFlags
	var bundles []string
	var output string
	cmd := &cobra.Command{
		Use:   "coverage [FILE...]",
		Short: "Show which rules recorded traffic reaches, and which traffic no rule does",
		Long: `Put recorded decisions to the policies and show the rules that never held, the
traffic that is denied because no rule allows it, the agents that have no rule of
their own (whatever they may do, everybody may), and the parts of the input that
no package reads.

The policies are those of --bundle, or of the configuration.`,
		Example: `  regate policy coverage --since 30d
  regate policy coverage --bundle policies/ --since 7d --target shop
  regate policy coverage --bundle policies/ recorded.ndjson -o json | jq '.rules[] | select(.hits == 0)'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return &usageError{fmt.Errorf("unknown output %q: text or json", output)}
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			settings, err := policySettings(from.where.config)
			if err != nil {
				return err
			}
			var set *policy.Set
			if len(bundles) > 0 {
				set, err = loadPolicies(ctx, settings, bundles)
			} else if set, err = loadConfigured(ctx, settings); err == nil && set == nil {
				return &usageError{errors.New("no policies: give --bundle, or a configuration that names some")}
			}
			if err != nil {
				return err
			}
			source, closer, err := from.source(ctx, args)
			if err != nil {
				return err
			}
			defer closer()
			counter := &backtest.Counter{}
			done := showProgress(cmd.ErrOrStderr(), &from.progress, counter)
			report, err := backtest.Coverage(ctx, source, set, backtest.Options{Statement: statementWords, Counter: counter})
			done()
			if err != nil {
				return err
			}
			if output == "json" {
				err = printJSON(cmd.OutOrStdout(), report)
			} else {
				err = printCoverage(cmd.OutOrStdout(), report)
			}
			switch {
			case err != nil:
				return err
			case report.Interrupted:
				return errors.New("interrupted: the report is of what was read until then")
			case report.Source.Problems > 0:
				return fmt.Errorf("not everything could be read: %s; see regate verify", counted(report.Source.Problems, "problem"))
			case report.Decisions == 0:
				return errors.New("no decision was found: see --since, --archive and -c")
			}
			return nil
		},
	}
	from.add(cmd)
	f := cmd.Flags()
	f.StringSliceVarP(&bundles, "bundle", "b", nil, "the policies: a folder or .tar.gz (default: what the configuration names); may be given again")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

func printCoverage(out io.Writer, r *backtest.CoverageReport) error {
	var w strings.Builder
	st := styleFor(out)
	head := counted(r.Decisions, "decision")
	if r.First != nil {
		head += ", " + r.First.Local().Format("2006-01-02 15:04") + " to " + r.Last.Local().Format("2006-01-02 15:04")
	}
	fmt.Fprintf(&w, "%s\n", st.bold(fmt.Sprintf("%s; %d counted, of %s", head, r.Counted, counted(r.Evaluated, "different input"))))
	for _, c := range r.Outside {
		fmt.Fprintf(&w, "left out: %d that no policy decided: %s\n", c.Count, plainText(c.Name))
	}
	for _, c := range r.OtherSchemas {
		fmt.Fprintf(&w, "left out: %d whose input has the form %s, which this regate does not know\n", c.Count, plainText(c.Name))
	}
	for _, m := range r.Source.Messages {
		fmt.Fprintf(&w, "NOT READ: %s\n", plainText(m))
	}

	unused := r.Unused()
	fmt.Fprintf(&w, "\n%s\n", st.bold(fmt.Sprintf("rules that never held: %d of %d", len(unused), len(r.Rules))))
	tw := tabwriter.NewWriter(&w, 0, 4, 2, ' ', 0)
	for _, h := range unused {
		fmt.Fprintf(tw, "  %s\t%s\t%s:%d\n", plainText(h.ID), h.Entry, plainText(h.File), h.Line)
	}
	_ = tw.Flush() // into memory
	if not := r.NotAsked(); len(not) > 0 {
		var packages []string
		for _, h := range not {
			packages = append(packages, h.Package)
		}
		slices.Sort(packages)
		fmt.Fprintf(&w, "  never asked, as there was no such traffic: %s\n", strings.Join(slices.Compact(packages), ", "))
	}

	fmt.Fprintf(&w, "\n%s\n", st.bold(fmt.Sprintf("denied because no rule allows it: %s", counted(r.Default.Count, "decision"))))
	tw = tabwriter.NewWriter(&w, 0, 4, 2, ' ', 0)
	for _, g := range []grouping{{"agent", r.Default.ByAgent}, {"verb", r.Default.ByVerb}, {"table", r.Default.ByTable}} {
		for i, n := range g.counts {
			if i == shownCounts {
				fmt.Fprintf(tw, "  \tand %d more\t\n", len(g.counts)-i)
				break
			}
			name := ""
			if i == 0 {
				name = g.name
			}
			fmt.Fprintf(tw, "  %s\t%s\t%d\n", name, plainText(n.Name), n.Count)
		}
	}
	_ = tw.Flush() // into memory
	for _, e := range r.Default.Examples {
		fmt.Fprintf(&w, "    %s\n", plainText(exampleHead(e)))
		if e.Statement != "" {
			fmt.Fprintf(&w, "      %s\n", plainText(e.Statement))
		}
	}

	common := r.Common()
	fmt.Fprintf(&w, "\n%s\n", st.bold(fmt.Sprintf("agents with no rule of their own: %d of %d", len(common), len(r.Agents))))
	for i, a := range common {
		if i == 2*shownCounts {
			fmt.Fprintf(&w, "  and %d more\n", len(common)-i)
			break
		}
		fmt.Fprintf(&w, "  %s: %s, %d denied by default\n", plainText(a.Name), counted(a.Decisions, "decision"), a.Default)
	}

	for _, protocol := range slices.Sorted(maps.Keys(r.Unread)) {
		if fields := r.Unread[protocol]; len(fields) > 0 {
			fmt.Fprintf(&w, "\n%s\n  %s\n", st.bold("parts of "+plainText(protocol)+" inputs that no package reads"), plainText(strings.Join(fields, ", ")))
		}
	}
	_, err := io.WriteString(out, w.String())
	return err
}
