package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/state"
)

// adminAPI is a gateway's admin API over a real issuer, state and desk.
type adminAPI struct {
	t      *testing.T
	url    string
	issuer *identitytest.Issuer
	desk   *approval.Desk
	revs   *identity.Revocations
}

func newAdminAPI(t *testing.T) *adminAPI {
	t.Helper()
	home(t)
	ctx := t.Context()
	a := &adminAPI{t: t, issuer: identitytest.New(t)}
	st, err := state.Open(ctx, state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close(context.Background()) })
	verifier, err := identity.New(ctx, identity.Config{Issuers: []identity.Issuer{{
		Name: "test", URL: a.issuer.URL, Audiences: []string{"regate"}, InsecureHTTP: true,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(verifier.Close)
	kv, err := st.KV(ctx, jetstream.KeyValueConfig{Bucket: "regate_revocations", History: 1})
	if err != nil {
		t.Fatal(err)
	}
	if a.revs, err = identity.OpenRevocations(ctx, kv, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.revs.Close)
	if kv, err = st.KV(ctx, approval.Bucket(1)); err != nil {
		t.Fatal(err)
	}
	if a.desk, err = approval.Open(ctx, approval.Options{KV: kv}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.desk.Close)
	api, err := console.New(console.Config{
		Verifier: verifier, Revocations: a.revs, Approvals: a.desk,
		Roles:    console.Roles{Operator: console.Members{Groups: []string{"operators"}}},
		Status:   func() any { return map[string]string{} },
		Sessions: func() any { return []string{} },
		Audit:    func(context.Context, console.Event) error { return nil },
		Metrics:  prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	a.url = server.URL
	return a
}

func (a *adminAPI) token(subject string, groups ...string) string {
	return a.issuer.Mint(a.issuer.Claims("regate", time.Now(), map[string]any{"sub": subject, "groups": groups}))
}

// run runs regate as somebody.
func (a *adminAPI) run(token string, args ...string) (status int, stdout, stderr string) {
	a.t.Helper()
	a.t.Setenv("REGATE_TOKEN", token)
	a.t.Setenv("REGATE_URL", a.url)
	var out, errOut bytes.Buffer
	status = run(args, strings.NewReader(""), &out, &errOut)
	return status, out.String(), errOut.String()
}

// want runs regate and compares its status; every text must be in its output.
func (a *adminAPI) want(status int, token string, args []string, texts ...string) string {
	a.t.Helper()
	got, stdout, stderr := a.run(token, args...)
	if got != status {
		a.t.Errorf("regate %s: status %d, want %d: %s%s", strings.Join(args, " "), got, status, stdout, stderr)
	}
	for _, text := range texts {
		if !strings.Contains(stdout+stderr, text) {
			a.t.Errorf("regate %s: no %q in\n%s%s", strings.Join(args, " "), text, stdout, stderr)
		}
	}
	if strings.Contains(stdout+stderr, token) && token != "" {
		a.t.Errorf("regate %s: the output holds the token", strings.Join(args, " "))
	}
	return stdout
}

func (a *adminAPI) hold(digest string) *approval.Ticket {
	a.t.Helper()
	value, where := "7", true
	shown, err := json.Marshal(map[string]any{
		"sql":        input.SQL{Text: "UPDATE users\nSET plan = 'pro' -- \x1b[2Kharmless\nWHERE id = $1"},
		"action":     input.SQLAction{Verb: "update", Writes: true, HasWhere: &where},
		"resource":   input.SQLResource{Tables: map[string]input.SQLTable{"public.users": {Access: []string{"read", "update"}, Written: []string{"plan"}}}},
		"parameters": []input.Parameter{{Index: 1, Type: "int4", Value: &value, Encoding: "text"}, {Index: 2, Type: "text"}},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	held, err := a.desk.Hold(a.t.Context(), approval.Ticket{
		Digest: digest, SessionID: "01JQ", Summary: "UPDATE users SET plan = 'pro' WHERE id = $1",
		Subject:  input.Principal{ID: "alice", Issuer: a.issuer.URL, Groups: []string{"analysts"}},
		Actor:    &input.Principal{ID: "agent-7", Issuer: a.issuer.URL, ClientID: "report-bot"},
		Asserted: input.Asserted{Purpose: "upgrade\x1b]0;owned\x07 a customer"},
		Target:   input.Target{Name: "shop", Database: "shop", Role: "app", Labels: map[string]string{"env": "prod"}},
		Request:  shown,
		Reasons:  []approval.Reason{{ID: "acme.sql/prod-write", Msg: "writes to production need a dba"}},
		Requirements: []approval.Requirement{
			{ID: "acme.sql/prod-write", From: []string{"group:dba"}, Count: 2, TTL: time.Hour},
		},
		Masks: []approval.Mask{{Field: "public.users.email", Method: "partial"}, {Detect: "credit_card", Method: "redact"}},
		Limit: approval.Limit{Rows: 100},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	for len(a.desk.List(approval.Filter{})) == 0 { // the list is a copy that follows
		time.Sleep(time.Millisecond)
	}
	return held
}

func TestApprovals(t *testing.T) {
	a := newAdminAPI(t)
	bob, carol := a.token("bob", "dba"), a.token("carol", "dba")
	a.want(0, bob, []string{"approvals", "list"}, "nothing is held")
	held := a.hold("d1")
	a.want(0, bob, []string{"approvals", "list"}, held.ID, "pending", "alice by agent-7", "shop", "2 from group:dba", "UPDATE users SET plan")
	shown := a.want(0, bob, []string{"approvals", "show", held.ID},
		"alice, of analysts", "agent-7, client report-bot", "not verified", "shop, database shop as app, env=prod",
		"│ UPDATE users\n", "│ WHERE id = $1", "$1 int4", " 7\n", "$2 text", "NULL", "public.users  read, update: plan",
		"writes to production need a dba", "0 of 2 from group:dba", "public.users.email by partial", "any credit_card by redact", "100 rows", "expires")
	if n := strings.Count(shown, "acme.sql/prod-write"); n != 1 {
		t.Errorf("the reason is printed %d times:\n%s", n, shown)
	}
	if strings.ContainsAny(shown, "\x1b\x07") {
		t.Errorf("the agent writes control characters to the terminal: %q", shown)
	}
	var ticket approval.Ticket
	if raw := a.want(0, bob, []string{"approvals", "show", held.ID, "-o", "json"}); json.Unmarshal([]byte(raw), &ticket) != nil || ticket.ID != held.ID {
		t.Errorf("as JSON: %s", raw)
	}
	a.want(1, a.token("mallory"), []string{"approvals", "show", held.ID}, "approval/not-found")
	a.want(1, a.token("alice", "dba"), []string{"approvals", "approve", held.ID}, "approval/self")
	a.want(0, bob, []string{"approvals", "approve", held.ID, "--note", "fine"}, "still needed: 1 from group:dba")
	a.want(1, bob, []string{"approvals", "approve", held.ID}, "approval/duplicate")
	a.want(0, carol, []string{"approvals", "approve", held.ID}, "approved", "may run once")
	if got, err := a.desk.Get(t.Context(), held.ID); err != nil || got.State != approval.Approved || got.Approvals[0].Note != "fine" {
		t.Errorf("%+v, %v", got, err)
	}
	a.want(0, carol, []string{"approvals", "deny", held.ID, "--reason", "not in the freeze"}, "denied")
	a.want(0, bob, []string{"approvals", "show", held.ID}, "carol", "not in the freeze")
	a.want(1, bob, []string{"approvals", "approve", held.ID}, "approval/already-resolved")
	a.want(0, bob, []string{"approvals", "list", "--state", "denied"}, held.ID)
	a.want(1, bob, []string{"approvals", "list", "--state", "nonsense"}, "console/malformed")
	a.want(1, "not.a.token", []string{"approvals", "list"}, "identity/")
	for _, args := range [][]string{
		{"approvals", "show"}, {"approvals", "show", ""}, {"approvals", "approve", held.ID, "x"}, {"approvals", "list", "-o", "xml"}, {"approvals", "listt"},
	} {
		a.want(2, bob, args)
	}
}

func TestRevoke(t *testing.T) {
	a := newAdminAPI(t)
	operator := a.token("olga", "operators")
	a.want(0, operator, []string{"revoke", "--list"}, "nothing is revoked")
	a.want(1, a.token("bob", "dba"), []string{"revoke", "subject", "alice"}, "console/forbidden")
	a.want(0, operator, []string{"revoke", "subject", "alice", "--of-issuer", a.issuer.URL, "--for", "1h", "--reason", "left the company"}, "subject alice is revoked until")
	a.want(0, operator, []string{"revoke", "target", "shop"}, "target shop is revoked\n")
	var list []revocation
	for len(list) < 2 { // the list is a copy that follows
		if err := json.Unmarshal([]byte(a.want(0, operator, []string{"revoke", "--list", "-o", "json"})), &list); err != nil {
			t.Fatal(err)
		}
	}
	a.want(0, operator, []string{"revoke", "--list"}, "alice", "left the company", "olga", "shop")
	if got := list[0]; got.Kind == "subject" && (got.ExpiresAt.IsZero() || got.Issuer != a.issuer.URL) {
		t.Errorf("%+v", got)
	}
	for _, r := range list {
		a.want(0, operator, []string{"revoke", "--remove", r.Key}, "removed")
	}
	a.want(1, operator, []string{"revoke", "--remove", "target.nothing"}, "console/not-found")
	for _, args := range [][]string{
		{"revoke"}, {"revoke", "alice"}, {"revoke", "person", "alice"}, {"revoke", "subject", ""}, {"revoke", "--list", "subject", "alice"},
		{"revoke", "--list", "--remove", "x"}, {"revoke", "subject", "alice", "--for", "-1h"},
	} {
		a.want(2, operator, args)
	}
}

func TestAdminClient(t *testing.T) {
	a := newAdminAPI(t)
	token := a.token("bob", "dba")
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("SOME_TOKEN", token)
	a.want(0, "", []string{"approvals", "list", "--token", "file:" + file}, "nothing is held")
	a.want(0, "", []string{"approvals", "list", "--token", "env:SOME_TOKEN"}, "nothing is held")
	a.want(0, "", []string{"approvals", "list", "--token", token}, "warning")
	a.want(2, "", []string{"approvals", "list"}, "--issuer")
	for _, url := range []string{"http://regate.example.com:8411", "ftp://127.0.0.1", "127.0.0.1:8411", "https://", "https://bob:x@regate.example.com", "http://127.0.0.1.example.com"} {
		a.want(2, token, []string{"approvals", "list", "--url", url}, "--url")
	}
	for _, url := range []string{"https://regate.example.com:8411/", "http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"} {
		if _, err := adminBase(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	a.want(1, token, []string{"approvals", "list", "--url", "http://127.0.0.1:1"}, "does not answer")

	// Whatever answers at the address, the token goes no further.
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed a redirect") }))
	defer elsewhere.Close()
	answer := func(status int, contentType, body string) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.Header().Set("Content-Type", contentType)
			w.WriteHeader(status)
			_, _ = w.Write([]byte(body))
		}))
		t.Cleanup(s.Close)
		return s
	}
	for _, s := range []*httptest.Server{
		answer(307, "text/html", ""), answer(500, "text/html", "<h1>oops</h1>"), answer(200, "application/json", "<h1>"),
		answer(403, "application/problem+json", "{"), answer(403, "application/problem+json", `{"detail":"\u001b[31mno"}`),
	} {
		status, out, stderr := a.run(token, "approvals", "list", "--url", s.URL)
		if status != 1 || strings.Contains(out+stderr, "\x1b") {
			t.Errorf("status %d: %q", status, out+stderr)
		}
	}
	var problem *adminProblem
	if err := problemOf(&http.Response{Header: http.Header{"Content-Type": {"application/problem+json"}}}, []byte(`{"title":"Forbidden","hint":"ask"}`)); !errors.As(err, &problem) || err.Error() != "Forbidden (ask)" {
		t.Errorf("%v", err)
	}
}
