package httpproxy_test

import (
	"net/http"
	"testing"
)

// What a request has done is known to later ones: of the same task, whatever the
// target and the connection, and where a rule says so of the agent.
func TestLabels(t *testing.T) {
	up := upstream(t, echo)
	g := start(t, preamble+`
allow contains {"id": "test/get"} if input.action.verb == "get"
allow contains {"id": "test/post"} if { input.action.verb == "post"; not "read-customers" in input.session.labels }
deny contains {"id": "test/flagged"} if "flagged" in input.session.labels
label contains {"id": "test/read", "label": "read-customers"} if input.resource.path == "/customers"
label contains {"id": "test/flag", "label": "flagged", "scope": "agent"} if { "body" in input.response.field_names; input.resource.path == "/trap" }
`, up.URL)
	ask := func(who, task, method, path string) int {
		t.Helper()
		return g.do(g.token(who), method, path, "", "Regate-Task", task).status
	}
	for _, c := range []struct {
		who, task, method, path string
		want                    int
	}{
		{"alice", "T-1", "POST", "/out", 200},
		{"alice", "T-1", "GET", "/customers", 200},
		{"alice", "T-1", "POST", "/out", 403},
		{"alice", "T-2", "POST", "/out", 200},
		{"bob", "T-1", "POST", "/out", 200},
		{"bob", "T-1", "GET", "/trap", 200},
		{"bob", "T-1", "GET", "/", 403},
		{"bob", "T-9", "GET", "/", 403},
		{"alice", "T-1", "GET", "/", 200},
	} {
		if got := ask(c.who, c.task, c.method, c.path); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	// Through the forward proxy, in another session.
	client := g.through(g.token("alice"))
	req, err := http.NewRequest("POST", up.URL+"/out", nil)
	must(t, err)
	req.Header.Set("Proxy-Authorization", "Bearer "+g.token("alice"))
	req.Header.Set("Regate-Task", "T-1")
	if got := send(t, client, req); got.status != 403 {
		t.Errorf("%d %s", got.status, got.body)
	}
}
