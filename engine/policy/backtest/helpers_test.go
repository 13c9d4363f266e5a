package backtest

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

const metadata = `# METADATA
# scope: package
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.acme.sql

`

const basePolicy = metadata + `
allow contains {"id": "acme/connect"} if input.action.verb == "connect"
allow contains {"id": "acme/read"} if input.action.verb == "select"
allow contains {"id": "acme/write"} if input.action.verb in {"insert", "update"}
deny contains {"id": "acme/payroll"} if "public.payroll" in input.resource.table_names
require_approval contains {"id": "acme/hold", "from": ["group:dba"]} if input.action.verb == "update"
mask contains {"id": "acme/email", "field": "public.users.email", "method": "redact"} if input.stage == "request"
limit contains {"id": "acme/rows", "rows": 100} if input.action.verb == "select"
`

func load(t testing.TB, rego string, o policy.SetOptions) *policy.Set {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "p.rego"), []byte(rego), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Paths = []string{dir}
	set, err := policy.LoadSet(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

var start = time.Date(2026, 10, 1, 8, 0, 0, 0, time.UTC)

// traffic makes input documents as the gateway does.
type traffic struct {
	subjects, resources, actions, details []*input.Part
	verbs                                 []string
	tables                                []string
	target, enforcer                      *input.Part
}

func newTraffic() *traffic {
	f := &traffic{
		verbs: []string{"select", "insert", "update", "delete"}, tables: []string{"public.users", "public.orders", "public.payroll"},
		target:   input.NewPart(input.Target{Name: "shop", Protocol: input.Postgres, Labels: map[string]string{}, Database: "shop"}),
		enforcer: input.NewPart(input.Enforcer{Obligations: []string{"mask", "limit", "require_approval", "record"}}),
	}
	for i := range 4 {
		f.subjects = append(f.subjects, input.NewPart(input.Principal{ID: fmt.Sprint("agent-", i), Issuer: "https://issuer", Groups: []string{}, Scopes: []string{}, Claims: map[string]any{}}))
	}
	for _, table := range f.tables {
		f.resources = append(f.resources, input.NewPart(input.SQLResource{
			Kind: "table", Names: []string{table}, TableNames: []string{table}, ColumnNames: []string{table + ".email", table + ".id"}, FunctionNames: []string{},
			SchemaNames: []string{"public"}, SettingNames: []string{},
			Tables: map[string]input.SQLTable{table: {Kind: "table", Access: []string{"read"}, Columns: []string{"email", "id"}, Written: []string{}, Via: []string{}}},
		}))
	}
	for _, verb := range f.verbs {
		f.actions = append(f.actions, input.NewPart(input.SQLAction{Verb: verb, Verbs: []string{verb}, Writes: verb != "select"}))
		f.details = append(f.details, input.NewPart(input.SQL{Text: verb + " something", SearchPath: []string{}}))
	}
	return f
}

// document is the n-th request; kind picks who does what.
func (f *traffic) document(n, kind int) *input.Document {
	verb, table, who := kind%len(f.verbs), kind/len(f.verbs)%len(f.tables), kind%len(f.subjects)
	return &input.Document{
		Protocol: input.Postgres, Stage: input.StageRequest, Time: start.Add(time.Duration(n) * time.Minute),
		Request: input.Request{ID: fmt.Sprintf("01-%07d", n), Digest: "sha256:00"},
		Subject: f.subjects[who], Asserted: input.NewPart(input.Asserted{}),
		Session: input.Session{ID: fmt.Sprint("s", n/50), StartedAt: start.Format(time.RFC3339Nano), Labels: []string{}, Usage: input.Usage{Requests: int64(n % 50)}},
		Target:  f.target, Action: f.actions[verb], Resource: f.resources[table], Detail: f.details[verb], Complete: true, Enforcer: f.enforcer,
	}
}

// kindsOfTraffic is how many different requests document makes.
const kindsOfTraffic = 12

// recorded is what a gateway would have recorded of a document.
func recorded(t testing.TB, set *policy.Set, doc *input.Document) corpus.Recorded {
	t.Helper()
	raw, err := doc.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	r := corpus.Recorded{DecisionID: doc.Request.ID, Time: doc.Time, Stage: string(doc.Stage), Input: raw, SessionID: doc.Session.ID}
	if set != nil {
		ruling, err := set.Evaluate(t.Context(), raw)
		if err != nil {
			t.Fatal(err)
		}
		r.Effect, r.Ruling, r.Bundles = ruling.Effect.String(), ruling.JSON(), ruling.Bundles
	}
	if r.Entries, err = corpus.Split(raw); err != nil {
		t.Fatal(err)
	}
	return r
}

// many makes n recorded decisions.
func many(t testing.TB, set *policy.Set, n int) []corpus.Recorded {
	t.Helper()
	f := newTraffic()
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]corpus.Recorded, n)
	for i := range out {
		out[i] = recorded(t, set, f.document(i, rng.IntN(kindsOfTraffic)))
	}
	return out
}

func replay(t testing.TB, source corpus.Source, candidate, baseline *policy.Set, o Options) *Report {
	t.Helper()
	return replayIn(t.Context(), t, source, candidate, baseline, o)
}

func replayIn(ctx context.Context, t testing.TB, source corpus.Source, candidate, baseline *policy.Set, o Options) *Report {
	t.Helper()
	r, err := Replay(ctx, source, candidate, baseline, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func asJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
