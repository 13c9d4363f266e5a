package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the whole command: it returns the exit status, 0 for success, 1 for
// a failure and 2 for a command line that makes no sense.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRootCmd()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteC()
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errReported):
		return 1
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "regate: %v\nSee '%s --help'.\n", err, cmd.CommandPath())
		return 2
	default:
		fmt.Fprintf(stderr, "regate: %v\n", err)
		return 1
	}
}

// errReported ends a command with status 1 when it has already said why.
var errReported = errors.New("reported")

// usageError is a command line that makes no sense.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func newRootCmd() *cobra.Command {
	root := &cobra.Command{
		Use:   "regate",
		Short: "A policy gateway for AI agents",
		Long: `regate stands between AI agents and the systems they use. An agent connects
with a token of your identity provider; every request is decided by Rego
policies, masked, held for approval where a policy says so, and recorded.`,
		Example: `  regate config check -c regate.yaml     # every problem, with file and line
  regate serve -c regate.yaml            # run the gateway
  PGPASSWORD=$(regate token) psql -h 127.0.0.1 -p 6432 -U agent shop`,
		Args:          wantNoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddCommand(
		newServeCmd(),
		newSessionsCmd(),
		newVerifyCmd(),
		newApprovalsCmd(),
		newRevokeCmd(),
		newToolsCmd(),
		newMCPStdioCmd(),
		newPolicyCmd(),
		newInputCmd(),
		newSchemaCmd(),
		newConfigCmd(),
		newTokenCmd(),
		newCACmd(),
		newKubeconfigCmd(),
		newDevIssuerCmd(),
		newVersionCmd(),
	)
	return root
}

// wantNoArgs refuses arguments; for a command with subcommands it names the
// one that was probably meant.
func wantNoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	msg := fmt.Sprintf("unknown argument %q", args[0])
	if cmd.HasAvailableSubCommands() {
		msg = fmt.Sprintf("unknown command %q", args[0])
		cmd.SuggestionsMinimumDistance = 2
		if s := cmd.SuggestionsFor(args[0]); len(s) > 0 {
			msg += fmt.Sprintf(", did you mean %q?", s[0])
		}
	}
	return &usageError{errors.New(msg)}
}
