package kubernetes_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
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
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/engine/state"
	"github.com/regate-dev/regate/proxies/kubernetes"
	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

func TestMain(m *testing.M) { kubetest.Main(m) }

const audience = "regate-test"

// gateway is a whole gateway in the test's process, in front of a real API
// server.
type gateway struct {
	t       testing.TB
	cluster *kubetest.Cluster
	issuer  *identitytest.Issuer
	url     string
	ca      string // file
	desk    *approval.Desk
	revoked *identity.Revocations
	gate    *engine.Gate
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

func start(t testing.TB, rego string, change ...func(*kubernetes.Target)) *gateway {
	t.Helper()
	return startWith(t, rego, nil, change...)
}

// startWith is start with folders of policies beside the policy.
func startWith(t testing.TB, rego string, packs []string, change ...func(*kubernetes.Target)) *gateway {
	t.Helper()
	ctx := t.Context()
	g := &gateway{t: t, cluster: kubetest.Shared(t), issuer: identitytest.New(t), log: &logged{}}
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
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	journalLog, err := record.OpenLog(t.TempDir(), record.LogOptions{})
	must(t, err)
	t.Cleanup(func() { _ = journalLog.Close() })
	journal, err := record.OpenJournal(ctx, record.JournalOptions{Log: journalLog, Gateway: "test", Key: key, MaxBytes: 1 << 30, Logger: logger})
	must(t, err)
	t.Cleanup(func() { _ = journal.Close(context.Background()) })
	verifier, err := identity.New(ctx, identity.Config{Issuers: []identity.Issuer{{Name: "test", URL: g.issuer.URL, Audiences: []string{audience}, InsecureHTTP: true}}})
	must(t, err)
	t.Cleanup(verifier.Close)
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "policy.rego"), []byte(rego), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".manifest"), []byte(`{"revision":"1","roots":["regate/policies/test"]}`), 0o600))
	policies, err := policy.New(ctx, policy.Config{Bundles: []policy.Bundle{{Name: "test", Paths: append([]string{dir}, packs...)}}, Logger: logger})
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
		Journal: journal, Keyring: keyring, Logger: logger,
	})
	must(t, err)
	target := kubernetes.Target{Name: "dev", Labels: map[string]string{"env": "test"}, Upstream: g.cluster.Config(g.cluster.Admin)}
	for _, c := range change {
		c(&target)
	}
	server, err := kubernetes.New(kubernetes.Config{
		Gate: g.gate, Keyring: keyring, Logger: logger, Targets: []kubernetes.Target{target},
		Reads: func(path ...string) bool { return policies.Reads(input.Kubernetes, path...) },
	})
	must(t, err)
	// net/http/httptest has a certificate for 127.0.0.1.
	borrowed := httptest.NewUnstartedServer(nil)
	borrowed.StartTLS()
	certificate := borrowed.TLS.Certificates[0]
	g.client = borrowed.Client()
	borrowed.Close()
	g.ca = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(g.ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}), 0o600))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g.url = "https://" + listener.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(context.Background(), kubernetes.Listener{Net: listener, TLS: &tls.Config{Certificates: []tls.Certificate{certificate}}})
	}()
	t.Cleanup(func() {
		g.client.CloseIdleConnections()
		g.gate.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		<-done
	})
	return g
}

func (g *gateway) token(subject string, groups ...string) string {
	return g.issuer.Mint(g.issuer.Claims(audience, time.Now(), map[string]any{"sub": subject, "groups": groups}))
}

func (g *gateway) kubectl(subject string, groups ...string) func(args ...string) (string, error) {
	return g.cluster.Kubectl(g.t, g.url, g.ca, g.token(subject, groups...))
}

// admin is kubectl on the API server itself.
func (g *gateway) admin(args ...string) string {
	g.t.Helper()
	out, err := g.cluster.Kubectl(g.t, g.cluster.URL, g.cluster.CAFile, g.cluster.Admin)(args...)
	if err != nil {
		g.t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return out
}

// namespace makes one that goes with the test.
func (g *gateway) namespace() string {
	g.t.Helper()
	name := strings.ToLower(strings.NewReplacer("/", "-", "_", "-").Replace(g.t.Name())) + fmt.Sprintf("-%d", time.Now().UnixNano()%1e6)
	g.admin("create", "namespace", name)
	return name
}

// answer is what came back for one request.
type answer struct {
	status int
	header http.Header
	body   string
}

func (g *gateway) do(token, method, target, body string, header ...string) answer {
	g.t.Helper()
	req, err := http.NewRequestWithContext(g.t.Context(), method, g.url+target, strings.NewReader(body))
	must(g.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	resp, err := g.client.Do(req)
	must(g.t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	must(g.t, err)
	return answer{resp.StatusCode, resp.Header, string(raw)}
}

// approve approves as an operator.
func (g *gateway) approve(id string) {
	g.t.Helper()
	_, err := g.desk.Approve(g.t.Context(), id, approval.Identity{Subject: input.Principal{ID: "olga", Issuer: g.issuer.URL, Groups: []string{"operators"}}}, "")
	must(g.t, err)
}

// rawRequest sends text as it is over HTTP/1.1 and returns what comes back.
func rawRequest(t testing.TB, g *gateway, text string) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(g.url, "https://"), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	must(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte(text))
	must(t, err)
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	out, _ := io.ReadAll(conn)
	return string(out)
}
