package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/policies"
)

func newPolicyPacksCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "packs",
		Short: "The ready packs: list them, read them, take them",
		Long: `Ready packs are policies with settings: guardrails for SQL, Kubernetes, HTTP and
MCP, masks for personal and card data, approvals, office hours and budgets. They
are in this binary. export writes those that you name as one bundle, which then
is yours to read, test with stock opa, and change. docs/packs has a page for each
area, with examples of what they allow, hold and refuse.`,
		Example: `  regate policy packs list
  regate policy packs show budgets/budget
  regate policy packs export policy/packs postgres/complete pii/gdpr`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newPolicyPacksListCmd(), newPolicyPacksShowCmd(), newPolicyPacksExportCmd())
	return cmd
}

func newPolicyPacksListCmd() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the ready packs",
		Example: `  regate policy packs list
  regate policy packs list --output json`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			packs, err := policies.Packs()
			if err != nil {
				return err
			}
			switch format {
			case "json":
				return printJSON(cmd.OutOrStdout(), packs)
			case "text":
				return printPacks(cmd.OutOrStdout(), packs)
			}
			return &usageError{fmt.Errorf("unknown output %q: text or json", format)}
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func printPacks(w io.Writer, packs []policies.Pack) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "NAME\tPROTOCOLS\tWHAT")
	for _, p := range packs {
		fmt.Fprintf(tw, "%s\t%s\t%s\n", p.Name, protocolsOf(p), p.Title)
	}
	return tw.Flush()
}

func protocolsOf(p policies.Pack) string {
	if len(p.Protocols) == 0 {
		return "all"
	}
	return strings.Join(p.Protocols, ", ")
}

func newPolicyPacksShowCmd() *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "show NAME",
		Short: "Show what a pack says, and its settings",
		Long: `Show what a pack is for, the ids of what it can say, and its settings with their
defaults. A setting is changed in a bundle of your own, in data.json, below
regate.settings.`,
		Example: `  regate policy packs show approvals/office_hours
  regate policy packs show kubernetes/no_secrets --output json`,
		Args: wantOneArg("the name of a pack (see regate policy packs list)"),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := policies.Find(args[0])
			if err != nil {
				return &usageError{err}
			}
			switch format {
			case "json":
				return printJSON(cmd.OutOrStdout(), p)
			case "text":
				return printPack(cmd.OutOrStdout(), p)
			}
			return &usageError{fmt.Errorf("unknown output %q: text or json", format)}
		},
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return cmd
}

func printPack(w io.Writer, p policies.Pack) error {
	s := styleFor(w)
	fmt.Fprintf(w, "%s\n%s (%s)\n\n%s\n\n", s.bold(p.Title), p.Name, protocolsOf(p), p.Description)
	fmt.Fprintln(w, s.bold("Says"))
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	for _, r := range p.Rules {
		fmt.Fprintf(tw, "  %s\t%s\n", r.Kind, r.ID)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var defaults bytes.Buffer
	if err := json.Indent(&defaults, p.Defaults, "", "  "); err != nil {
		return fmt.Errorf("defaults of %s: %w", p.Name, err)
	}
	fmt.Fprintf(w, "\n%s (data.regate.settings.%s)\n%s\n", s.bold("Settings and their defaults"), p.Setting, &defaults)
	return nil
}

func newPolicyPacksExportCmd() *cobra.Command {
	var all, force bool
	cmd := &cobra.Command{
		Use:   "export DIR [NAME...]",
		Short: "Write packs as a bundle of your own",
		Long: `Write packs, their tests and the library that they need as one bundle into DIR.
Packs that DIR has already stay in it, so one can be added later. Without --force,
nothing is written where a Rego file in DIR was changed.`,
		Example: `  regate policy packs export policy/packs postgres/complete postgres/where_required pii/gdpr
  regate policy packs export policy/packs budgets/budget      # one more
  regate policy packs export policy/packs --all`,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return &usageError{errors.New("where to? regate policy packs export DIR NAME…")}
			case len(args) == 1 && !all:
				return &usageError{errors.New("which packs? Name them (see regate policy packs list), or say --all")}
			case len(args) > 1 && all:
				return &usageError{errors.New("--all and names of packs say two things: leave one out")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, names := args[0], args[1:]
			if all {
				packs, err := policies.Packs()
				if err != nil {
					return err
				}
				for _, p := range packs {
					names = append(names, p.Name)
				}
			}
			for _, name := range names {
				if _, err := policies.Find(name); err != nil {
					return &usageError{err}
				}
			}
			have, err := policies.Export(dir, names, force)
			if errors.Is(err, policies.ErrChanged) {
				return fmt.Errorf("%w; --force writes over it", err)
			}
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintf(out, "%s has %s.\n\nSwitch them on in regate.yaml:\n\n", dir, strings.Join(have, ", "))
			fmt.Fprintf(out, "policy:\n  bundles:\n    - name: packs\n      paths: [%s]\n\n", filepath.ToSlash(dir))
			fmt.Fprintln(out, "Settings go into data.json of a bundle of your own, below regate.settings:\nregate policy packs show NAME has them.")
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&all, "all", false, "every pack")
	f.BoolVar(&force, "force", false, "write over files that were changed")
	return cmd
}
