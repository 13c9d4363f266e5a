package postgres_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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
	"github.com/regate-dev/regate/engine/usage"
	"github.com/regate-dev/regate/proxies/postgres"
	"github.com/regate-dev/regate/proxies/postgres/handshake"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
	"github.com/regate-dev/regate/proxies/postgres/upstream"
)

const audience = "regate-test"

// gateway is a whole gateway in the test's process, in front of a database of
// a real PostgreSQL server.
type gateway struct {
	t       testing.TB
	db      *pgtest.Database
	issuer  *identitytest.Issuer
	address string

	revocations *identity.Revocations
	desk        *approval.Desk
	journalLog  *record.Log
	journal     *record.Journal
	policy      *policy.Engine
	gate        *engine.Gate
	usage       *usage.Ledger
	state_      *state.State
	login       string
	bundle      string // the folder of the policy in force
	log         *logged
}

// setPolicy puts another policy into force.
func (g *gateway) setPolicy(rego string) {
	g.t.Helper()
	changed := make(chan struct{}, 1)
	defer g.policy.Subscribe(func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	})()
	must(g.t, os.WriteFile(filepath.Join(g.bundle, "policy.rego"), []byte(rego), 0o600))
	must(g.t, os.WriteFile(filepath.Join(g.bundle, ".manifest"), []byte(`{"revision":"2","roots":["regate/policies/test"]}`), 0o600))
	for {
		select {
		case <-changed:
			for _, b := range g.policy.Status().Bundles {
				if b.Revision == "2" {
					return
				}
			}
		case <-time.After(20 * time.Second):
			g.t.Fatal("the policy did not change")
		}
	}
}

// logged keeps what the gateway logs, and shows it when the test fails.
type logged struct{ bytes.Buffer }

const schema = `
CREATE TABLE customers (id int PRIMARY KEY, name text, email text, ssn text, balance numeric NOT NULL DEFAULT 0, note json);
INSERT INTO customers VALUES
 (1, 'Ann', 'ann@example.com', '111-22-3333', 10, '{"phone":"+49 30 901820"}'),
 (2, 'Bob', 'bob@example.com', '222-33-4444', 20, NULL),
 (3, 'Cy', NULL, '333-44-5555', 30, NULL);
CREATE TABLE orders (id int PRIMARY KEY, customer_id int REFERENCES customers(id), total numeric, memo text);
INSERT INTO orders VALUES (10, 1, 5, 'card 4111 1111 1111 1111'), (11, 2, 7, 'plain');
CREATE VIEW contacts AS SELECT id, email AS contact FROM customers;
`

const testPolicy = `package regate.policies.test.sql

import rego.v1

allow contains {"id": "test/connect"} if input.action.verb == "connect"

allow contains {"id": "test/read"} if {
	input.action.verb in {"select", "show", "set", "begin", "commit", "rollback", "savepoint", "release", "fetch", "close", "deallocate", "discard", "listen", "unlisten", "notify", "reset", "move", "declare", "prepare", "rollback to", "start"}
}

allow contains {"id": "test/write"} if input.action.verb in {"insert", "update", "delete", "create", "merge", "alter", "truncate"}

deny contains {"id": "test/no-drop", "msg": "DROP is not allowed", "hint": "ask a DBA"} if "drop" in input.action.verbs

deny contains {"id": "test/incomplete", "msg": "what this statement does is not known"} if {
	input.stage == "request"
	not input.complete
}

deny contains {"id": "test/param", "msg": "13 is unlucky"} if {
	some p in input.parameters
	p.value == "13"
}

require_approval contains {"id": "test/approve", "msg": "updates of orders need a DBA", "from": ["group:dba"], "count": 1, "ttl": "15m", "wait": "20s"} if {
	input.action.verb == "update"
	"public.orders" in input.resource.table_names
}

require_approval contains {"id": "test/approve-later", "msg": "deletes of orders need a DBA", "from": ["group:dba"], "count": 1, "ttl": "15m", "wait": "0s"} if {
	input.action.verb == "delete"
	"public.orders" in input.resource.table_names
}

mask contains {"id": "test/email", "field": "public.customers.email", "method": "redact"} if true

mask contains {"id": "test/ssn", "field": "public.customers.ssn", "method": "null"} if true

mask contains {"id": "test/cards", "detect": "credit_card", "method": "redact"} if true

limit contains {"id": "test/rows", "rows": 5000} if input.action.verb == "select"
`

type option func(*settings)

type settings struct {
	policy     string
	schema     string
	role       postgres.Role
	front      handshake.Front
	catalogAge time.Duration
	other      *pgtest.Database // a second target
	packs      []string         // folders of policies beside it
	login      string           // as whom the gateway logs in to the target
}

func start(t testing.TB, options ...option) *gateway {
	t.Helper()
	set := settings{policy: testPolicy, schema: schema, front: handshake.Front{Plaintext: true}, login: pgtest.Superuser}
	for _, o := range options {
		o(&set)
	}
	ctx := t.Context()
	g := &gateway{t: t, login: set.login, db: pgtest.Shared(t), issuer: identitytest.New(t), log: &logged{}}
	logger := logrus.New()
	logger.SetOutput(&g.log.Buffer)
	logger.SetLevel(logrus.DebugLevel)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("gateway log:\n%s", g.log.String())
		}
	})
	must(t, g.db.Run(ctx, set.schema))
	if set.login != pgtest.Superuser {
		must(t, g.db.Run(ctx, fmt.Sprintf("CREATE ROLE %s LOGIN SUPERUSER PASSWORD '%s'", set.login, g.db.Password)))
	}

	st, err := state.Open(ctx, state.Options{Dir: t.TempDir()})
	must(t, err)
	g.state_ = st
	t.Cleanup(func() { _ = st.Close(context.Background()) })
	kv, err := st.KV(ctx, jetstream.KeyValueConfig{Bucket: "revocations"})
	must(t, err)
	g.revocations, err = identity.OpenRevocations(ctx, kv, nil)
	must(t, err)
	t.Cleanup(g.revocations.Close)
	kv, err = st.KV(ctx, approval.Bucket(1))
	must(t, err)
	g.desk, err = approval.Open(ctx, approval.Options{KV: kv})
	must(t, err)
	t.Cleanup(g.desk.Close)
	kv, err = st.KV(ctx, usage.Bucket())
	must(t, err)
	g.usage, err = usage.Open(ctx, usage.Options{KV: kv})
	must(t, err)
	t.Cleanup(func() { _ = g.usage.Close(context.Background()) })
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	g.journalLog, err = record.OpenLog(t.TempDir(), record.LogOptions{})
	must(t, err)
	t.Cleanup(func() { _ = g.journalLog.Close() })
	g.journal, err = record.OpenJournal(ctx, record.JournalOptions{Log: g.journalLog, Gateway: "test", Key: key, MaxBytes: 1 << 30, Logger: logger})
	must(t, err)
	t.Cleanup(func() { _ = g.journal.Close(context.Background()) })
	verifier, err := identity.New(ctx, identity.Config{Issuers: []identity.Issuer{{Name: "test", URL: g.issuer.URL, Audiences: []string{audience}, InsecureHTTP: true}}})
	must(t, err)
	t.Cleanup(verifier.Close)
	dir := t.TempDir()
	g.bundle = dir
	must(t, os.WriteFile(filepath.Join(dir, "policy.rego"), []byte(set.policy), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".manifest"), []byte(`{"revision":"1","roots":["regate/policies/test"]}`), 0o600))
	g.policy, err = policy.New(ctx, policy.Config{Bundles: []policy.Bundle{{Name: "test", Paths: append([]string{dir}, set.packs...)}}, Logger: logger})
	must(t, err)
	t.Cleanup(func() { _ = g.policy.Close(context.Background()) })
	if err := g.policy.Ready(); err != nil {
		t.Fatalf("policy: %v\n%+v", err, g.policy.Status())
	}
	secret := make([]byte, 32)
	_, _ = rand.Read(secret)
	keyring, err := mask.NewKeyring(secret)
	must(t, err)
	g.gate, err = engine.New(engine.Config{
		Gateway: "test", Verifier: verifier, Revocations: g.revocations, Policy: g.policy, Approvals: g.desk,
		Journal: g.journal, Keyring: keyring, Usage: g.usage, Logger: logger,
	})
	must(t, err)
	targets := []postgres.Target{target("shop", g.db, set)}
	if set.other != nil {
		other, named := target("other", set.other, set), target("other", set.other, set)
		named.ServerNames, named.Databases = []string{"other.example"}, nil
		targets = append(targets, other, named)
	}
	server, err := postgres.New(postgres.Config{
		Gate: g.gate, Keyring: keyring, Logger: logger,
		Reads:   func(path ...string) bool { return g.policy.Reads(input.Postgres, path...) },
		Targets: targets,
	})
	must(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	g.address = listener.Addr().String()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(ctx, postgres.Listener{Net: listener, Front: &set.front})
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		g.gate.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		server.Shutdown(ctx)
		<-done
	})
	return g
}

// target is a database behind the gateway, by a name of its own.
func target(name string, db *pgtest.Database, set settings) postgres.Target {
	return postgres.Target{
		Name: name, Labels: map[string]string{"env": "test"}, Databases: []string{name}, Role: set.role, CatalogAge: set.catalogAge,
		Upstream: upstream.Target{
			Address: fmt.Sprintf("%s:%d", db.Host, db.Port), Database: db.Name, User: set.login,
			Password: func() (string, error) { return db.Password, nil },
		},
	}
}

func (g *gateway) token(subject string, groups ...string) string {
	return g.issuer.Mint(g.issuer.Claims(audience, time.Now(), map[string]any{"sub": subject, "groups": groups}))
}

func (g *gateway) config(token string) *pgx.ConnConfig {
	g.t.Helper()
	host, port, _ := net.SplitHostPort(g.address)
	c, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%s user=agent dbname=shop sslmode=disable", host, port))
	must(g.t, err)
	c.Password = token
	return c
}

func (g *gateway) connect(subject string, groups ...string) *pgx.Conn {
	g.t.Helper()
	return g.connectWith(g.config(g.token(subject, groups...)))
}

func (g *gateway) connectWith(c *pgx.ConnConfig) *pgx.Conn {
	g.t.Helper()
	conn, err := pgx.ConnectConfig(g.t.Context(), c)
	must(g.t, err)
	g.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// query runs sql in the simple protocol and returns every row as text, NULL as
// "<null>".
func query(t testing.TB, conn *pgx.Conn, sql string) ([][]string, error) {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	var out [][]string
	for _, r := range results {
		for _, row := range r.Rows {
			var line []string
			for _, v := range row {
				if v == nil {
					line = append(line, "<null>")
				} else {
					line = append(line, string(v))
				}
			}
			out = append(out, line)
		}
	}
	return out, err
}

func sqlState(err error) string {
	if e, ok := err.(*pgconn.PgError); ok {
		return e.Code
	}
	return fmt.Sprint(err)
}
