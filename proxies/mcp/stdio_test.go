package mcp_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/regate-dev/regate/proxies/mcp"
)

// The test's own program is the server on standard input and output.
const asServer = "REGATE_TEST_MCP_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asServer) == "" {
		os.Exit(m.Run())
	}
	server := sdk.NewServer(&sdk.Implementation{Name: "child", Version: "1"}, nil)
	type who struct {
		Name string `json:"name"`
	}
	sdk.AddTool(server, &sdk.Tool{Name: "greet", Description: "greets"}, func(ctx context.Context, r *sdk.CallToolRequest, in who) (*sdk.CallToolResult, any, error) {
		switch in.Name {
		case "exit":
			os.Exit(3)
		case "slow":
			<-ctx.Done()
			fmt.Fprintln(os.Stderr, "it was cancelled")
		case "progress":
			_ = r.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: r.Params.GetProgressToken(), Progress: 1, Message: "half"})
		}
		text := fmt.Sprintf("hello %s, write to jane@example.com; %d %q", in.Name, os.Getpid(), os.Getenv("REGATE_SECRET_OF_GATEWAY"))
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}, nil, nil
	})
	sdk.AddTool(server, &sdk.Tool{Name: "customer", Description: "finds"}, func(context.Context, *sdk.CallToolRequest, who) (*sdk.CallToolResult, any, error) {
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: "{}"}}}, nil, nil
	})
	if err := server.Run(context.Background(), &sdk.StdioTransport{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(0)
}

func child(t *testing.T) func(*mcp.Target) {
	t.Helper()
	t.Setenv("REGATE_SECRET_OF_GATEWAY", "s3cret") // which no server gets
	self, err := os.Executable()
	must(t, err)
	return func(target *mcp.Target) {
		target.Upstream, target.Command, target.Pinning = "", []string{self}, mcp.PinFirstUse
		target.Env = func() ([]string, error) { return []string{asServer + "=1"}, nil }
	}
}

func said(t *testing.T, got *sdk.CallToolResult, err error) string {
	t.Helper()
	must(t, err)
	return got.Content[0].(*sdk.TextContent).Text
}

// A server that the gateway starts is like any other; each session has its own.
func TestStdio(t *testing.T) {
	g := start(t, rego, "", child(t))
	alice, bob := g.connect("alice"), g.connect("bob")
	call := func(s *sdk.ClientSession, name string) string {
		t.Helper()
		got, err := s.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet", Arguments: map[string]any{"name": name}})
		return said(t, got, err)
	}
	list, err := alice.ListTools(t.Context(), nil)
	must(t, err)
	if len(list.Tools) != 2 {
		t.Errorf("%d tools", len(list.Tools))
	}
	one, two := call(alice, "x"), call(bob, "x")
	if one == two || !strings.Contains(one, "hello x") || strings.Contains(one, "jane@") || !strings.HasSuffix(one, `""`) {
		t.Errorf("%s\n%s", one, two)
	}
	if got := call(alice, "x"); got != one {
		t.Errorf("another process: %s, %s", got, one)
	}
	if got := call(alice, "eve"); !strings.Contains(got, "test/eve") {
		t.Error(got)
	}
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			name := fmt.Sprint("n", i)
			if got := call(alice, name); !strings.Contains(got, "hello "+name+",") {
				t.Errorf("%s: %s", name, got)
			}
		})
	}
	wait.Wait()
}

// What a server on standard input and output does at its end, and when nobody
// waits for it any more.
func TestStdioEnds(t *testing.T) {
	g := start(t, rego, "", child(t))
	alice := g.connect("alice")
	args := func(name string) *sdk.CallToolParams {
		return &sdk.CallToolParams{Name: "greet", Arguments: map[string]any{"name": name}}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := alice.CallTool(ctx, args("slow")); err == nil {
		t.Error("a slow call ended")
	}
	eventually(t, func() bool { return strings.Contains(g.log.String(), "it was cancelled") })
	if got, err := alice.CallTool(t.Context(), args("x")); err != nil || got.IsError {
		t.Errorf("%v %+v", err, got)
	}
	if _, err := alice.CallTool(t.Context(), args("exit")); err == nil || !strings.Contains(err.Error(), "the server has ended") {
		t.Errorf("%v", err)
	}
	again := g.connect("alice")
	if got, err := again.CallTool(t.Context(), args("x")); err != nil || got.IsError {
		t.Errorf("%v %+v", err, got)
	}
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatal("it did not happen")
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Progress finds the request that it is of, and its own token.
func TestStdioProgress(t *testing.T) {
	g := start(t, rego, "", child(t))
	token := g.token("alice")
	_, header, _ := g.post(token, `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`)
	id := header.Get("Mcp-Session-Id")
	if status, _, body := g.post(token, `{"jsonrpc":"2.0","method":"notifications/initialized"}`, "Mcp-Session-Id", id); status != 202 {
		t.Fatalf("%d %s", status, body)
	}
	_, _, body := g.post(token, `{"jsonrpc":"2.0","id":"mine","method":"tools/call","params":{"name":"greet","arguments":{"name":"progress"},"_meta":{"progressToken":"tok"}}}`, "Mcp-Session-Id", id)
	if !strings.Contains(body, `"progressToken":"tok"`) || !strings.Contains(body, `"id":"mine"`) || !strings.Contains(body, "half") {
		t.Errorf("%s", body)
	}
	// Another identity's session it is not.
	if status, _, _ := g.post(g.token("mallory"), `{"jsonrpc":"2.0","id":1,"method":"ping"}`, "Mcp-Session-Id", id); status != 404 {
		t.Errorf("%d", status)
	}
	// In the modern era each identity has a process.
	if status, body := g.modern(token, "bob", ""); status != 200 || !strings.Contains(body, "hello bob") {
		t.Errorf("%d %s", status, body)
	}
}
