package mcp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/regate-dev/regate/proxies/mcp/bridge"
)

// bridged is the SDK's client on the bridge's standard input and output.
func (g *gateway) bridged(subject string, o *sdk.ClientOptions) *sdk.ClientSession {
	g.t.Helper()
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	round := &http.Transport{}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		err := bridge.Run(ctx, bridge.Options{
			URL: g.url, HTTP: &http.Client{Transport: round}, In: inRead, Out: outWrite,
			Token: func(context.Context, bool) (string, error) { return g.token(subject), nil },
		})
		_ = outWrite.Close()
		done <- err
	}()
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, o)
	session, err := client.Connect(g.t.Context(), &sdk.IOTransport{Reader: outRead, Writer: inWrite}, nil)
	must(g.t, err)
	g.t.Cleanup(func() {
		_ = session.Close()
		_ = inWrite.Close()
		cancel()
		if err := <-done; err != nil {
			g.t.Error(err)
		}
		round.CloseIdleConnections()
	})
	return session
}

// A client that only starts its servers uses one behind the gateway, itself on
// HTTP or on standard input and output, in both eras.
func TestBridge(t *testing.T) {
	for name, stateless := range map[string]bool{"legacy": false, "modern": true} {
		t.Run(name, func(t *testing.T) {
			g := start(t, rego, upstream(t, stateless, "greets"))
			session := g.bridged("alice", nil)
			list, err := session.ListTools(t.Context(), nil)
			must(t, err)
			if len(list.Tools) != 2 {
				t.Errorf("%d tools", len(list.Tools))
			}
			got, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet", Arguments: map[string]any{"name": "bob"}})
			if text := said(t, got, err); text != "hello bob, write to [REDACTED:email]" {
				t.Error(text)
			}
			got, err = session.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet", Arguments: map[string]any{"name": "eve"}})
			if text := said(t, got, err); !got.IsError || !strings.Contains(text, "test/eve") {
				t.Error(text)
			}
			if _, err := session.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "file:///a"}); err == nil || !strings.Contains(err.Error(), "no policy allows this") {
				t.Errorf("%v", err)
			}
		})
	}
	t.Run("stdio", func(t *testing.T) {
		g := start(t, rego, "", child(t))
		session := g.bridged("alice", nil)
		got, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet", Arguments: map[string]any{"name": "bob"}})
		if text := said(t, got, err); !strings.Contains(text, "hello bob") {
			t.Error(text)
		}
	})
}
