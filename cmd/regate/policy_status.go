package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/policy"
)

func newPolicyStatusCmd() *cobra.Command {
	var admin adminFlags
	var format string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "What is in force at a gateway, what is in shadow, and what that would change",
		Long: `Shows a gateway's bundles (revision, digest, when they came into force, what is
wrong with the last load), its packages, and what bundles and packages in shadow
would have decided otherwise, by rule. The counts are since that revision is in
shadow; those of Prometheus since the start.

The exit status is 1 if a bundle has not loaded, or if its last load failed.
` + adminHelp,
		Example: `  regate policy status
  regate policy status --url https://regate.example.com:8411 --output json
  regate policy status --output json | jq '.shadow[] | select(.to == "deny")'`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if format != "text" && format != "json" {
				return &usageError{fmt.Errorf("unknown output %q: text or json", format)}
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			var answer struct {
				Gateway struct {
					Policy policy.Status `json:"policy"`
				} `json:"gateway"`
			}
			if err := client.call(cmd.Context(), http.MethodGet, "api/v1/status", nil, nil, &answer); err != nil {
				return fmt.Errorf("status: %w", err)
			}
			s := answer.Gateway.Policy
			if format == "json" {
				err = printJSON(cmd.OutOrStdout(), s)
			} else {
				err = printPolicyStatus(cmd.OutOrStdout(), s)
			}
			if err != nil {
				return err
			}
			for _, b := range s.Bundles {
				if len(b.Errors) > 0 {
					return errReported
				}
			}
			if !s.Ready {
				return errReported
			}
			return nil
		},
	}
	admin.add(cmd)
	cmd.Flags().StringVar(&format, "output", "text", "text or json")
	return cmd
}

func printPolicyStatus(w io.Writer, s policy.Status) error {
	st := styleFor(w)
	if !s.Ready {
		fmt.Fprintln(w, st.bad("not ready: everything is denied"))
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "BUNDLE\tMODE\tSTATE\tREVISION\tSEQUENCE\tDIGEST\tIN FORCE SINCE\tLAST ANSWER\tSOURCE")
	for _, b := range s.Bundles {
		mode := b.Mode
		if len(b.StandsInFor) > 0 {
			mode += " of " + strings.Join(b.StandsInFor, ", ")
		}
		sequence := "-"
		if b.Sequence != nil {
			sequence = fmt.Sprint(*b.Sequence)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", plainText(b.Name), plainText(mode), b.State, cmp.Or(plainText(b.Revision), "-"), sequence,
			cmp.Or(shortDigest(b.Digest), "-"), when(b.ActivatedAt), when(b.LastGoodFetch), plainText(b.Source))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	for _, b := range s.Bundles {
		for _, e := range b.Errors {
			fmt.Fprintln(w, st.bad("bundle "+plainText(b.Name)+": "+plainText(e)))
		}
	}
	fmt.Fprintln(w)
	fmt.Fprintln(tw, "PACKAGE\tMODE\tBUNDLE\tPROTOCOLS\tTARGETS\tRULES")
	for _, p := range s.Packages {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", plainText(p.Name), p.Mode, cmp.Or(plainText(p.Bundle), "-"), all(p.Protocols), all(p.Targets), strings.Join(p.Entries, ", "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	shadow := s.Counters.ShadowEvaluations > 0 || len(s.Shadow) > 0
	for _, b := range s.Bundles {
		shadow = shadow || b.Mode == "shadow"
	}
	if !shadow {
		return nil
	}
	fmt.Fprintf(w, "\nIn shadow: %d evaluated, %d would have been decided otherwise, %d not looked at\n",
		s.Counters.ShadowEvaluations, s.Counters.ShadowFlips, s.Counters.ShadowDropped)
	if len(s.Shadow) == 0 {
		return nil
	}
	fmt.Fprintln(tw, "WOULD CHANGE\tRULE\tIN\tCOUNT\tSINCE START\tLAST\tREQUEST")
	for _, f := range s.Shadow {
		change := f.From.String() + " → " + f.To.String()
		if f.Obligation != "" {
			change = f.Obligation + " " + f.Change
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", change, plainText(f.Rule), plainText(cmp.Or(f.Package, "bundle "+f.Bundle)), f.Count, f.Total, when(f.Last), plainText(f.Request))
	}
	return tw.Flush()
}

func all(list []string) string {
	if len(list) == 0 {
		return "all"
	}
	return plainText(strings.Join(list, ", "))
}

func when(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}
