package policy

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// Every way in which a policy can read what changes from one request to the
// next. The first document gives one decision, the changed one another: a stale
// answer is a wrong one.
func TestNothingIsServedStale(t *testing.T) {
	later := func(d *input.Document) { d.Time = d.Time.Add(time.Hour) }
	used := func(d *input.Document) { d.Session.Usage.Rows = 1_000 }
	spent := func(d *input.Document) {
		d.Usage = &input.Spent{Subject: input.SpentBy{Day: input.SpentCounts{Rows: 1_000}}}
	}
	approve := func(d *input.Document) {
		d.Approvals = []input.Approval{{ID: "a", By: input.Approver{ID: "bob", Groups: []string{"dba"}}, At: "2026-11-23T08:59:30Z", ExpiresAt: "2026-11-23T09:30:00Z"}}
	}
	hour := `time.parse_rfc3339_ns(input.time) >= time.parse_rfc3339_ns("2026-11-23T10:00:00Z")`
	for _, c := range []struct {
		name, body string
		change     func(*input.Document)
		cacheable  bool
	}{
		{"input.time", `deny contains {"id": "x"} if ` + hour, later, false},
		{"input.time through a helper", "deny contains {\"id\": \"x\"} if late\nlate if " + hour, later, false},
		{"input.time through a function", "deny contains {\"id\": \"x\"} if late(1)\nlate(n) if {\n\tn == 1\n\t" + hour + "\n}", later, false},
		{"input.time through an alias", `deny contains {"id": "x"} if { t := input.time; t > "2026-11-23T09:30:00Z" }`, later, false},
		{"input.time through the whole input", `deny contains {"id": "x"} if { d := input; d.time > "2026-11-23T09:30:00Z" }`, later, false},
		{"input.time by a computed key", `deny contains {"id": "x"} if { some k in ["time"]; input[k] > "2026-11-23T09:30:00Z" }`, later, false},
		{"input.time by walking", `deny contains {"id": "x"} if { walk(input, [["time"], v]); v > "2026-11-23T09:30:00Z" }`, later, false},
		{"input.time as an argument", "deny contains {\"id\": \"x\"} if f(input)\nf(d) if d.time > \"2026-11-23T09:30:00Z\"", later, false},
		{"input.time in a comprehension", `deny contains {"id": "x"} if count([1 | input.time > "2026-11-23T09:30:00Z"]) > 0`, later, false},
		{"input.time in an else", "deny contains {\"id\": \"x\"} if v == 2\nv := 1 if input.action.opaque\nelse := 2 if input.time > \"2026-11-23T09:30:00Z\"", later, false},
		{"input.time in a default function", "deny contains {\"id\": \"x\"} if not early\ndefault early := false\nearly if input.time < \"2026-11-23T09:30:00Z\"", later, false},
		{"input.time in a template string", `deny contains {"id": "x"} if contains($"t={input.time}", "T10:")`, later, false},
		{"input.time with every", `deny contains {"id": "x"} if { every t in [input.time] { t > "2026-11-23T09:30:00Z" } }`, later, false},
		{"input.time in the head", `deny contains {"id": sprintf("x%s", [input.time])} if input.time > "2026-11-23T09:30:00Z"`, later, false},
		{"input.time through an import", "import input.time as now\ndeny contains {\"id\": \"x\"} if now > \"2026-11-23T09:30:00Z\"", later, false},
		{"input.time through a library", "import data.lib.clock\ndeny contains {\"id\": \"x\"} if clock.late", later, false},
		{"input.time through a library by a computed name", `deny contains {"id": "x"} if { some k in ["late"]; data.lib.clock[k] }`, later, false},
		{"input.time through all of a library", `deny contains {"id": "x"} if { c := data.lib.clock; c.late }`, later, false},
		{"input.time through a replaced function", "import data.lib.clock\ndeny contains {\"id\": \"x\"} if clock.never(1) with clock.never as clock.late_at", later, false},
		{"input.time through a replaced built-in", "import data.lib.clock\ndeny contains {\"id\": \"x\"} if is_number(1) with is_number as clock.late_at", later, false},
		{"input.time through a replaced input", `deny contains {"id": "x"} if input.subject.id > "2026-11-23T09:30:00Z" with input.subject.id as input.time`, later, false},
		{"input.time through replaced data", "deny contains {\"id\": \"x\"} if data.none.at > \"2026-11-23T09:30:00Z\" with data.none.at as input.time", later, false},
		{"the clock", `deny contains {"id": "x"} if time.now_ns() >= time.parse_rfc3339_ns("2026-11-23T10:00:00Z")`, later, false},
		{"the clock through a helper", "deny contains {\"id\": \"x\"} if late\nlate if time.now_ns() >= time.parse_rfc3339_ns(\"2026-11-23T10:00:00Z\")", later, false},
		{"usage", `deny contains {"id": "x"} if input.session.usage.rows > 100`, used, false},
		{"usage through the session", `deny contains {"id": "x"} if { s := input.session; s.usage.rows > 100 }`, used, false},
		{"usage by a computed key", `deny contains {"id": "x"} if { some k in ["usage"]; input.session[k].rows > 100 }`, used, false},
		{"usage across sessions", `deny contains {"id": "x"} if input.usage.subject.day.rows > 100`, spent, false},
		{"usage across sessions that is known", `deny contains {"id": "x"} if is_object(input.usage)`, spent, false},
		{"usage across sessions by a computed key", `deny contains {"id": "x"} if { some k in ["usage"]; input[k].subject.day.rows > 100 }`, spent, false},
		{"usage across sessions through a helper", "deny contains {\"id\": \"x\"} if over(100)\nover(n) if input.usage.subject.day.rows > n", spent, false},
		{"usage across sessions in every", `deny contains {"id": "x"} if { every _, c in input.usage.subject { c.rows > -1 }; input.usage.subject.day.rows > 0 }`, spent, false},
		{"request id", `deny contains {"id": "x"} if input.request.id == "02J"`, func(d *input.Document) { d.Request.ID = "02J" }, false},
		{"request digest", `deny contains {"id": "x"} if input.request.digest == "sha256:22"`, func(d *input.Document) { d.Request.Digest = "sha256:22" }, true},
		{"approvals", `deny contains {"id": "x"} if count(input.approvals) > 0`, approve, true},
		{"approvals of a requirement", `require_approval contains {"id": "x", "from": ["group:dba"]} if true`, approve, true},
		{"subject", `deny contains {"id": "x"} if input.subject.id == "eve"`, func(d *input.Document) { d.Subject = input.NewPart(input.Principal{ID: "eve"}) }, true},
		{"actor", `deny contains {"id": "x"} if is_null(input.actor)`, func(d *input.Document) { d.Actor = nil }, true},
		{"asserted", `deny contains {"id": "x"} if input.asserted.purpose == "leak"`, func(d *input.Document) { d.Asserted = input.NewPart(input.Asserted{Purpose: "leak"}) }, true},
		{"target label", `deny contains {"id": "x"} if input.target.labels.env == "dev"`, func(d *input.Document) {
			d.Target = input.NewPart(input.Target{Name: "shop", Labels: map[string]string{"env": "dev"}})
		}, true},
		{"action", `deny contains {"id": "x"} if input.action.verb == "drop"`, sqlAction(input.SQLAction{Verb: "drop"}), true},
		{"resource", `deny contains {"id": "x"} if "public.secrets" in input.resource.table_names`, func(d *input.Document) {
			d.Resource = input.NewPart(input.SQLResource{TableNames: []string{"public.secrets"}})
		}, true},
		{"statement", `deny contains {"id": "x"} if contains(input.sql.text, "evil")`, func(d *input.Document) { d.Detail = input.NewPart(input.SQL{Text: "evil"}) }, true},
		{"parameters", `deny contains {"id": "x"} if input.parameters[0].value == "7"`, func(d *input.Document) {
			d.Parameters = input.NewPart([]input.Parameter{{Index: 1, Value: ptr("7")}})
		}, true},
		{"response", `deny contains {"id": "x"} if "a" in input.response.field_names`, func(d *input.Document) {
			d.Response = input.NewPart(input.Response{FieldNames: []string{"a"}})
		}, true},
		{"complete", `deny contains {"id": "x"} if input.complete == false`, func(d *input.Document) { d.Complete = false }, true},
		{"unknown", `deny contains {"id": "x"} if count(input.unknown) > 0`, func(d *input.Document) {
			d.Unknown = input.NewPart([]input.Unknown{{What: "x"}})
		}, true},
		{"stage", `deny contains {"id": "x"} if input.stage == "response"`, func(d *input.Document) { d.Stage = input.StageResponse }, true},
		{"session id", `deny contains {"id": "x"} if input.session.id == "s-2"`, func(d *input.Document) { d.Session.ID = "s-2" }, true},
		{"session start", `deny contains {"id": "x"} if input.session.started_at > "2026-11-23T09"`, func(d *input.Document) { d.Session.StartedAt = "2026-11-23T09:30:00Z" }, true},
		{"client", `deny contains {"id": "x"} if not input.session.client.tls`, func(d *input.Document) { d.Session.Client.TLS = false }, true},
		{"labels", `deny contains {"id": "x"} if "red" in input.session.labels`, func(d *input.Document) { d.Session.Labels = []string{"red"} }, true},
		{"enforcer, read by the engine", `mask contains {"id": "x", "field": "a.b.c", "method": "null"} if true`, func(d *input.Document) {
			d.Enforcer = input.NewPart(input.Enforcer{})
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: folder(t, map[string]string{
				"p.rego":     module("t.p", c.body+"\nallow contains {\"id\": \"all\"} if true"),
				"clock.rego": "package lib.clock\n\nlate if " + hour + "\n\nlate_at(_) if " + hour + "\n\nnever(_) if false\n",
			})}}})
			doc := selectDoc()
			if got := e.Status().Packages[0].Cacheable; got != c.cacheable {
				t.Fatalf("cacheable %v, want %v; reads %v", got, c.cacheable, e.Status().Packages[0].Reads)
			}
			first := e.Evaluate(t.Context(), doc)
			changed := e.Evaluate(t.Context(), with(doc, c.change))
			if changed.Effect == first.Effect || changed.Effect != Deny && c.name != "approvals of a requirement" {
				t.Fatalf("stale: first %s, then %s\n%s", first.Effect, changed.Effect, show(changed))
			}
			for range 2 {
				if again := e.Evaluate(t.Context(), doc); again.Effect != first.Effect {
					t.Fatalf("then %s, first %s", again.Effect, first.Effect)
				} else if c.cacheable != (again == first) {
					t.Fatalf("served from the cache: %v, cacheable: %v", again == first, c.cacheable)
				}
			}
		})
	}
}

// A decision of one bundle never outlives it.
func TestActivationEmptiesTheCache(t *testing.T) {
	dir := folder(t, map[string]string{"p.rego": module("t.p", allowAll)})
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	expect(t, e.Evaluate(t.Context(), selectDoc()), Allow, "t.p/all")
	writeFolder(t, dir, map[string]string{"p.rego": module("t.p", `deny contains {"id": "t.p/no"} if true`)})
	refresh(t, e)
	expect(t, e.Evaluate(t.Context(), selectDoc()), Deny, "t.p/no")
}

// Statements that differ only in what no policy reads share a decision, and
// those that differ in what one reads do not.
func TestCacheKeyIsWhatIsReadOfTheStatement(t *testing.T) {
	e := policyEngine(t, `allow contains {"id": "t.p/plain"} if input.sql.statement.copy_to == ""`)
	ask := func(change func(*input.SQL)) *Ruling {
		doc := *selectDoc()
		sql := doc.Detail.Value().(input.SQL)
		change(&sql)
		doc.Detail = input.NewPart(sql)
		return e.Evaluate(t.Context(), &doc)
	}
	first := ask(func(s *input.SQL) { s.Text = "SELECT 1" })
	expect(t, first, Allow, "t.p/plain")
	if ask(func(s *input.SQL) { s.Text, s.Fingerprint = "SELECT 2", "x" }) != first {
		t.Error("another text was evaluated anew")
	}
	expect(t, ask(func(s *input.SQL) { s.Statement.CopyTo = "stdout" }), Deny, ReasonNoAllow)
}

func TestCacheIsBounded(t *testing.T) {
	c := newCache(CacheConfig{Entries: 64, Bytes: 1 << 20})
	for i := range 10_000 {
		key := []byte(fmt.Sprint("key", i))
		r := &Ruling{}
		if c.put(key, r) != r || c.get(key) != r {
			t.Fatal("not kept")
		}
	}
	if n, b := c.size(); n > 64 || b > 1<<20 || n < 32 {
		t.Errorf("%d entries, %d bytes", n, b)
	}
	c = newCache(CacheConfig{Entries: 1 << 20, Bytes: 64 << 10})
	for i := range 10_000 {
		c.put([]byte(fmt.Sprint("key", i)), &Ruling{})
	}
	if n, b := c.size(); b > 64<<10 || n == 0 {
		t.Errorf("%d entries, %d bytes", n, b)
	}
	big := &Ruling{Reasons: []Reason{{Msg: strings.Repeat("x", 1<<20)}}}
	if c.put([]byte("big"), big) != big || c.get([]byte("big")) != nil {
		t.Error("kept what is larger than the cache")
	}
}

// What is used stays, what is not goes.
func TestCacheKeepsWhatIsUsed(t *testing.T) {
	c := newCache(CacheConfig{Entries: 160})
	hot := []byte("hot")
	want := c.put(hot, &Ruling{})
	for i := range 5_000 {
		c.put([]byte(fmt.Sprint("cold", i)), &Ruling{})
		if c.get(hot) != want {
			t.Fatalf("lost after %d", i)
		}
	}
}

func TestCachedDecisionsDoNotAllocate(t *testing.T) {
	e := newEngine(t, demoConfig(t))
	doc := selectDoc()
	want := e.Evaluate(t.Context(), doc)
	if n := testing.AllocsPerRun(100, func() {
		if e.Evaluate(t.Context(), doc) != want {
			t.Fatal("not cached")
		}
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// The target of an uncached decision on the reference input with ten rules, the
// making of the input included.
func TestUncachedDecisionsAllocateLittle(t *testing.T) {
	e := policyEngine(t, rules(290), func(c *Config) { c.Cache.Disabled = true })
	doc := selectDoc()
	e.Evaluate(t.Context(), doc)
	if n := testing.AllocsPerRun(50, func() { e.Evaluate(t.Context(), freshParts(doc)) }); n > 400 {
		t.Errorf("%v allocations, more than 400", n)
	}
}

// randomDoc makes documents from small vocabularies, so that the same question
// comes up again in other words.
func randomDoc(r *rand.Rand) *input.Document {
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	some := func(from ...string) []string {
		out := []string{}
		for _, s := range from {
			if r.IntN(3) == 0 {
				out = append(out, s)
			}
		}
		return out
	}
	maybe := func() *bool {
		if r.IntN(3) == 0 {
			return nil
		}
		return ptr(r.IntN(2) == 0)
	}
	verb := pick("select", "select", "select", "select", "insert", "update", "delete", "drop", "alter", "unknown")
	writes := verb != "select"
	d := selectDoc()
	d.Time = d.Time.Add(time.Duration(r.IntN(1000)) * time.Millisecond)
	d.Request = input.Request{ID: fmt.Sprint(r.IntN(1_000_000)), Digest: pick("sha256:11", "sha256:22")}
	d.Subject = input.NewPart(input.Principal{ID: pick("alice", "bob"), Groups: some("analysts", "staff", "dba", "writers"), Claims: map[string]any{"n": r.IntN(2)}})
	if r.IntN(2) == 0 {
		d.Actor = nil
	}
	d.Session.Usage.Requests = r.Int64N(1e6)
	d.Target = input.NewPart(input.Target{Name: pick("shop", "crm"), Protocol: input.Postgres, Labels: map[string]string{"env": pick("prod", "dev"), "team": pick("a", "b", "team-3")}})
	d.Action = input.NewPart(input.SQLAction{
		Verb: verb, Verbs: append([]string{verb}, some("select")...), Writes: writes, DDL: verb == "drop" || verb == "alter",
		HasWhere: maybe(), WhereConstant: maybe(), Opaque: r.IntN(10) == 0, Locks: r.IntN(10) == 0,
	})
	tables := map[string]input.SQLTable{}
	names := some("public.customers", "public.orders")
	for _, n := range names {
		tables[n] = input.SQLTable{Kind: pick("table", "view", "temporary"), Access: some("read", "update"), Columns: []string{}, Written: []string{}, Via: []string{}}
	}
	d.Resource = input.NewPart(input.SQLResource{Kind: "table", Names: names, Tables: tables, TableNames: names, ColumnNames: []string{}, FunctionNames: []string{}, SchemaNames: []string{"public"}, SettingNames: []string{}})
	d.Complete = r.IntN(8) > 0
	if !d.Complete {
		d.Unknown = input.NewPart([]input.Unknown{{What: pick("relation:x", "function:f"), Why: "not in catalogue"}})
	}
	d.Detail = input.NewPart(input.SQL{Text: pick("one", "two"), SearchPath: []string{}, Statement: input.SQLStatement{
		PredicateColumns: some(pick("public.customers.id", "public.customers.id", "public.customers.email")), WrittenColumns: []string{}, Flows: []input.SQLFlow{}, Objects: []string{},
	}})
	d.Stage = []input.Stage{input.StageRequest, input.StageRequest, input.StageRequest, input.StageSession, input.StageResponse}[r.IntN(5)]
	if r.IntN(6) == 0 {
		d.Approvals = []input.Approval{{ID: "a", By: input.Approver{ID: pick("bob", "carol"), Groups: some("dba")}, At: "2026-11-23T08:59:30Z", ExpiresAt: "2026-11-23T09:30:00Z"}}
	}
	if r.IntN(10) == 0 {
		d.Enforcer = input.NewPart(input.Enforcer{Obligations: some(everything...)})
	}
	return d
}

// The cache, the rule index, early exit and the pruned input are shortcuts: with
// each of them off, every decision of a large corpus is the same.
func TestShortcutsChangeNothing(t *testing.T) {
	site := folder(t, map[string]string{
		".manifest": `{"roots":["regate/settings","regate/policies/more"]}`,
		"data.json": `{"regate":{"settings":{
			"sql_read_only":{"readers":["analysts","staff"],"writers":["writers","dba"]},
			"sql_pii_masks":{"fields":{"public.customers.email":{"method":"partial"}},"exempt":["dba"]},
			"sql_masked_predicates":{"columns":["public.customers.email"],"exempt":["dba"]},
			"sql_row_limits":{"rows_by_group":{"staff":{"rows":5},"dba":{"rows":0}}}}}}`,
		"p.rego": module("more.teams", strings.ReplaceAll(rules(40), "t.p/", "more.teams/")),
	})
	config := func() Config {
		cfg := Config{Bundles: []Bundle{{Name: "all", Paths: append(packPaths(t), site)}}}
		cfg.Cache.Entries = 256 // evictions too
		return cfg
	}
	reference := config()
	reference.Cache.Disabled = true
	plain := newEngine(t, reference)
	plain.noIndexing, plain.noEarlyExit, plain.wholeInput = true, true, true
	engines := map[string]*Engine{"cache": newEngine(t, config())}
	for name, set := range map[string]func(*Engine){
		"index":        func(e *Engine) { e.noEarlyExit, e.wholeInput = true, true },
		"early exit":   func(e *Engine) { e.noIndexing, e.wholeInput = true, true },
		"pruned input": func(e *Engine) { e.noIndexing, e.noEarlyExit = true, true },
	} {
		e := newEngine(t, reference)
		set(e)
		engines[name] = e
	}
	distinct, n := 500, 3_000
	if testing.Short() {
		distinct, n = 100, 500
	}
	r := rand.New(rand.NewPCG(7, 7))
	docs := make([]*input.Document, distinct)
	answers := make([]*Ruling, distinct)
	effects := map[Effect]int{}
	compare := func(name string, doc *input.Document, got, want *Ruling) {
		t.Helper()
		if !bytes.Equal(got.JSON(), want.JSON()) {
			raw, _ := doc.MarshalJSON()
			t.Fatalf("with %s\n%s\nwithout\n%s\n%s", name, show(got), show(want), raw)
		}
	}
	for i := range docs {
		docs[i] = randomDoc(r)
		answers[i] = plain.Evaluate(t.Context(), docs[i])
		if len(answers[i].Errors) > 0 {
			t.Fatal(answers[i].Errors)
		}
		effects[answers[i].Effect]++
		for name, e := range engines {
			compare(name, docs[i], e.Evaluate(t.Context(), docs[i]), answers[i])
		}
	}
	// The same questions again, by others and later.
	for range n {
		i := r.IntN(distinct)
		again := with(freshParts(docs[i]), func(d *input.Document) {
			d.Time = d.Time.Add(time.Duration(r.IntN(1_000)) * time.Millisecond)
			d.Request.ID, d.Session.ID = fmt.Sprint(r.IntN(1_000_000)), fmt.Sprint(r.IntN(1_000_000))
			d.Session.Usage.Requests++
		})
		compare("cache", again, engines["cache"].Evaluate(t.Context(), again), answers[i])
	}
	t.Logf("effects %v; cache %+v", effects, engines["cache"].Counters())
	if c := engines["cache"].Counters(); c.CacheHits < uint64(n/4) || effects[Allow] < distinct/20 || effects[RequireApproval] < distinct/100 {
		t.Errorf("the corpus does not exercise: effects %v, counters %+v", effects, c)
	}
}

// Requests and activations at once: every answer is that of one bundle or the
// other, never a mixture.
func TestActivationUnderLoad(t *testing.T) {
	dir := t.TempDir()
	version := func(id string) map[string]string {
		return map[string]string{"p.rego": module("t.p", `allow contains {"id": "`+id+`"} if input.action.verb == "select"
mask contains {"id": "`+id+`", "field": "s.t.`+id+`", "method": "null"} if true`)}
	}
	writeFolder(t, dir, version("even"))
	e := newEngine(t, Config{Bundles: []Bundle{{Name: "t", URL: dir}}})
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			doc := selectDoc()
			for ctx.Err() == nil {
				r := e.Evaluate(t.Context(), doc)
				if r.Effect != Allow || len(r.Masks) != 1 || r.Masks[0].Field != "s.t."+r.Reasons[0].ID {
					t.Errorf("mixed: %s", show(r))
					return
				}
				r.JSON()
				e.Status()
				e.Reads(input.Postgres, "sql", "ast")
			}
		})
	}
	for i := range 20 {
		writeFolder(t, dir, version([]string{"odd", "even"}[i%2]))
		refresh(t, e)
	}
	stop()
	wg.Wait()
	if n := e.Status().Snapshot; n < 15 {
		t.Errorf("%d activations", n)
	}
}
