package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy/backtest"
)

// draftPackage is what --package may be.
var draftPackage = regexp.MustCompile(`^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)+$`)

func newPolicySuggestCmd() *cobra.Command {
	var from recordedFlags
	var pkg, group, write, output string
	var maxRules int
	cmd := &cobra.Command{
		Use:   "suggest --agent AGENT [FILE...]",
		Short: "Draft the tightest rules for what an agent did",
		Long: `Draft the tightest allow rules that cover what an agent was allowed to do: verbs,
tables and how they are touched, columns read and written, functions, on the
targets where it did it. The draft is Rego with tests and passes stock opa check,
test and fmt. It is a start for a person who knows what the agent is for: its
mode is shadow, so it decides nothing before somebody says so.

What was incomplete, opaque, or needed a person's approval is never drafted from;
the comments say how much that was. No value of a statement is in the draft.

The draft is proved: every request of the agent is put to it alone, and it must
allow what it was made from and nothing that no rule denied. If it does not, the
exit status is 1.`,
		Example: `  regate policy suggest --agent report-bot --since 30d
  regate policy suggest --agent report-bot --since 30d --target shop --write drafts/report-bot
  regate policy suggest --agent report-bot --group analysts --package acme.reports recorded.ndjson`,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case output != "text" && output != "json":
				return &usageError{fmt.Errorf("unknown output %q: text or json", output)}
			case from.agent == "":
				return &usageError{errors.New("--agent is needed: the actor's id, or the subject's where nobody acts for it")}
			case pkg != "" && !draftPackage.MatchString(pkg):
				return &usageError{fmt.Errorf("--package %q is not <owner>.<name>, of a-z, 0-9 and _", pkg)}
			}
			ctx, stop := untilInterrupted(cmd.Context())
			defer stop()
			source, closer, err := from.source(ctx, args)
			if err != nil {
				return err
			}
			defer closer()
			counter := &backtest.Counter{}
			done := showProgress(cmd.ErrOrStderr(), &from.progress, counter)
			s, err := backtest.Suggest(ctx, source, backtest.SuggestOptions{
				Options: backtest.Options{Statement: statementWords, Counter: counter},
				Agent:   from.agent, Package: pkg, Group: group, MaxRules: maxRules,
			})
			done()
			if err != nil {
				return err
			}
			if err := outcomeOf(s); err != nil {
				return err
			}
			if write != "" {
				if err := s.Write(write); err != nil {
					return err
				}
			}
			switch {
			case output == "json":
				err = printJSON(cmd.OutOrStdout(), s)
			case write != "":
				err = printProof(cmd.OutOrStdout(), s)
			default:
				if err = printDraft(cmd.OutOrStdout(), s); err == nil {
					err = printProof(cmd.ErrOrStderr(), s)
				}
			}
			switch {
			case err != nil:
				return err
			case !s.Proof.Exact():
				return fmt.Errorf("the draft is not exact: it misses %d and widens %d", s.Proof.Misses, s.Proof.Widens)
			case s.Source.Problems > 0:
				return fmt.Errorf("not everything could be read: %s; see regate verify", counted(s.Source.Problems, "problem"))
			}
			return nil
		},
	}
	from.add(cmd)
	f := cmd.Flags()
	f.StringVar(&pkg, "package", "", "of the draft, below regate.policies (default: drafts.<agent>)")
	f.StringVar(&group, "group", "", "let every member of this group of subjects do the same, not the recorded ones alone")
	f.IntVar(&maxRules, "max-rules", 500, "the most frequent shapes are drafted")
	f.StringVar(&write, "write", "", "write the draft and its tests into this folder, which must be empty or not exist")
	f.StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// outcomeOf says why there is no draft.
func outcomeOf(s *backtest.Suggestion) error {
	switch {
	case s.Interrupted:
		return errors.New("interrupted: a draft of half of what was recorded would deny the other half")
	case s.Decisions == 0:
		return fmt.Errorf("no decision of agent %q was found: see --since, and 'regate sessions list' for who was there", s.Agent)
	case s.Rules == 0:
		var why []string
		for _, c := range s.LeftOut {
			why = append(why, fmt.Sprintf("%d: %s", c.Count, c.Name))
		}
		if why == nil {
			return fmt.Errorf("nothing was allowed to agent %q: there is nothing to draft", s.Agent)
		}
		return fmt.Errorf("nothing to draft; left out: %s", strings.Join(why, "; "))
	}
	return nil
}

// printDraft writes the Rego. The tests come with --write and in JSON.
func printDraft(w io.Writer, s *backtest.Suggestion) error {
	for _, name := range slices.Sorted(maps.Keys(s.Files)) {
		if !strings.HasSuffix(name, ".rego") || strings.HasSuffix(name, "_test.rego") {
			continue
		}
		if _, err := io.WriteString(w, plainBlock(s.Files[name])); err != nil {
			return err
		}
	}
	return nil
}

func printProof(w io.Writer, s *backtest.Suggestion) error {
	var b strings.Builder
	p := &s.Proof
	fmt.Fprintf(&b, "%s of %s, %d allowed; %s, which allow all %d that they are made from\n", counted(s.Decisions, "decision"), plainText(s.Agent), s.Allowed,
		counted(int64(s.Rules), "rule"), p.Allows)
	for _, c := range s.LeftOut {
		fmt.Fprintf(&b, "left out: %d: %s\n", c.Count, plainText(c.Name))
	}
	for _, c := range p.StillDenied {
		fmt.Fprintf(&b, "of the same shape, and denied or held by another rule, which must stay: %d by %s\n", c.Count, plainText(c.Name))
	}
	if p.Misses > 0 || p.Widens > 0 {
		fmt.Fprintf(&b, "NOT EXACT: it does not allow %d that it should, and allows %d that no rule would deny\n", p.Misses, p.Widens)
	}
	for _, e := range p.Examples {
		printExample(&b, style{}, e)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
