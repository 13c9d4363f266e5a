package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy/scaffold"
)

func newPolicyInitCmd() *cobra.Command {
	var o scaffold.Options
	var protocols []string
	var force bool
	cmd := &cobra.Command{
		Use:   "init DIR",
		Short: "Write a bundle to start from",
		Long: `Write a bundle that passes every check as it is: a policy package for each
protocol with its tests, the schemas of what a policy sees, the built-in
functions that it may use, settings for editors and the linter, and workflows for
GitHub and GitLab that need nothing but stock opa.

Files that are there already are not touched, unless --force is given.`,
		Example: `  regate policy init policies --protocol postgres
  regate policy init policies --protocol postgres,kubernetes --owner acme
  regate policy init policies --protocol postgres --owner acme --name orders
  cd policies && opa test --bundle . --coverage --threshold 100`,
		Args: wantOneFolder,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, p := range protocols {
				o.Protocols = append(o.Protocols, input.Protocol(strings.TrimSpace(p)))
			}
			o.Folder = filepath.ToSlash(plainText(args[0]))
			files, err := scaffold.Bundle(o)
			if err != nil {
				return &usageError{err}
			}
			var exists *scaffold.ExistsError
			switch err := scaffold.Write(args[0], files, force); {
			case errors.As(err, &exists):
				return fmt.Errorf("%s: choose another folder, or --force to replace them", plainText(exists.Error()))
			case err != nil:
				return err
			}
			out := cmd.OutOrStdout()
			for _, f := range files {
				fmt.Fprintln(out, plainText(filepath.Join(args[0], filepath.FromSlash(f.Path))))
			}
			fmt.Fprintf(out, "\nNext: put your groups into it, see what a policy sees with 'regate input %s --help', and\n", o.Protocols[0])
			_, err = fmt.Fprintf(out, "run its tests: cd %s && opa test --bundle . --coverage\n", shellQuoted(args[0]))
			return err
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&protocols, "protocol", nil, "one or several of "+strings.Join(protocolNames(), ", ")+" (required)")
	f.StringVar(&o.Owner, "owner", "acme", "who the policies belong to: the first part of their packages")
	f.StringVar(&o.Name, "name", "", "the package's own name (default: sql, kubernetes, http or mcp)")
	f.BoolVar(&force, "force", false, "replace files that are there")
	return cmd
}

func protocolNames() []string {
	var names []string
	for _, p := range input.Protocols() {
		names = append(names, string(p))
	}
	return names
}

func wantOneFolder(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return &usageError{fmt.Errorf("one folder is needed, not %d", len(args))}
	}
	return nil
}

// shellQuoted is a word as a shell reads it.
func shellQuoted(s string) string {
	plain := plainText(s)
	if strings.Trim(plain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-") == "" && !strings.HasPrefix(plain, "-") {
		return plain
	}
	return "'" + strings.ReplaceAll(plain, "'", `'\''`) + "'"
}
