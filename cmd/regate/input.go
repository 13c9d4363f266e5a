package main

import (
	"github.com/spf13/cobra"
)

func newInputCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "input",
		Short: "Print what a policy would see of a request",
		Long: `Print the input document that the gateway would make of a request, by the
gateway's own code, so that rules and their tests are written from what is
really there. Nothing runs, nothing is decided and no gateway is needed.

Who asks is said by flags (--subject, --group, …) or by the claims of a token
(--claims). --as-test prints a Rego test instead that stock opa runs as it is;
with --bundle it holds what the policies say now.`,
		Example: `  regate input postgres 'DELETE FROM users' --group analysts --catalog shop.json
  regate input postgres 'DELETE FROM users' --as-test > policy/delete_test.rego
  regate sessions show 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --input 2   # the same from a recording`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// One line a protocol, each in the file of its name.
	cmd.AddCommand(
		newInputHTTPCmd(),
		newInputKubernetesCmd(),
		newInputMCPCmd(),
		newInputPostgresCmd(),
	)
	return cmd
}
