package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/state"
)

const audience = "regate"

// api is a Console over a real issuer, real state and real desk.
type api struct {
	t      *testing.T
	issuer *identitytest.Issuer
	desk   *approval.Desk
	revs   *identity.Revocations
	server *httptest.Server
	log    *logBuffer

	mu       sync.Mutex
	events   []Event
	auditErr error
}

// logBuffer is a bytes.Buffer for a logger and a test at once.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func newAPI(t *testing.T, change func(*Config)) *api {
	t.Helper()
	ctx := t.Context()
	a := &api{t: t, issuer: identitytest.New(t), log: new(logBuffer)}
	st, err := state.Open(ctx, state.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close(context.Background()) })
	verifier, err := identity.New(ctx, identity.Config{Issuers: []identity.Issuer{{
		Name: "test", URL: a.issuer.URL, Audiences: []string{audience}, InsecureHTTP: true,
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
	log := logrus.New()
	log.SetOutput(a.log)
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "regate_up"}, func() float64 { return 1 }))
	cfg := Config{
		Verifier: verifier, Revocations: a.revs, Approvals: a.desk,
		Roles: Roles{
			Viewer:   Members{Groups: []string{"viewers"}},
			Auditor:  Members{Groups: []string{"auditors"}},
			Operator: Members{Groups: []string{"operators"}, Subjects: []string{"root"}},
		},
		Dependencies: []Dependency{{Name: "state", Check: st.Healthy}},
		Status:       func() any { return map[string]string{"name": "gw"} },
		Sessions:     func() any { return []string{} },
		Audit: func(_ context.Context, e Event) error {
			a.mu.Lock()
			defer a.mu.Unlock()
			if a.auditErr != nil {
				return a.auditErr
			}
			a.events = append(a.events, e)
			return nil
		},
		Metrics: registry, Logger: log,
	}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	a.server = httptest.NewServer(c)
	t.Cleanup(a.server.Close)
	return a
}

// token of a subject in groups.
func (a *api) token(subject string, groups ...string) string {
	return a.issuer.Mint(a.issuer.Claims(audience, time.Now(), map[string]any{"sub": subject, "groups": groups}))
}

// answer is a status and the body as far as tests look at it.
type answer struct {
	Status int
	Header http.Header
	Raw    string

	Reason      string
	Detail      string
	ID          string
	State       string
	Key         string
	Approvals   []approval.Ticket
	Revocations []struct{ Key, Kind, Value, By string }
}

func (a *api) do(method, path, token, body string) answer {
	a.t.Helper()
	req, err := http.NewRequestWithContext(a.t.Context(), method, a.server.URL+path, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	return a.send(req)
}

func (a *api) send(req *http.Request) answer {
	a.t.Helper()
	resp, err := a.server.Client().Do(req)
	if err != nil {
		a.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		a.t.Fatal(err)
	}
	out := answer{Status: resp.StatusCode, Header: resp.Header, Raw: string(raw)}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		if err := json.Unmarshal(raw, &out); err != nil {
			a.t.Fatalf("%s %s: %v in %s", req.Method, req.URL.Path, err, raw)
		}
		out.Status = resp.StatusCode
	}
	return out
}

func (a *api) hold(digest string) *approval.Ticket {
	a.t.Helper()
	t, err := a.desk.Hold(a.t.Context(), approval.Ticket{
		Digest: digest, Summary: "UPDATE users SET x = 1 WHERE id = 2",
		Subject: input.Principal{ID: "agent-1", Issuer: a.issuer.URL, Groups: []string{"agents"}},
		Target:  input.Target{Name: "shop"},
		Requirements: []approval.Requirement{
			{ID: "acme/prod-write", From: []string{"group:dba"}, Count: 1, TTL: time.Minute},
		},
	})
	if err != nil {
		a.t.Fatal(err)
	}
	// The list is a copy that follows: wait for it.
	for a.t.Context().Err() == nil {
		for _, l := range a.desk.List(approval.Filter{}) {
			if l.ID == t.ID {
				return t
			}
		}
		time.Sleep(time.Millisecond)
	}
	a.t.Fatal("the ticket does not show up")
	return nil
}

// until repeats a GET until it answers with status: what is revoked reaches
// the verifier's copy a moment later.
func (a *api) until(path, token string, status int) answer {
	a.t.Helper()
	for {
		got := a.do("GET", path, token, "")
		if got.Status == status || a.t.Context().Err() != nil {
			return got
		}
		time.Sleep(time.Millisecond)
	}
}

// untilRevoked waits for the list to have n entries.
func (a *api) untilRevoked(token string, n int) {
	a.t.Helper()
	for len(a.do("GET", "/api/v1/revocations", token, "").Revocations) != n {
		time.Sleep(time.Millisecond)
	}
}

func (a *api) actions() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, e := range a.events {
		out = append(out, e.Action+" "+e.Outcome+" by "+e.By)
	}
	return strings.Join(out, "; ")
}

func (a *api) breakAudit(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.auditErr = err
}

func TestTokens(t *testing.T) {
	a := newAPI(t, nil)
	now := time.Now()
	good := a.issuer.Claims(audience, now, map[string]any{"sub": "root"})
	with := func(change map[string]any) map[string]any { return a.issuer.Claims(audience, now, change) }
	forged := identitytest.NewKey(t, "k1", "ES256")
	for name, tc := range map[string]struct {
		token  string
		status int
		reason string
	}{
		"good":           {a.issuer.Mint(good), 200, ""},
		"none":           {"", 401, identity.ReasonMissing},
		"garbage":        {"garbage", 401, identity.ReasonMalformed},
		"expired":        {a.issuer.Mint(with(map[string]any{"exp": now.Add(-time.Hour).Unix()})), 401, identity.ReasonExpired},
		"audience":       {a.issuer.Mint(with(map[string]any{"aud": "other"})), 401, identity.ReasonWrongAudience},
		"unknown issuer": {a.issuer.Mint(with(map[string]any{"iss": "https://evil.example"})), 401, identity.ReasonUnknownIssuer},
		"forged":         {forged.Sign(t, map[string]any{"alg": "ES256", "typ": "at+jwt", "kid": "k1"}, good), 401, identity.ReasonBadSignature},
		"alg none":       {forged.Sign(t, map[string]any{"alg": "none", "typ": "at+jwt"}, good), 401, identity.ReasonAlgorithm},
		"delegated":      {a.issuer.Mint(with(map[string]any{"sub": "root", "act": map[string]any{"sub": "agent-7"}})), 403, ReasonDelegated},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.do("GET", "/api/v1/status", tc.token, "")
			if got.Status != tc.status || got.Reason != tc.reason {
				t.Fatalf("got %d %s, want %d %s", got.Status, got.Raw, tc.status, tc.reason)
			}
			if got.Status == 401 && got.Header.Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
			if tc.reason != "" && got.Header.Get("Content-Type") != "application/problem+json" {
				t.Error("not a problem document:", got.Header.Get("Content-Type"))
			}
			if len(tc.token) > 20 && strings.Contains(got.Raw+a.log.String(), tc.token[10:]) {
				t.Error("the token is in the answer or in the log")
			}
		})
	}
	t.Run("two headers", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", a.server.URL+"/api/v1/status", nil)
		req.Header.Add("Authorization", "Bearer "+a.issuer.Mint(good))
		req.Header.Add("Authorization", "Bearer x")
		if got := a.send(req); got.Status != 401 {
			t.Error(got.Raw)
		}
	})
	t.Run("basic", func(t *testing.T) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", a.server.URL+"/api/v1/status", nil)
		req.SetBasicAuth("root", a.issuer.Mint(good))
		if got := a.send(req); got.Reason != identity.ReasonMissing {
			t.Error(got.Raw)
		}
	})
}

func TestRoles(t *testing.T) {
	a := newAPI(t, nil)
	tokens := map[string]string{
		"nobody": a.token("eve", "analysts"), "viewer": a.token("vera", "viewers"),
		"auditor": a.token("aud", "auditors"), "operator": a.token("olga", "operators"), "root": a.token("root"),
	}
	const revoke = `{"kind":"token","value":"x"}`
	for _, tc := range []struct {
		method, path, body string
		may                string
	}{
		{"GET", "/api/v1/status", "", "viewer auditor operator root"},
		{"GET", "/api/v1/sessions", "", "viewer auditor operator root"},
		{"GET", "/api/v1/approvals", "", "nobody viewer auditor operator root"}, // nobody sees none: see TestApprovals
		{"GET", "/api/v1/revocations", "", "viewer auditor operator root"},
		{"POST", "/api/v1/revocations", revoke, "operator root"},
		{"DELETE", "/api/v1/revocations/nothing", "", "operator root"},
	} {
		for who, token := range tokens {
			got := a.do(tc.method, tc.path, token, tc.body)
			may := strings.Contains(tc.may, who)
			if denied := got.Status == http.StatusForbidden && got.Reason == ReasonForbidden; denied == may {
				t.Errorf("%s %s as %s: %d %s", tc.method, tc.path, who, got.Status, got.Raw)
			}
		}
	}
}

func TestApprovals(t *testing.T) {
	a := newAPI(t, nil)
	dba, agent, eve, viewer := a.token("dora", "dba"), a.token("agent-1", "agents", "dba"), a.token("eve", "analysts"), a.token("vera", "viewers")
	held := a.hold("d1")
	path := "/api/v1/approvals/" + held.ID

	for name, tc := range map[string]struct {
		token string
		shown int
	}{"approver": {dba, 1}, "requester": {agent, 1}, "viewer": {viewer, 1}, "stranger": {eve, 0}} {
		if got := a.do("GET", "/api/v1/approvals", tc.token, ""); len(got.Approvals) != tc.shown {
			t.Errorf("%s sees %s", name, got.Raw)
		}
	}
	if got := a.do("GET", path, eve, ""); got.Status != 404 || got.Reason != approval.CodeNotFound {
		t.Error("a stranger reads the ticket:", got.Raw)
	}
	if got := a.do("GET", path, viewer, ""); got.State != "pending" {
		t.Error(got.Raw)
	}
	for name, tc := range map[string]struct {
		token, reason string
		status        int
	}{
		"requester": {agent, approval.CodeSelf, 403},
		"stranger":  {eve, approval.CodeNotFound, 404},
		"viewer":    {viewer, approval.CodeNotEligible, 403},
	} {
		if got := a.do("POST", path+"/approve", tc.token, ""); got.Status != tc.status || got.Reason != tc.reason {
			t.Errorf("%s: %d %s", name, got.Status, got.Raw)
		}
	}
	if got := a.do("POST", path+"/approve", dba, `{"note":"looks right"}`); got.Status != 200 || got.State != "approved" {
		t.Fatal(got.Raw)
	}
	if got := a.do("POST", path+"/approve", dba, ""); got.Status != 409 || got.Reason != approval.CodeDuplicate {
		t.Error("twice:", got.Raw)
	}

	second := a.hold("d2")
	path = "/api/v1/approvals/" + second.ID
	if got := a.do("POST", path+"/deny", dba, `{"reason":"no ticket"}`); got.Status != 200 || got.State != "denied" {
		t.Fatal(got.Raw)
	}
	if got := a.do("POST", path+"/approve", dba, ""); got.Status != 409 || got.Reason != approval.CodeResolved {
		t.Error("approved after a denial:", got.Raw)
	}
	// The list follows the store and may be a moment late.
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		got := a.do("GET", "/api/v1/approvals?state=denied", viewer, "")
		if len(got.Approvals) == 1 && got.Approvals[0].Resolution.Reason == "no ticket" {
			break
		}
		if time.Now().After(end) {
			t.Fatal(got.Raw)
		}
	}
	for _, q := range []string{"?state=foo", "?limit=0", "?limit=x", "?limit=100000"} {
		if got := a.do("GET", "/api/v1/approvals"+q, viewer, ""); got.Status != 400 {
			t.Error(q, got.Raw)
		}
	}
	if got := a.actions(); !strings.Contains(got, "approval.approve requested by dora; approval.approve ok by dora") ||
		!strings.Contains(got, "approval.deny ok by dora") {
		t.Error(got)
	}
}

// TestApproverRole: where the role is configured the policy's requirement alone
// is not enough.
func TestApproverRole(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Roles.Approver = Members{Groups: []string{"approvers"}} })
	path := "/api/v1/approvals/" + a.hold("d1").ID + "/approve"
	if got := a.do("POST", path, a.token("dora", "dba"), ""); got.Reason != ReasonForbidden {
		t.Error("without the role:", got.Raw)
	}
	if got := a.do("POST", path, a.token("carl", "approvers"), ""); got.Reason != approval.CodeNotEligible {
		t.Error("without the group of the requirement:", got.Raw)
	}
	if got := a.do("POST", path, a.token("dora", "dba", "approvers"), ""); got.State != "approved" {
		t.Error(got.Raw)
	}
}

// TestAuditFails: what grants is not done, what restricts is.
func TestAuditFails(t *testing.T) {
	a := newAPI(t, nil)
	op, dba := a.token("olga", "operators"), a.token("dora", "dba")
	first := a.do("POST", "/api/v1/revocations", op, `{"kind":"subject","value":"mallory"}`)
	if first.Status != 201 {
		t.Fatal(first.Raw)
	}
	a.untilRevoked(op, 1)
	held, denied := a.hold("d1"), a.hold("d2")
	a.breakAudit(errors.New("journal is full"))

	if got := a.do("POST", "/api/v1/approvals/"+held.ID+"/approve", dba, ""); got.Status != 503 || got.Reason != ReasonAudit {
		t.Error("approve:", got.Raw)
	}
	if got, err := a.desk.Get(t.Context(), held.ID); err != nil || got.State != approval.Pending {
		t.Error("approved without a record:", got, err)
	}
	if got := a.do("DELETE", "/api/v1/revocations/"+first.Key, op, ""); got.Status != 503 || got.Reason != ReasonAudit {
		t.Error("lift:", got.Raw)
	}
	if got := a.do("POST", "/api/v1/approvals/"+denied.ID+"/deny", dba, ""); got.State != "denied" {
		t.Error("deny:", got.Raw)
	}
	if got := a.do("POST", "/api/v1/revocations", op, `{"kind":"token","value":"stolen"}`); got.Status != 201 {
		t.Error("revoke:", got.Raw)
	}
	a.untilRevoked(op, 2)
}

func TestRevocations(t *testing.T) {
	a := newAPI(t, nil)
	op := a.token("olga", "operators")
	for name, body := range map[string]string{
		"empty": ``, "not JSON": `{`, "list": `[]`, "two": `{"kind":"token","value":"a"} {}`,
		"unknown field": `{"kind":"token","value":"a","admin":true}`, "kind": `{"kind":"everything","value":"a"}`,
		"no value": `{"kind":"token"}`, "number": `{"kind":"token","value":1}`, "past": `{"kind":"token","value":"a","expires_at":"2001-01-01T00:00:00Z"}`,
		"long": `{"kind":"token","value":"` + strings.Repeat("a", maxText+1) + `"}`, "issuer of a target": `{"kind":"target","value":"shop","issuer":"x"}`,
	} {
		got := a.do("POST", "/api/v1/revocations", op, body)
		if got.Status != 400 && !(body == "" && got.Status == 415) {
			t.Errorf("%s: %d %s", name, got.Status, got.Raw)
		}
	}
	if got := a.do("POST", "/api/v1/revocations", op, `{"value":"`+strings.Repeat("a", maxBody)+`"}`); got.Status != 413 {
		t.Error("too large:", got.Status)
	}
	victim := a.token("vera", "viewers")
	if got := a.do("GET", "/api/v1/status", victim, ""); got.Status != 200 {
		t.Fatal(got.Raw)
	}
	added := a.do("POST", "/api/v1/revocations", op, `{"kind":"subject","value":"vera","reason":"laptop lost"}`)
	if added.Status != 201 || added.Key == "" {
		t.Fatal(added.Raw)
	}
	if got := a.until("/api/v1/status", victim, 401); got.Reason != identity.ReasonRevoked {
		t.Error("a revoked token is accepted:", got.Raw)
	}
	list := a.do("GET", "/api/v1/revocations", op, "").Revocations
	if len(list) != 1 || list[0].By != "olga" || list[0].Key != added.Key {
		t.Error(list)
	}
	if got := a.do("DELETE", "/api/v1/revocations/"+added.Key, op, ""); got.Status != 204 {
		t.Error(got.Raw)
	}
	a.until("/api/v1/status", victim, 200)
	a.untilRevoked(op, 0)
	if got := a.do("DELETE", "/api/v1/revocations/"+added.Key, op, ""); got.Status != 404 {
		t.Error(got.Raw)
	}
	const want = "revocation.add ok by olga; revocation.remove requested by olga; revocation.remove ok by olga"
	if got := a.actions(); got != want {
		t.Errorf("audited %q", got)
	}
}

func TestHealth(t *testing.T) {
	var broken error
	a := newAPI(t, func(c *Config) {
		c.Dependencies = append(c.Dependencies, Dependency{"policy", func(context.Context) error { return broken }})
	})
	if got := a.do("GET", "/healthz", "", ""); got.Status != 200 {
		t.Error(got.Raw)
	}
	if got := a.do("GET", "/readyz", "", ""); got.Status != 200 || !strings.Contains(got.Raw, `{"name":"state","ok":true}`) {
		t.Error(got.Raw)
	}
	broken = errors.New("bundle at /etc/secret-place does not compile")
	got := a.do("GET", "/readyz", "", "")
	if got.Status != 503 || !strings.Contains(got.Raw, `{"name":"policy","ok":false}`) || strings.Contains(got.Raw, "secret-place") {
		t.Error(got.Raw)
	}
	if got := a.do("GET", "/readyz", a.token("vera", "viewers"), ""); got.Status != 503 || !strings.Contains(got.Raw, "secret-place") {
		t.Error("a viewer is not told why:", got.Raw)
	}
	if got := a.do("GET", "/healthz", "", ""); got.Status != 200 {
		t.Error("not alive because not ready:", got.Raw)
	}
	if got := a.do("GET", "/metrics", "", ""); got.Status != 200 || !strings.Contains(got.Raw, "regate_up 1") {
		t.Error(got.Raw)
	}
}

func TestUnroutedAndHeaders(t *testing.T) {
	a := newAPI(t, nil)
	for path, want := range map[string]int{"/": 404, "/api/v1/nothing": 404, "/api/v2/status": 404, "/healthz/": 404} {
		if got := a.do("GET", path, "", ""); got.Status != want || got.Reason != ReasonNotFound {
			t.Errorf("%s: %d %s", path, got.Status, got.Raw)
		}
	}
	got := a.do("PUT", "/api/v1/status", "", "")
	if got.Status != 405 || got.Reason != ReasonMethod || !strings.Contains(got.Header.Get("Allow"), "GET") {
		t.Error(got.Status, got.Raw, got.Header)
	}
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "X-Frame-Options": "DENY"} {
		if got.Header.Get(name) != want {
			t.Errorf("%s is %q", name, got.Header.Get(name))
		}
	}
}

func TestPanic(t *testing.T) {
	a := newAPI(t, func(c *Config) { c.Status = func() any { panic("secret detail") } })
	got := a.do("GET", "/api/v1/status", a.token("root"), "")
	if got.Status != 500 || got.Reason != ReasonInternal || strings.Contains(got.Raw, "secret") {
		t.Error(got.Status, got.Raw)
	}
	if !strings.Contains(a.log.String(), "secret detail") {
		t.Error("the panic is not logged")
	}
}
