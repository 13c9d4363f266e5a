package main

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/approval"
)

const approvalsPath = "api/v1/approvals"

func newApprovalsCmd() *cobra.Command {
	admin := &adminFlags{}
	cmd := &cobra.Command{
		Use:   "approvals",
		Short: "See held requests, approve and deny them",
		Long: `A policy can hold a request until somebody approves it. These commands show
what is held and decide on it. Who may decide is for the policy to say; nobody
can decide on a request of their own.
` + adminHelp,
		Example: `  regate approvals list
  regate approvals show ap-3v9k2m5x8q1t7w4z
  regate approvals approve ap-3v9k2m5x8q1t7w4z --note "ticket 4711"
  regate approvals deny ap-3v9k2m5x8q1t7w4z --reason "not in the freeze"`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.add(cmd)
	cmd.AddCommand(newApprovalsListCmd(admin), newApprovalsShowCmd(admin), newApproveCmd(admin), newDenyCmd(admin))
	return cmd
}

func newApprovalsListCmd(admin *adminFlags) *cobra.Command {
	var state, output string
	var limit int
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List held requests, oldest first",
		Args:  wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := tableOrJSON(output); err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			var answer struct {
				Approvals []*approval.Ticket `json:"approvals"`
				More      bool               `json:"more"`
			}
			query := url.Values{"state": {state}, "limit": {strconv.Itoa(limit)}}
			if err := client.call(cmd.Context(), http.MethodGet, approvalsPath, query, nil, &answer); err != nil {
				return fmt.Errorf("list approvals: %w", err)
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), answer.Approvals)
			}
			return printTickets(cmd.OutOrStdout(), answer.Approvals, answer.More)
		},
	}
	cmd.Flags().StringVar(&state, "state", "open", "open, all, pending, approved, consumed, denied, expired or cancelled")
	cmd.Flags().IntVar(&limit, "limit", 100, "at most so many, the newest")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func newApprovalsShowCmd(admin *adminFlags) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one held request: who, what, why, and what it would return",
		Args:  wantOneArg("the id of an approval"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tableOrJSON(output); err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			t := &approval.Ticket{}
			if err := client.call(cmd.Context(), http.MethodGet, approvalsPath+"/"+url.PathEscape(args[0]), nil, nil, t); err != nil {
				return fmt.Errorf("show approval: %w", err)
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), t)
			}
			return printTicket(cmd.OutOrStdout(), t)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func newApproveCmd(admin *adminFlags) *cobra.Command {
	var note string
	cmd := &cobra.Command{
		Use:   "approve ID",
		Short: "Approve a held request: it may then run once",
		Args:  wantOneArg("the id of an approval"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := admin.decide(cmd, args[0], "approve", map[string]string{"note": note})
			if err != nil {
				return fmt.Errorf("approve: %w", err)
			}
			return printDecided(cmd.OutOrStdout(), t)
		},
	}
	cmd.Flags().StringVar(&note, "note", "", "why, for the recording")
	return cmd
}

func newDenyCmd(admin *adminFlags) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "deny ID",
		Short: "Deny a held request",
		Args:  wantOneArg("the id of an approval"),
		RunE: func(cmd *cobra.Command, args []string) error {
			t, err := admin.decide(cmd, args[0], "deny", map[string]string{"reason": reason})
			if err != nil {
				return fmt.Errorf("deny: %w", err)
			}
			return printDecided(cmd.OutOrStdout(), t)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the agent and the recording")
	return cmd
}

func (f *adminFlags) decide(cmd *cobra.Command, id, verb string, body any) (*approval.Ticket, error) {
	client, err := f.client(cmd)
	if err != nil {
		return nil, err
	}
	t := &approval.Ticket{}
	return t, client.call(cmd.Context(), http.MethodPost, approvalsPath+"/"+url.PathEscape(id)+"/"+verb, nil, body, t)
}

func tableOrJSON(output string) error {
	if output != "table" && output != "json" {
		return &usageError{fmt.Errorf("unknown output %q: table or json", output)}
	}
	return nil
}

// wantOneArg asks for one argument that is not empty: an empty one would name
// the whole list.
func wantOneArg(what string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) != 1 || args[0] == "" {
			return &usageError{errors.New("give " + what + ", and nothing else")}
		}
		return nil
	}
}
