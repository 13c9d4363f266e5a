package policy

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

const repo = "../.."

// packPaths are the library, every ready pack for PostgreSQL alone, and more
// folders of the repository. Their decisions can be cached.
func packPaths(t testing.TB, more ...string) []string {
	t.Helper()
	packs, err := filepath.Glob(repo + "/policies/postgres/*")
	if err != nil || len(packs) == 0 {
		t.Fatal("no packs", err)
	}
	paths := append([]string{repo + "/policies/lib"}, packs...)
	for _, m := range more {
		paths = append(paths, filepath.Join(repo, m))
	}
	return paths
}

// everyPack are packPaths with the packs for every protocol.
func everyPack(t testing.TB, more ...string) []string {
	t.Helper()
	packs, err := filepath.Glob(repo + "/policies/*/*/policy.rego")
	if err != nil || len(packs) < 20 {
		t.Fatal("no packs", err)
	}
	paths := []string{repo + "/policies/lib"}
	for _, p := range packs {
		paths = append(paths, filepath.Dir(p))
	}
	for _, m := range more {
		paths = append(paths, filepath.Join(repo, m))
	}
	return paths
}

// newEngine starts an engine that must become ready.
func newEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	e := startEngine(t, cfg)
	if err := e.Ready(); err != nil {
		t.Fatal(err)
	}
	return e
}

func startEngine(t testing.TB, cfg Config) *Engine {
	t.Helper()
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second // the machine may be busy; the default is tested on its own
	}
	e, err := New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return e
}

// folder writes files ("path": text) into a new folder. A .manifest that owns
// everything below regate and lib is added when there is none.
func folder(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	writeFolder(t, dir, files)
	return dir
}

func writeFolder(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	if _, ok := files[".manifest"]; !ok {
		if _, err := os.Stat(filepath.Join(dir, ".manifest")); err != nil {
			files[".manifest"] = `{"revision":"r1","roots":["regate","lib"]}`
		}
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// policyEngine starts an engine with one package regate.policies.t.p whose body
// is given.
func policyEngine(t testing.TB, body string, change ...func(*Config)) *Engine {
	t.Helper()
	cfg := Config{Bundles: []Bundle{{Name: "t", URL: folder(t, map[string]string{"p.rego": module("t.p", body)})}}}
	for _, c := range change {
		c(&cfg)
	}
	return newEngine(t, cfg)
}

func module(name, body string) string {
	return "# METADATA\n# scope: package\n# schemas:\n#   - input: schema.postgres\npackage regate.policies." + name + "\n\n" + body + "\n"
}

var everything = []string{"mask", "limit", "require_approval", "record", "record/sealed"}

// selectDoc is a document of an analyst's SELECT on public.customers, as the
// PostgreSQL proxy makes it.
func selectDoc() *input.Document {
	yes := true
	return &input.Document{
		Protocol: input.Postgres, Stage: input.StageRequest, Time: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		Request: input.Request{ID: "01J", Digest: "sha256:11"},
		Subject: input.NewPart(input.Principal{
			ID: "alice", Issuer: "https://issuer.example", ClientID: "agent", Groups: []string{"analysts", "staff"}, Scopes: []string{"sql"},
			Claims: map[string]any{
				"sub": "alice", "iss": "https://issuer.example", "aud": []any{"regate"}, "iat": 1763888400.0, "exp": 1763892000.0, "jti": "t-1",
				"azp": "agent", "email": "alice@acme.example", "email_verified": true, "groups": []any{"analysts", "staff"}, "scope": "sql",
				"nested": map[string]any{"tenant": "acme", "tier": 3.0},
			},
			ExpiresAt: "2026-11-23T10:00:00Z",
		}),
		Actor:    input.NewPart(input.Principal{ID: "agent-7", Issuer: "https://issuer.example", ClientID: "agent", Groups: []string{"agents"}, Scopes: []string{}, Claims: map[string]any{}, ExpiresAt: "2026-11-23T10:00:00Z"}),
		Asserted: input.NewPart(input.Asserted{Purpose: "report", Ticket: "T-1"}),
		Session: input.Session{
			ID: "s-1", StartedAt: "2026-11-23T08:59:00Z", Client: input.Client{Address: "10.0.0.7:41234", Application: "psql", TLS: true},
			Labels: []string{}, Usage: input.Usage{Requests: 3, Rows: 40, Bytes: 5_000},
		},
		Target: input.NewPart(input.Target{Name: "shop", Protocol: input.Postgres, Labels: map[string]string{"env": "prod", "team": "shop"}, Database: "shop", Role: "regate", Version: "17.2"}),
		Action: input.NewPart(input.SQLAction{Verb: "select", Verbs: []string{"select"}, HasWhere: &yes}),
		Resource: input.NewPart(input.SQLResource{
			Kind: "table", Names: []string{"public.customers", "public.orders"},
			Tables: map[string]input.SQLTable{
				"public.customers": {Kind: "table", Access: []string{"read"}, Columns: []string{"card", "email", "id", "name"}, Written: []string{}, Via: []string{}},
				"public.orders":    {Kind: "table", Access: []string{"read"}, Columns: []string{"customer_id", "total"}, Written: []string{}, Via: []string{}},
			},
			TableNames:    []string{"public.customers", "public.orders"},
			ColumnNames:   []string{"public.customers.card", "public.customers.email", "public.customers.id", "public.customers.name", "public.orders.customer_id", "public.orders.total"},
			FunctionNames: []string{"pg_catalog.count"}, SchemaNames: []string{"pg_catalog", "public"}, SettingNames: []string{},
		}),
		Complete: true,
		Enforcer: input.NewPart(input.Enforcer{Obligations: everything}),
		Detail: input.NewPart(input.SQL{
			Text: "select name, email, card, count(*) from customers join orders on customers.id = customer_id where total > $1", Command: "select", Fingerprint: "a0b1c2",
			Batch: input.SQLBatch{Size: 1}, Mode: "extended", SearchPath: []string{"public"},
			Statement: input.SQLStatement{PredicateColumns: []string{"public.customers.id", "public.orders.customer_id", "public.orders.total"}, WrittenColumns: []string{}, Flows: []input.SQLFlow{}, Objects: []string{}},
		}),
		Parameters: input.NewPart([]input.Parameter{{Index: 1, Type: "int8", Value: ptr("100"), Encoding: "text"}}),
	}
}

func ptr[T any](v T) *T { return &v }

// with returns a copy of the document, changed.
func with(d *input.Document, change func(*input.Document)) *input.Document {
	out := *d
	change(&out)
	return &out
}

func reasonIDs(r *Ruling) string {
	ids := make([]string, len(r.Reasons))
	for i, reason := range r.Reasons {
		ids[i] = reason.ID
	}
	return strings.Join(ids, " ")
}

func show(r *Ruling) string {
	raw, err := json.MarshalIndent(json.RawMessage(r.JSON()), "", "  ")
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(raw)
}

// expect fails unless the ruling has this effect and these reasons.
func expect(t *testing.T, r *Ruling, effect Effect, reasons string) {
	t.Helper()
	if r.Effect != effect || reasonIDs(r) != reasons {
		t.Fatalf("got %s because of %q, want %s because of %q\n%s", r.Effect, reasonIDs(r), effect, reasons, show(r))
	}
}
