package main

import (
	"github.com/spf13/cobra"
)

func newInputCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "input",
		Short: "Print what a policy would see of a request",
		Long: `Print the input document that the gateway would make of a request, so that rules
and their tests are written from what is really there.`,
		Example: `  regate sessions show 01JQ3Z5V8W7T6S5R4Q3P2N1M0K --input 2   # the same from a recording`,
		Args:    wantNoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// One line a protocol, each in the file of its name.
	cmd.AddCommand()
	return cmd
}
