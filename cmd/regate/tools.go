package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

const toolsPath = "api/v1/mcp/tools"

func newToolsCmd() *cobra.Command {
	admin := &adminFlags{}
	cmd := &cobra.Command{
		Use:   "tools",
		Short: "See what MCP servers say of their tools, and approve it",
		Long: `A model does what a tool's definition says. With pinning, a tool is kept back
until somebody has approved its definition, and again when its server says
something else. These commands show what servers say, what has changed, and
what is hidden in it, and approve it: always the definition that was looked at.

A tool is there once an agent has asked its server for tools.
` + adminHelp,
		Example: `  regate tools list --state new
  regate tools show files read_file
  regate tools approve files read_file
  regate tools approve files --all
  regate tools withdraw files read_file`,
		Args: wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	admin.add(cmd)
	cmd.AddCommand(newToolsListCmd(admin), newToolsShowCmd(admin), newToolsApproveCmd(admin), newToolsWithdrawCmd(admin))
	return cmd
}

func fetchTools(cmd *cobra.Command, client *adminClient, query url.Values) ([]console.Tool, error) {
	var answer struct {
		Tools []console.Tool `json:"tools"`
	}
	if err := client.call(cmd.Context(), http.MethodGet, toolsPath, query, nil, &answer); err != nil {
		return nil, fmt.Errorf("list tools: %w", err)
	}
	return answer.Tools, nil
}

func newToolsListCmd(admin *adminFlags) *cobra.Command {
	var server, state, output string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tools, by server and name",
		Args:  wantNoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := tableOrJSON(output); err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			tools, err := fetchTools(cmd, client, url.Values{"server": {server}, "state": {state}})
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), tools)
			}
			return printTools(cmd.OutOrStdout(), tools)
		},
	}
	cmd.Flags().StringVar(&server, "server", "", "only those of this server (a target's name)")
	cmd.Flags().StringVar(&state, "state", "", "only new, approved or changed ones")
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printTools(w io.Writer, tools []console.Tool) error {
	if len(tools) == 0 {
		_, err := fmt.Fprintln(w, "no tools: they are there once an agent has asked a server for them")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, "SERVER\tTOOL\tSTATE\tSINCE\tAPPROVED BY\tHIDDEN IN IT")
	for _, t := range tools {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", plainText(t.Server), plainText(t.Name), t.State, timeText(t.SeenAt),
			plainText(dash(t.ApprovedBy)), dash(strings.Join(hiddenIn(t.Definition), ", ")))
	}
	return tw.Flush()
}

// hiddenIn names what is hidden in a definition.
func hiddenIn(definition []byte) []string {
	tool, err := message.ReadTool(definition)
	if err != nil {
		return nil
	}
	return tool.Findings
}

// oneTool returns the tool that arguments name.
func oneTool(cmd *cobra.Command, client *adminClient, args []string) (console.Tool, error) {
	tools, err := fetchTools(cmd, client, url.Values{"server": {args[0]}, "name": {args[1]}})
	if err != nil {
		return console.Tool{}, err
	}
	if len(tools) != 1 {
		return console.Tool{}, fmt.Errorf("%s has told of no tool %s", plainText(args[0]), plainText(args[1]))
	}
	return tools[0], nil
}

func wantTool(_ *cobra.Command, args []string) error {
	if len(args) != 2 {
		return &usageError{errors.New("give a server (a target's name) and a tool")}
	}
	return nil
}

func newToolsShowCmd(admin *adminFlags) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "show SERVER TOOL",
		Short: "Show a tool's definition, what is hidden in it, and what has changed",
		Args:  wantTool,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := tableOrJSON(output); err != nil {
				return err
			}
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			t, err := oneTool(cmd, client, args)
			if err != nil {
				return err
			}
			if output == "json" {
				return printJSON(cmd.OutOrStdout(), t)
			}
			return printTool(cmd.OutOrStdout(), t)
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return cmd
}

func printTool(w io.Writer, t console.Tool) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(tw, "server\t%s\ntool\t%s\nstate\t%s\n", plainText(t.Server), plainText(t.Name), t.State)
	fmt.Fprintf(tw, "digest\t%s\nfirst seen\t%s\nsince\t%s\n", t.Digest, timeText(t.FirstSeen), timeText(t.SeenAt))
	if t.ApprovedDigest != "" {
		fmt.Fprintf(tw, "approved\t%s by %s, %s\n", timeText(t.ApprovedAt), plainText(t.ApprovedBy), t.ApprovedDigest)
	}
	if found := hiddenIn(t.Definition); len(found) > 0 {
		fmt.Fprintf(tw, "hidden in it\t%s\n", strings.Join(found, ", "))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if t.Diff != "" {
		_, err := fmt.Fprintf(w, "\n%s", plainBlock(t.Diff))
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, t.Definition, "", "  "); err != nil {
		return fmt.Errorf("show tool: %w", err)
	}
	_, err := fmt.Fprintf(w, "\n%s\n", plainBlock(text.String()))
	return err
}

func newToolsApproveCmd(admin *adminFlags) *cobra.Command {
	var digest string
	var all bool
	cmd := &cobra.Command{
		Use:   "approve SERVER [TOOL]",
		Short: "Approve a tool's definition as its server tells it now",
		Long: `Approves the definition of a tool. With --digest it is approved only if it is
still the one that 'regate tools show' has shown. --all approves every tool of a
server in whose definition nothing is hidden, and says which are left.`,
		Args: func(_ *cobra.Command, args []string) error {
			if all && len(args) == 1 && digest == "" || !all && len(args) == 2 {
				return nil
			}
			return &usageError{errors.New("give a server and a tool, or a server and --all")}
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			if all {
				return approveAll(cmd, client, args[0])
			}
			if digest == "" {
				t, err := oneTool(cmd, client, args)
				if err != nil {
					return err
				}
				digest = t.Digest
			}
			return approveTool(cmd, client, console.ToolChoice{Server: args[0], Name: args[1], Digest: digest})
		},
	}
	cmd.Flags().StringVar(&digest, "digest", "", "only if the definition has this digest")
	cmd.Flags().BoolVar(&all, "all", false, "all tools of the server in which nothing is hidden")
	return cmd
}

func approveTool(cmd *cobra.Command, client *adminClient, in console.ToolChoice) error {
	var t console.Tool
	if err := client.call(cmd.Context(), http.MethodPost, toolsPath+"/approve", nil, in, &t); err != nil {
		return fmt.Errorf("approve %s of %s: %w", plainText(in.Name), plainText(in.Server), err)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s of %s is approved: %s\n", plainText(t.Name), plainText(t.Server), t.ApprovedDigest)
	return err
}

func approveAll(cmd *cobra.Command, client *adminClient, server string) error {
	tools, err := fetchTools(cmd, client, url.Values{"server": {server}})
	if err != nil {
		return err
	}
	if len(tools) == 0 {
		return fmt.Errorf("%s has told of no tools", plainText(server))
	}
	left := 0
	for _, t := range tools {
		found := hiddenIn(t.Definition)
		switch {
		case t.State == "approved":
		case len(found) > 0:
			left++
			fmt.Fprintf(cmd.ErrOrStderr(), "%s is left: its definition has %s; look at it with 'regate tools show'\n", plainText(t.Name), strings.Join(found, ", "))
		default:
			if err := approveTool(cmd, client, console.ToolChoice{Server: t.Server, Name: t.Name, Digest: t.Digest}); err != nil {
				return err
			}
		}
	}
	if left > 0 {
		return errReported
	}
	return nil
}

func newToolsWithdrawCmd(admin *adminFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "withdraw SERVER TOOL",
		Short: "Take the approval of a tool back",
		Args:  wantTool,
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := admin.client(cmd)
			if err != nil {
				return err
			}
			in := console.ToolChoice{Server: args[0], Name: args[1]}
			if err := client.call(cmd.Context(), http.MethodPost, toolsPath+"/withdraw", nil, in, nil); err != nil {
				return fmt.Errorf("withdraw: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s of %s is not approved any more\n", plainText(args[1]), plainText(args[0]))
			return err
		},
	}
}
