package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/identity/identitytest"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// running is a gateway in this process, in front of a real PostgreSQL.
type running struct {
	*gateway
	signals chan os.Signal
	done    chan error
	dsn     string
}

func startGateway(t *testing.T, cluster *pgtest.Cluster, drainTimeout string) *running {
	t.Helper()
	issuer := identitytest.New(t)
	login, err := pgx.ParseConfig(cluster.DSN("postgres", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bundle := filepath.Join(dir, "policies")
	if err := os.Mkdir(bundle, 0o700); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		filepath.Join(bundle, "p.rego"): `# METADATA
# scope: package
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.acme.sql

allow contains {"id": "acme.sql/all"} if true
`,
		filepath.Join(dir, "regate.yaml"): fmt.Sprintf(`
drain_timeout: %s
state: {dir: state}
record: {gateway: gw-test}
admin: {address: "127.0.0.1:0"}
identity: {issuers: [{name: test, url: %q, audiences: [regate], insecure_http: true}]}
policy: {bundles: [{name: main, paths: [policies]}], timeout: 10s}
postgres: {listeners: [{address: "127.0.0.1:0"}]}
targets: [{name: shop, address: "%s:%d", database: postgres, user: %q, password: env:PW, tls: {mode: disable}, match: {databases: [shop]}}]
`, drainTimeout, issuer.URL, login.Host, login.Port, login.User),
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, problems := config.Load(config.Options{File: filepath.Join(dir, "regate.yaml"), Env: []string{"PW=" + login.Password}})
	if config.HasErrors(problems) {
		t.Fatal(problems)
	}
	g, err := openGateway(t.Context(), cfg, newLogger(cfg.Log, t.Output()), false)
	if err != nil {
		t.Fatal(err)
	}
	r := &running{gateway: g, signals: make(chan os.Signal, 2), done: make(chan error, 1)}
	go func() { r.done <- g.run(t.Context(), r.signals) }()
	token := issuer.Mint(issuer.Claims("regate", time.Now(), nil))
	r.dsn = fmt.Sprintf("postgres://agent:%s@%s/shop?sslmode=disable", token, g.postgresListeners[0].Net.Addr())
	for status := 0; status != http.StatusOK; time.Sleep(5 * time.Millisecond) {
		status = r.ready(t)
	}
	return r
}

func (r *running) ready(t *testing.T) int {
	t.Helper()
	status, _, err := call("", "GET", "http://"+r.adminListener.Addr().String()+"/readyz", "")
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func (r *running) connect(t *testing.T) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), r.dsn)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// drainingNow sends the first signal and waits until it is in effect.
func (r *running) drainingNow(t *testing.T) {
	t.Helper()
	r.signals <- syscall.SIGTERM
	for r.ready(t) != http.StatusServiceUnavailable {
		time.Sleep(time.Millisecond)
	}
	for { // the listener closes a moment later
		conn, err := pgx.Connect(t.Context(), r.dsn)
		if err != nil {
			return
		}
		conn.Close(t.Context())
	}
}

func (r *running) stopped(t *testing.T) {
	t.Helper()
	if err := <-r.done; err != nil {
		t.Errorf("run: %v", err)
	}
}

// sleep runs a statement that would take ten minutes, and returns when the
// server runs it.
func sleep(t *testing.T, cluster *pgtest.Cluster, conn *pgx.Conn) <-chan error {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(t.Context(), "SELECT pg_sleep(600)")
		ended <- err
	}()
	for sleeping(t, cluster) == 0 {
		time.Sleep(5 * time.Millisecond)
	}
	return ended
}

// sleeping counts the statements that sleep on the server.
func sleeping(t *testing.T, cluster *pgtest.Cluster) (n int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), cluster.DSN("postgres", pgtest.Superuser))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestDrain(t *testing.T) {
	cluster, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})

	t.Run("sessions that end by themselves are waited for", func(t *testing.T) {
		r := startGateway(t, cluster, "1h")
		conn := r.connect(t)
		r.drainingNow(t)
		var n int
		if err := conn.QueryRow(t.Context(), "SELECT 42").Scan(&n); err != nil || n != 42 {
			t.Errorf("a session that was there cannot go on: %d, %v", n, err)
		}
		if err := conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		r.stopped(t)
	})

	t.Run("idle ones are told and ended after the timeout", func(t *testing.T) {
		r := startGateway(t, cluster, "100ms")
		conn := r.connect(t)
		r.signals <- syscall.SIGTERM
		r.stopped(t)
		_, err := conn.Exec(t.Context(), "SELECT 1")
		endedByGateway(t, err)
	})

	t.Run("a second signal cuts what runs", func(t *testing.T) {
		r := startGateway(t, cluster, "1h")
		ended := sleep(t, cluster, r.connect(t))
		r.drainingNow(t)
		r.signals <- syscall.SIGTERM
		r.stopped(t)
		if err := <-ended; err == nil {
			t.Error("the statement succeeded")
		}
		for sleeping(t, cluster) != 0 { // the server is told, and ends it a moment later
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// endedByGateway: the agent is told why, in PostgreSQL's own words.
func endedByGateway(t *testing.T, err error) {
	t.Helper()
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		t.Errorf("the agent was not told why: %v", err)
		return
	}
	if !strings.HasPrefix(pg.Code, "57") || !strings.Contains(pg.Message+pg.Detail, "shutting down") {
		t.Errorf("the agent was told %s %s (%s)", pg.Code, pg.Message, pg.Detail)
	}
}
