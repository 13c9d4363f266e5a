package mcp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/regate-dev/regate/engine/approval"
)

const asking = rego + `
require_approval contains {"id": "test/ask", "from": ["subject:bob"], "wait": "60s"} if input.action.verb == "call"
`

// pending waits for the one request that is held.
func (g *gateway) pending(besides ...string) string {
	g.t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		for _, ticket := range g.desk.List(approval.Filter{States: []approval.State{approval.Pending}}) {
			if !strings.Contains(strings.Join(besides, " "), ticket.ID) {
				return ticket.ID
			}
		}
		if time.Now().After(deadline) {
			g.t.Fatal("nothing is held")
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// In the legacy era a held call tells of itself by progress, and goes on once it
// is approved.
func TestApprovalByProgress(t *testing.T) {
	g := start(t, asking, upstream(t, true, "greets"))
	token := g.token("alice")
	go func() { g.approve(g.pending(), "bob") }()
	status, header, body := g.post(token, `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"greet","arguments":{"name":"bob"},"_meta":{"progressToken":"p1"}}}`)
	if status != 200 || header.Get("Content-Type") != "text/event-stream" {
		t.Errorf("%d %v", status, header)
	}
	progress, result := strings.Index(body, `"progressToken":"p1"`), strings.Index(body, "hello bob")
	if progress < 0 || result < progress || !strings.Contains(body, "waiting for approval") {
		t.Errorf("%s", body)
	}
	// Without a token it is a comment.
	first := g.desk.List(approval.Filter{})[0].ID
	go func() { g.approve(g.pending(first), "bob") }()
	_, _, body = g.post(token, `{"jsonrpc":"2.0","id":8,"method":"tools/call","params":{"name":"greet","arguments":{"name":"carol"}}}`)
	if !strings.Contains(body, ": waiting for approval") || !strings.Contains(body, "hello carol") || strings.Contains(body, "progressToken") {
		t.Errorf("%s", body)
	}
}

const modernMeta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"x","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}`

// modern sends a call of greet as the modern era has it. more is put into its
// params.
func (g *gateway) modern(token, name, more string) (int, string) {
	g.t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"greet","arguments":{"name":"` + name + `"},` + modernMeta + more + `}}`
	status, _, out := g.post(token, body, "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/call", "Mcp-Name", "greet")
	return status, out
}

func requestState(t *testing.T, body string) string {
	t.Helper()
	var answer struct {
		Result struct {
			ResultType   string `json:"resultType"`
			RequestState string `json:"requestState"`
		} `json:"result"`
	}
	if i := strings.Index(body, "data: "); i >= 0 {
		body = body[i+6:]
	}
	if err := json.NewDecoder(strings.NewReader(body)).Decode(&answer); err != nil || answer.Result.ResultType != "input_required" || answer.Result.RequestState == "" {
		t.Fatalf("%v %s", err, body)
	}
	return answer.Result.RequestState
}

// In the modern era the agent is asked to come back, with a state that is good
// for this request and this identity alone.
func TestApprovalByRounds(t *testing.T) {
	g := start(t, strings.Replace(asking, "60s", "1s", 1), upstream(t, true, "greets"))
	alice := g.token("alice")
	status, body := g.modern(alice, "bob", "")
	if status != 200 || !strings.Contains(body, "approval/pending") {
		t.Fatalf("%d %s", status, body)
	}
	state := requestState(t, body)
	with := func(state string) string { return `,"requestState":"` + state + `"` }
	// Coming back before anybody has decided waits, and then says so.
	if _, body := g.modern(alice, "bob", with(state)); !strings.Contains(body, "approval/pending") || !strings.Contains(body, `"isError":true`) {
		t.Errorf("%s", body)
	}
	for name, c := range map[string]struct{ token, who, state string }{
		"another request":  {alice, "carol", state},
		"another identity": {g.token("mallory"), "bob", state},
		"altered":          {alice, "bob", state[:len(state)-2] + "AA"},
		"made up":          {alice, "bob", "e30"},
	} {
		if status, body := g.modern(c.token, c.who, with(c.state)); status != 400 || !strings.Contains(body, "mcp/request-state") {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	g.approve(g.pending(), "bob")
	if _, body := g.modern(alice, "bob", with(state)); !strings.Contains(body, "hello bob") {
		t.Errorf("%s", body)
	}
	// It passes once.
	if _, body := g.modern(alice, "bob", with(state)); strings.Contains(body, "hello bob") {
		t.Errorf("twice: %s", body)
	}
}

// The SDK's client does it by itself: its person is asked, and it comes back.
func TestApprovalByElicitation(t *testing.T) {
	g := start(t, asking, upstream(t, true, "greets"))
	round := &http.Transport{}
	t.Cleanup(round.CloseIdleConnections)
	asked := ""
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			asked = r.Params.Message
			return &sdk.ElicitResult{Action: "accept"}, nil
		},
	})
	session, err := client.Connect(t.Context(), &sdk.StreamableClientTransport{Endpoint: g.url, HTTPClient: &http.Client{Transport: authorized{g.token("alice"), round}}, MaxRetries: -1}, nil)
	must(t, err)
	t.Cleanup(func() { _ = session.Close() })
	if v := session.InitializeResult().ProtocolVersion; v != "2026-07-28" {
		t.Fatalf("the client speaks %s", v)
	}
	go func() { g.approve(g.pending(), "bob") }()
	got, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet", Arguments: map[string]any{"name": "bob"}})
	must(t, err)
	if text := got.Content[0].(*sdk.TextContent).Text; got.IsError || !strings.Contains(text, "hello bob") || !strings.Contains(asked, "needs approval") {
		t.Errorf("%+v %s %q", got, text, asked)
	}
	// Whoever is asked may say no.
	_, body := g.modern(g.token("alice"), "carol", "")
	state := requestState(t, body)
	status, answer := g.modern(g.token("alice"), "carol", `,"requestState":"`+state+`","inputResponses":{"dev.regate/approval":{"action":"decline"}}`)
	if !strings.Contains(answer, "approval/cancelled") {
		t.Errorf("%d %s", status, answer)
	}
}
