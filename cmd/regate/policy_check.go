package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy/lint"
)

func newPolicyCheckCmd() *cobra.Command {
	var format, failOn string
	var disable []string
	var list, asMarkdown bool
	formats := []string{"text", "json", "sarif", "junit", "github"}
	cmd := &cobra.Command{
		Use:   "check [PATH...]",
		Short: "Find what is wrong with policies before they decide anything",
		Long: `Check policies in full: all that the gateway would refuse, and what it would
take but its author did not mean. See docs/policy-check.md for every check.

A PATH is a bundle (a folder or a .tar.gz), a folder that holds bundles, or a
.rego file; without any it is the working directory. Bundles that are named are
taken for one deployment: helpers that a policy imports must be among them.

A finding that is meant is ignored by a comment with a reason, in its line or
above its rule:

  # regate-ignore: trust/anyone the status page is for everybody

The exit status is 0 when nothing is as bad as --fail-on, 1 when something is,
and 2 for a command line that makes no sense.`,
		Example: `  regate policy check policies/lib my-policy
  regate policy check --fail-on warning --format github my-policy   # in a workflow
  regate policy check --format sarif policies > check.sarif
  regate policy check --list`,
		RunE: func(cmd *cobra.Command, paths []string) error {
			out := cmd.OutOrStdout()
			if !slices.Contains(formats, format) {
				return &usageError{fmt.Errorf("--format %q is not one of %s", format, strings.Join(formats, ", "))}
			}
			if list {
				return printChecks(out, format, asMarkdown)
			}
			worst := lint.Severity(failOn)
			if !slices.Contains([]lint.Severity{lint.Error, lint.Warning, lint.Info}, worst) {
				return &usageError{fmt.Errorf("--fail-on %q is not one of error, warning, info", failOn)}
			}
			if len(paths) == 0 {
				paths = []string{"."}
			}
			report, err := lint.Check(cmd.Context(), lint.Options{Paths: paths, Disable: disable, DetectKinds: mask.Kinds()})
			if errors.Is(err, lint.ErrOptions) {
				return &usageError{err}
			}
			if err != nil {
				return err
			}
			switch format {
			case "json":
				err = report.WriteJSON(out)
			case "sarif":
				err = report.WriteSARIF(out, readBuildInfo().Version)
			case "junit":
				err = report.WriteJUnit(out, worst)
			case "github":
				err = report.WriteGitHub(out)
			default:
				err = report.WriteText(out, severityColours(styleFor(out)))
			}
			if err != nil {
				return err
			}
			if slices.ContainsFunc(report.Findings, func(f lint.Finding) bool { return f.Severity.AtLeast(worst) }) {
				return errReported
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&format, "format", "text", "output: "+strings.Join(formats, ", "))
	flags.StringVar(&failOn, "fail-on", string(lint.Error), "the least severity that makes the exit status 1: error, warning or info")
	flags.StringArrayVar(&disable, "disable", nil, "leave out a check, by its id; may be given several times")
	flags.BoolVar(&list, "list", false, "print every check and check nothing")
	flags.BoolVar(&asMarkdown, "markdown", false, "with --list: print a Markdown table")
	return cmd
}

func severityColours(s style) lint.Paint {
	return func(severity lint.Severity, text string) string {
		switch severity {
		case lint.Error:
			return s.bad(text)
		case lint.Warning:
			return s.paint("33", text)
		}
		return s.dim(text)
	}
}

func printChecks(w io.Writer, format string, asMarkdown bool) error {
	if asMarkdown {
		return printChecksMarkdown(w)
	}
	if format == "json" {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(lint.Checks())
	}
	s := styleFor(w)
	for _, c := range lint.Checks() {
		severity := string(c.Severity)
		if c.Refused {
			severity += ", refused by the gateway"
		}
		_, err := fmt.Fprintf(w, "%s (%s)\n    %s\n    why: %s\n    fix: %s\n    e.g. %s\n", s.bold(c.ID), severity, c.What, c.Why, c.Fix, c.Example)
		if err != nil {
			return err
		}
	}
	return nil
}

// printChecksMarkdown prints the table of docs/policy-check.md.
func printChecksMarkdown(w io.Writer) error {
	if _, err := fmt.Fprint(w, "| check | severity | finds | because | fix | example |\n|---|---|---|---|---|---|\n"); err != nil {
		return err
	}
	cell := strings.NewReplacer("|", `\|`, "\n", " ", "<", "&lt;", ">", "&gt;")
	for _, c := range lint.Checks() {
		severity := string(c.Severity)
		if c.Refused {
			severity += " (refused)"
		}
		example := "`" + strings.ReplaceAll(c.Example, "|", `\|`) + "`"
		if _, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s | %s |\n", c.ID, severity, cell.Replace(c.What), cell.Replace(c.Why), cell.Replace(c.Fix), example); err != nil {
			return err
		}
	}
	return nil
}
