package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/config"
)

// defaultConfigFile is read when neither -c nor REGATE_CONFIG names a file and
// it exists.
const defaultConfigFile = "regate.yaml"

// configFile returns the configuration file: the flag, REGATE_CONFIG, or
// regate.yaml in the working directory if there is one.
func configFile(flag string) string {
	if flag != "" {
		return flag
	}
	if name := os.Getenv("REGATE_CONFIG"); name != "" {
		return name
	}
	if _, err := os.Stat(defaultConfigFile); err == nil {
		return defaultConfigFile
	}
	return ""
}

func addConfigFlags(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVarP(file, "config", "c", "", "configuration file (default: $REGATE_CONFIG, or regate.yaml)")
	config.RegisterFlags(cmd.Flags())
}

func newConfigCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check and explain the configuration",
		Long: `The configuration is one YAML file. Environment variables override the file
and flags override both: admin.address is REGATE_ADMIN_ADDRESS and
--admin-address. Secrets are references: env:NAME or file:/path.`,
		Example: `  regate config check -c regate.yaml
  regate config print -c regate.yaml
  regate config keys`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheckCmd(), newConfigPrintCmd(), newConfigKeysCmd())
	return cmd
}

func newConfigCheckCmd() *cobra.Command {
	var file string
	var skipSecrets, asJSON bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report every problem of the configuration, with file and line",
		Long: `Report every problem at once: keys that mean nothing, values that cannot be
understood, references to nothing, settings that can never take effect. Policy
bundles on this machine are loaded and compiled; nothing is fetched.
The exit status is 1 if any problem is an error; warnings alone are 0.`,
		Example: `  regate config check -c regate.yaml
  REGATE_RECORD_MODE=best_effort regate config check -c regate.yaml
  regate config check -c regate.yaml --skip-secrets --json   # in CI`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file = configFile(file)
			cfg, problems := config.Load(config.Options{File: file, Env: os.Environ(), Flags: cmd.Flags(), SkipSecrets: skipSecrets})
			if !skipSecrets {
				problems = append(problems, deepProblems(cfg, problems)...)
				problems = append(problems, bundleProblems(cmd.Context(), cfg, problems)...)
			}
			if asJSON {
				return printProblemsJSON(cmd.OutOrStdout(), problems)
			}
			printProblems(cmd.OutOrStdout(), problems)
			if config.HasErrors(problems) {
				return errReported
			}
			name := file
			if name == "" {
				name = "configuration"
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), name+": ok")
			return err
		},
	}
	addConfigFlags(cmd, &file)
	cmd.Flags().BoolVar(&skipSecrets, "skip-secrets", false, "do not resolve secrets nor look for files")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON array")
	return cmd
}

// deepProblems asks the rooms what only they can judge, once the configuration
// is otherwise without errors: whether files hold what they should, whether a
// login can work at all. Nothing is started and nobody is called.
func deepProblems(cfg *config.Config, known []config.Problem) []config.Problem {
	if config.HasErrors(known) {
		return nil
	}
	var out []config.Problem
	bad := func(key string, err error) {
		if err == nil {
			return
		}
		for line := range strings.Lines(err.Error()) { // errors.Join gives a line each
			out = append(out, cfg.Problem(key, config.IDInvalid, strings.TrimSpace(line)))
		}
	}
	for i, t := range cfg.Targets {
		if t.Protocol == "kubernetes" {
			_, err := kubernetesTarget(t)
			bad(fmt.Sprintf("targets[%d]", i), err)
			continue
		}
		target, err := postgresTarget(t)
		if err == nil {
			err = checkUpstream(target)
		}
		bad(fmt.Sprintf("targets[%d]", i), err)
	}
	quiet := newLogger(cfg.Log, io.Discard)
	for i, l := range cfg.Postgres.Listeners {
		_, err := postgresFront(cfg, l, quiet)
		bad(fmt.Sprintf("postgres.listeners[%d]", i), err)
	}
	for i, l := range cfg.Kubernetes.Listeners {
		_, err := listenerTLS(l.Address, l.TLS, quiet)
		bad(fmt.Sprintf("kubernetes.listeners[%d]", i), err)
	}
	_, _, err := httpParts(cfg)
	bad("http", err)
	for i, t := range cfg.MCP.Targets {
		_, err := mcpTarget(t)
		bad(fmt.Sprintf("mcp.targets[%d]", i), err)
	}
	for i, l := range cfg.MCP.Listeners {
		_, err := listenerTLS(l.Address, l.TLS, quiet)
		bad(fmt.Sprintf("mcp.listeners[%d]", i), err)
	}
	for i, l := range cfg.HTTP.Listeners {
		_, err := listenerTLS(l.Address, l.TLS, quiet)
		bad(fmt.Sprintf("http.listeners[%d]", i), err)
	}
	if cfg.Admin.TLS.Enabled() {
		_, err := serverTLS(cfg.Admin.TLS, quiet)
		bad("admin.tls", err)
	}
	if p, err := policyConfig(cfg); err != nil {
		bad("policy.bundles", err)
	} else {
		bad("policy", p.Check())
	}
	bad("identity", checkIdentity(cfg.Identity))
	if cfg.Record.KeyFile != "" {
		_, err := receiptKey(cfg)
		bad("record.key_file", err)
	}
	return out
}

// bundleProblems loads the bundles that are on this machine, once everything
// else is without errors. serve does not ask: it starts, denies everything, and
// takes a bundle as soon as it is mended.
func bundleProblems(ctx context.Context, cfg *config.Config, known []config.Problem) []config.Problem {
	if config.HasErrors(known) {
		return nil
	}
	p, err := policyConfig(cfg)
	if err != nil {
		return nil // deepProblems has said so
	}
	keys, remote := map[string]string{}, false
	for i, b := range cfg.Policy.Bundles {
		keys[b.Name] = fmt.Sprintf("policy.bundles[%d]", i)
	}
	for _, b := range p.Bundles {
		remote = remote || !b.IsLocal()
	}
	var out []config.Problem
	for _, bad := range p.CheckBundles(ctx) {
		q := cfg.Problem(keys[bad.Bundle], config.IDBundle, bad.Text)
		if bad.File != "" {
			q.File, q.Line = bad.File, bad.Line
		}
		if remote {
			q.Severity, q.Fix = config.Warning, "unless a remote bundle, which is not fetched here, brings what is missing"
		}
		out = append(out, q)
	}
	return out
}

func printProblems(w io.Writer, problems []config.Problem) {
	var errs, warnings int
	for _, p := range problems {
		fmt.Fprintln(w, p)
		if p.Severity == config.Error {
			errs++
		} else {
			warnings++
		}
	}
	if len(problems) > 0 {
		fmt.Fprintf(w, "%s, %s\n", quantity(errs, "error"), quantity(warnings, "warning"))
	}
}

func printProblemsJSON(w io.Writer, problems []config.Problem) error {
	type row struct {
		File     string `json:"file,omitempty"`
		Line     int    `json:"line,omitempty"`
		Key      string `json:"key,omitempty"`
		ID       string `json:"id"`
		Severity string `json:"severity"`
		Message  string `json:"message"`
		Fix      string `json:"fix,omitempty"`
	}
	rows := []row{}
	for _, p := range problems {
		rows = append(rows, row{p.File, p.Line, p.Key, p.ID, string(p.Severity), p.Msg, p.Fix})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	if err := enc.Encode(rows); err != nil {
		return err
	}
	if config.HasErrors(problems) {
		return errReported
	}
	return nil
}

func quantity(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func newConfigPrintCmd() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "print",
		Short: "Print the effective configuration and where each value came from",
		Example: `  regate config print -c regate.yaml
  REGATE_LOG_LEVEL=debug regate config print -c regate.yaml`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, problems := config.Load(config.Options{File: configFile(file), Env: os.Environ(), Flags: cmd.Flags()})
			if err := cfg.Print(cmd.OutOrStdout()); err != nil {
				return err
			}
			if config.HasErrors(problems) {
				printProblems(cmd.ErrOrStderr(), problems)
				return errReported
			}
			return nil
		},
	}
	addConfigFlags(cmd, &file)
	return cmd
}

func newConfigKeysCmd() *cobra.Command {
	var asMarkdown bool
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List every setting, its variable, its default and what it does",
		Example: `  regate config keys
  regate config keys --markdown > configuration.md`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if asMarkdown {
				return printKeysMarkdown(cmd.OutOrStdout())
			}
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "SETTING\tTYPE\tDEFAULT\tVARIABLE\tMEANING")
			for _, k := range config.Keys() {
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", k.Path, k.Type, dash(k.Default), dash(k.Env), meaning(k))
			}
			return w.Flush()
		},
	}
	cmd.Flags().BoolVar(&asMarkdown, "markdown", false, "print a Markdown table")
	return cmd
}

func printKeysMarkdown(w io.Writer) error {
	if _, err := fmt.Fprint(w, "| setting | type | default | variable | meaning |\n|---|---|---|---|---|\n"); err != nil {
		return err
	}
	for _, k := range config.Keys() {
		_, err := fmt.Fprintf(w, "| `%s` | %s | %s | %s | %s |\n", k.Path, k.Type, code(k.Default), code(k.Env), strings.ReplaceAll(meaning(k), "|", `\|`))
		if err != nil {
			return err
		}
	}
	return nil
}

func meaning(k config.Key) string {
	s := k.Doc
	if k.Required {
		s = "required: " + s
	}
	if len(k.Values) > 1 {
		s += " (" + strings.Join(k.Values, ", ") + ")"
	}
	return s
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
