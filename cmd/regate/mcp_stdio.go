package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/regate-dev/regate/proxies/mcp/bridge"
)

func newMCPStdioCmd() *cobra.Command {
	token := &tokenFlags{}
	var ca string
	cmd := &cobra.Command{
		Use:   "mcp-stdio URL",
		Short: "Let an MCP client that starts its servers use one behind the gateway",
		Long: `Speaks MCP over standard input and output, and streamable HTTP to a server behind
a gateway: for clients that only know servers that they start themselves. The
URL is that of the server at the gateway. The token comes from REGATE_TOKEN, or
is got as 'regate token' gets it, and again before it expires.`,
		Example: `  regate mcp-stdio https://regate.example.com:8090/mcp/files --profile agent
  REGATE_TOKEN=$(cat token) regate mcp-stdio http://127.0.0.1:8090/mcp/files
  # in a client's configuration:
  # {"mcpServers": {"files": {"command": "regate", "args": ["mcp-stdio", "https://…/mcp/files", "--profile", "agent"]}}}`,
		Args: wantOneArg("the URL of a server at the gateway"),
		RunE: func(cmd *cobra.Command, args []string) error {
			u, err := adminBase(args[0])
			if err != nil {
				return &usageError{err}
			}
			client, err := httpClient(ca)
			if err != nil {
				return fmt.Errorf("--gateway-ca-file: %w", err)
			}
			client.Timeout = 0 // answers are streams
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			var one sync.Mutex // a login asks one person
			return bridge.Run(ctx, bridge.Options{
				URL: u.String(), HTTP: client, In: cmd.InOrStdin(), Out: cmd.OutOrStdout(),
				Token: func(_ context.Context, fresh bool) (string, error) {
					if t := os.Getenv("REGATE_TOKEN"); t != "" {
						if fresh {
							return "", errors.New("the gateway does not take the token of REGATE_TOKEN")
						}
						return t, nil
					}
					one.Lock()
					defer one.Unlock()
					return token.token(cmd)
				},
			})
		},
	}
	token.add(cmd.Flags())
	cmd.Flags().StringVar(&ca, adminCA, "", "PEM file with the authorities of the gateway's certificate")
	return cmd
}
