package main

import (
	"github.com/spf13/cobra"
)

func newPolicyCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Write, check, test and ship policies",
		Long: `For the people who write policies. A policy is plain Rego that stock opa can
check and test, too; see docs/policy.md.`,
		Example: `  regate policy init policies --protocol postgres
  regate input postgres 'DELETE FROM users'   # what a policy would see
  regate policy test policies`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	// One line a subcommand, each in the file of its name.
	cmd.AddCommand(
		newPolicyInitCmd(),
		newPolicyCheckCmd(),
		newPolicyPacksCmd(),
		newPolicyREPLCmd(),
		newPolicyExplainCmd(),
		newPolicyBuildCmd(),
		newPolicyStatusCmd(),
		newPolicyTestCmd(),
		newPolicyReplayCmd(),
		newPolicyCoverageCmd(),
		newPolicySuggestCmd(),
	)
	return cmd
}
