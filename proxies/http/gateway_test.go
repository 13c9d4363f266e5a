package httpproxy_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/identity/identitytest"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/labels"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/engine/state"
	httpproxy "github.com/regate-dev/regate/proxies/http"
)

const audience = "regate-test"

// gateway is a whole gateway in the test's process.
type gateway struct {
	t       testing.TB
	issuer  *identitytest.Issuer
	url     string // of the reverse proxy
	proxy   string // of the forward proxy
	ca      []byte // of the forward proxy, PEM
	desk    *approval.Desk
	revoked *identity.Revocations
	gate    *engine.Gate
	journal *record.Journal
	log     *logged
	client  *http.Client
}

// logged keeps what the gateway logs, and shows it when the test fails.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const preamble = "package regate.policies.test.http\n\nallow contains {\"id\": \"test/connect\"} if input.stage == \"session\"\n\n"

// allowAll lets everything through.
const allowAll = preamble + "allow contains {\"id\": \"test/all\"} if input.stage == \"request\"\n\n"

// start starts a gateway before upstream, whose targets and forward proxy
// change may change.
func start(t testing.TB, rego string, upstream string, change ...func(*httpproxy.Config)) *gateway {
	t.Helper()
	ctx := t.Context()
	g := &gateway{t: t, issuer: identitytest.New(t), log: &logged{}}
	logger := logrus.New()
	logger.SetOutput(g.log)
	logger.SetLevel(logrus.DebugLevel)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("gateway log:\n%s", g.log.String())
		}
	})
	st, err := state.Open(ctx, state.Options{Dir: t.TempDir()})
	must(t, err)
	t.Cleanup(func() { _ = st.Close(context.Background()) })
	kv, err := st.KV(ctx, jetstream.KeyValueConfig{Bucket: "revocations"})
	must(t, err)
	g.revoked, err = identity.OpenRevocations(ctx, kv, nil)
	must(t, err)
	t.Cleanup(g.revoked.Close)
	kv, err = st.KV(ctx, approval.Bucket(1))
	must(t, err)
	g.desk, err = approval.Open(ctx, approval.Options{KV: kv})
	must(t, err)
	t.Cleanup(g.desk.Close)
	kv, err = st.KV(ctx, labels.Bucket(1))
	must(t, err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	journalLog, err := record.OpenLog(t.TempDir(), record.LogOptions{})
	must(t, err)
	t.Cleanup(func() { _ = journalLog.Close() })
	g.journal, err = record.OpenJournal(ctx, record.JournalOptions{Log: journalLog, Gateway: "test", Key: key, MaxBytes: 1 << 30, Logger: logger})
	must(t, err)
	t.Cleanup(func() { _ = g.journal.Close(context.Background()) })
	verifier, err := identity.New(ctx, identity.Config{Issuers: []identity.Issuer{{Name: "test", URL: g.issuer.URL, Audiences: []string{audience}, InsecureHTTP: true}}})
	must(t, err)
	t.Cleanup(verifier.Close)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "policy.rego"), []byte(rego), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".manifest"), []byte(`{"revision":"1","roots":["regate/policies/test"]}`), 0o600))
	policies, err := policy.New(ctx, policy.Config{Bundles: []policy.Bundle{{Name: "test", Paths: []string{dir}}}, DetectKinds: mask.Kinds(), Logger: logger})
	must(t, err)
	t.Cleanup(func() { _ = policies.Close(context.Background()) })
	if err := policies.Ready(); err != nil {
		t.Fatalf("policy: %v\n%+v", err, policies.Status())
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	keyring, err := mask.NewKeyring(secret)
	must(t, err)
	g.gate, err = engine.New(engine.Config{
		Gateway: "test", Verifier: verifier, Revocations: g.revoked, Policy: policies, Approvals: g.desk,
		Journal: g.journal, Keyring: keyring, Labels: labels.Open(kv, nil), Logger: logger,
	})
	must(t, err)
	ca, caKey, err := httpproxy.NewAuthority("test", time.Now())
	must(t, err)
	authority, err := httpproxy.LoadAuthority(ca, caKey)
	must(t, err)
	g.ca = ca
	config := httpproxy.Config{
		Gate: g.gate, Keyring: keyring, Logger: logger,
		Targets: []httpproxy.Target{{Name: "shop", Labels: map[string]string{"env": "test"}, Upstream: upstream}},
		Forward: &httpproxy.Forward{Name: "internet", Authority: authority, Egress: httpproxy.Egress{Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Ports: []int{portOf(t, upstream)}}},
		Reads:   func(path ...string) bool { return policies.Reads(input.HTTP, path...) },
	}
	for _, c := range change {
		c(&config)
	}
	server, err := httpproxy.New(config)
	must(t, err)
	var serving sync.WaitGroup
	for _, forward := range []bool{false, true} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		if forward {
			g.proxy = "http://" + ln.Addr().String()
		} else {
			g.url = "http://" + ln.Addr().String()
		}
		serving.Go(func() { _ = server.Serve(context.Background(), httpproxy.Listener{Net: ln, Forward: forward}) })
	}
	g.client = &http.Client{Transport: &http.Transport{DisableCompression: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		g.gate.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		serving.Wait()
	})
	return g
}

func portOf(t testing.TB, upstream string) int {
	t.Helper()
	u, err := url.Parse(upstream)
	must(t, err)
	port, err := net.LookupPort("tcp", u.Port())
	must(t, err)
	return port
}

func (g *gateway) token(subject string, groups ...string) string {
	return g.issuer.Mint(g.issuer.Claims(audience, time.Now(), map[string]any{"sub": subject, "groups": groups}))
}

// answer is what came back for one request.
type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the body
}

// problem is the body of a denial.
func (a answer) problem(t testing.TB) map[string]any {
	t.Helper()
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Fatalf("%d %s: %s", a.status, got, a.body)
	}
	var p map[string]any
	must(t, json.Unmarshal([]byte(a.body), &p))
	return p
}

func (g *gateway) do(token, method, path, body string, header ...string) answer {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	must(g.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return send(g.t, g.client, req)
}

func send(t testing.TB, client *http.Client, req *http.Request) answer {
	t.Helper()
	resp, err := client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(raw), err}
}

// through is a client of the forward proxy.
func (g *gateway) through(token string) *http.Client {
	g.t.Helper()
	proxy, err := url.Parse(g.proxy)
	must(g.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(g.ca)
	transport := &http.Transport{
		Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true,
		ProxyConnectHeader: http.Header{"Proxy-Authorization": {"Bearer " + token}},
	}
	g.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// upstream is a real server whose handler says what came.
func upstream(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}
