package mcp_test

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// Tokens for another audience, of another issuer, or expired do not pass, and
// what is asked for is said with where to get it.
func TestAudience(t *testing.T) {
	up := &scripted{answer: func(r *http.Request, _ string) string {
		if r.Header.Get("Authorization") != "" {
			t.Error("the agent's token went on to the server")
		}
		return `{"jsonrpc":"2.0","id":1,"result":{}}`
	}}
	g := start(t, preamble, up.start(t))
	ping := `{"jsonrpc":"2.0","id":1,"method":"ping"}`
	mint := func(audience string, at time.Time) string {
		return g.issuer.Mint(g.issuer.Claims(audience, at, map[string]any{"sub": "alice"}))
	}
	if status, _, body := g.post(mint(audience, time.Now()), ping); status != 200 {
		t.Errorf("%d %s", status, body)
	}
	for name, token := range map[string]string{
		"another audience": mint("https://mcp.example.com", time.Now()),
		"expired":          mint(audience, time.Now().Add(-48*time.Hour)),
		"no token":         "",
		"no JWT":           "abc",
	} {
		status, header, body := g.post(token, ping)
		if status != 401 || !strings.Contains(header.Get("WWW-Authenticate"), `resource_metadata="`) {
			t.Errorf("%s: %d %v %s", name, status, header, body)
		}
	}
	if got := len(strings.Split(up.bodies(), "\n")); got != 1 {
		t.Errorf("%d requests reached the server", got)
	}
}
