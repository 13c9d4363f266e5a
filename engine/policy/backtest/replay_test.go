package backtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

func TestWhatDecidedDecidesTheSame(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	list := many(t, set, 500)
	r := replay(t, corpus.Of(list...), set, set, Options{})
	if len(r.Changes) != 0 || r.Unchanged != 500 || r.Baseline.Reproduced != 500 || r.Baseline.Differs != 0 || r.Evaluated != kindsOfTraffic {
		t.Error(asJSON(t, r))
	}
	// A baseline that claims to have decided and says otherwise is told on.
	for i := range list {
		if list[i].Effect == "deny" {
			list[i].Effect = "allow"
			list[i].Ruling = []byte(strings.Replace(string(list[i].Ruling), `"effect":"deny"`, `"effect":"allow"`, 1))
		}
	}
	r = replay(t, corpus.Of(list...), set, set, Options{})
	if r.Baseline.Differs == 0 || len(r.Baseline.Examples) != 3 || len(r.Changes) != 0 {
		t.Error(asJSON(t, r.Baseline))
	}
}

// TestOrderDoesNotMatter: a report is the same whatever the order of decisions
// and the number of workers, and its groupings add up.
func TestOrderDoesNotMatter(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	candidate := load(t, strings.NewReplacer(`{"insert", "update"}`, `{"insert", "delete"}`, `"rows": 100`, `"rows": 10`,
		`public.payroll" in`, `public.orders" in`, `"redact"`, `"partial", "keep": 2`).Replace(basePolicy), policy.SetOptions{})
	list := many(t, set, 600)
	want := ""
	for round := range 6 {
		rand.New(rand.NewPCG(uint64(round), 1)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		r := replay(t, corpus.Of(list...), candidate, set, Options{Workers: round + 1})
		if got := asJSON(t, r); want == "" {
			want = got
		} else if got != want {
			t.Fatalf("round %d differs:\n%s\n%s", round, got, want)
		}
		var touched int64
		for _, c := range r.Changes {
			var agents, tables int64
			for _, n := range c.ByAgent {
				agents += n.Count
			}
			for _, n := range c.ByTable {
				tables += n.Count
			}
			if agents != c.Count || tables != c.Count { // each request is one agent's, on one table
				t.Errorf("%s: %d by agent, %d by table, %d in all", c.Kind, agents, tables, c.Count)
			}
			if c.Kind == NewlyAllowed || c.Kind == NewlyApprovable || c.Kind == NewlyDenied || c.Kind == NewlyHeld {
				touched += c.Count
			}
		}
		if touched == 0 || touched+r.Unchanged+r.OtherRules > r.Compared {
			t.Errorf("%d flips, %d unchanged of %d", touched, r.Unchanged, r.Compared)
		}
	}
}

// TestFlipsAreExact compares each count with one that is made without any of the
// shortcuts.
func TestFlipsAreExact(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	for _, change := range [][]string{
		{`"select"`, `"merge"`}, {`{"insert", "update"}`, `{"insert", "update", "delete"}`}, {`if input.action.verb == "update"`, `if input.action.verb == "insert"`},
		{`public.payroll`, `public.nothing`}, {"if input.action.verb == \"select\"\n", "if {\ninput.time < \"2026-10-01T12\"\ninput.action.verb == \"select\"\n}\n"},
		{"if input.action.verb == \"select\"\n", "if {\ntime.now_ns() % 7 < 3\ninput.action.verb == \"select\"\n}\n"},
		{"if input.action.verb == \"select\"\n", "if {\nendswith(input.request.id, \"7\")\ninput.action.verb == \"select\"\n}\n"},
		{"if input.action.verb == \"select\"\n", "if {\ninput.session.usage.requests < 20\ninput.action.verb == \"select\"\n}\n"},
		{"if input.action.verb == \"select\"\n", "if {\nx := input\nx.session.id != \"s1\"\ninput.action.verb == \"select\"\n}\n"},
	} {
		candidate := load(t, strings.NewReplacer(change...).Replace(basePolicy), policy.SetOptions{})
		list := many(t, set, 700)
		want := map[Kind]int64{}
		for i := range list {
			was, err := parseVerdict(list[i].Ruling, list[i].Effect)
			if err != nil {
				t.Fatal(err)
			}
			ruling, err := candidate.Evaluate(t.Context(), list[i].Input)
			if err != nil {
				t.Fatal(err)
			}
			now, err := parseVerdict(ruling.JSON(), "")
			if err != nil {
				t.Fatal(err)
			}
			if k := flip(was, now); k != "" {
				want[k]++
			}
		}
		r := replay(t, corpus.Of(list...), candidate, set, Options{})
		if len(want) == 0 {
			t.Errorf("%q changes nothing", change)
		}
		for _, k := range []Kind{NewlyAllowed, NewlyApprovable, ApprovalDropped, NewlyDenied, NewlyHeld} {
			if got := r.Of(k).Count; got != want[k] {
				t.Errorf("%q: %d %s, want %d", change, got, k, want[k])
			}
		}
	}
}

// TestOnce: what policies do not read does not make an input another one, and
// what they read does.
func TestOnce(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	list := many(t, set, 400)
	for _, c := range []struct {
		reads string
		want  int64
	}{
		{`true`, kindsOfTraffic},
		{`input.session.client.tls == false`, kindsOfTraffic},
		{`input.sql.text != ""`, kindsOfTraffic},
		{`input.subject.id != ""`, kindsOfTraffic},
		{`input.session.id != ""`, -1}, // more than kindsOfTraffic, fewer than all
		{`input.session.usage.requests >= 0`, -1},
		{`input.session[_] != ""`, 400},
		{`input.time != ""`, 400},
		{`time.now_ns() > 0`, 400},
		{`input.request.id != ""`, 400},
		{`input.request.digest != ""`, kindsOfTraffic},
		{`input[_] != ""`, 400},
		{`count(input) > 0`, 400},
	} {
		candidate := load(t, strings.Replace(basePolicy, `if input.action.verb == "connect"`, "if {\ninput.action.verb != \"connect\"\n"+c.reads+"\n}", 1), policy.SetOptions{})
		r := replay(t, corpus.Of(list...), candidate, nil, Options{})
		if r.Evaluated != c.want && (c.want >= 0 || r.Evaluated <= kindsOfTraffic || r.Evaluated >= 400) {
			t.Errorf("%s: %d evaluated, want %d", c.reads, r.Evaluated, c.want)
		}
	}
}

// TestApprovalsInTheInput: who approved is part of the input; a candidate that
// asks for others holds the request again.
func TestApprovalsInTheInput(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	f := newTraffic()
	doc := f.document(1, 2) // an update of users
	doc.Approvals = []input.Approval{{ID: "ap-1", By: input.Approver{ID: "carol", Issuer: "https://issuer", Groups: []string{"dba"}},
		At: doc.Time.Format(time.RFC3339Nano), ExpiresAt: doc.Time.Add(time.Hour).Format(time.RFC3339Nano)}}
	r := recorded(t, set, doc)
	if r.Effect != "allow" {
		t.Fatal(string(r.Ruling))
	}
	if got := replay(t, corpus.Of(r), set, set, Options{}); len(got.Changes) != 0 || got.Baseline.Reproduced != 1 || got.Approvals.Was != 1 {
		t.Error(asJSON(t, got))
	}
	for want, change := range map[Kind][]string{
		NewlyHeld:       {`group:dba`, `group:security`},
		ApprovalDropped: {`if input.action.verb == "update"`, `if input.action.verb == "merge"`},
		NewlyDenied:     {`"public.payroll" in`, `"public.users" in`},
		ApprovalChanged: {`["group:dba"]`, `["group:dba", "any"]`},
	} {
		candidate := load(t, strings.NewReplacer(change...).Replace(basePolicy), policy.SetOptions{})
		if got := replay(t, corpus.Of(r), candidate, set, Options{}); got.Of(want).Count != 1 {
			t.Errorf("%s: %s", want, asJSON(t, got.Changes))
		}
	}
}

// TestNotThePolicies: what the proxy, the gate or a person decided is no flip.
func TestNotThePolicies(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	nothing := load(t, metadata+`allow contains {"id": "acme/all"} if true`, policy.SetOptions{})
	f := newTraffic()
	refused := recorded(t, set, f.document(1, 0))
	refused.Effect = "deny"
	refused.Ruling = (&policy.Ruling{Reasons: []policy.Reason{{ID: "postgres/parse-error", Owner: "engine"}}}).JSON()
	noBundle := refused
	noBundle.Ruling = (&policy.Ruling{Reasons: []policy.Reason{{ID: policy.ReasonNoBundle, Owner: "engine"}}}).JSON()
	slow := refused
	slow.Ruling = (&policy.Ruling{Reasons: []policy.Reason{{ID: policy.ReasonTimeout, Owner: "engine"}}, Bundles: set.Bundles()}).JSON()
	r := replay(t, corpus.Of(refused, noBundle, slow), nothing, nil, Options{})
	if len(r.Changes) != 0 || len(r.Outside) != 3 || r.Compared != 0 {
		t.Error(asJSON(t, r))
	}

	// A hold that ended without an approval: the policies had held it.
	held := recorded(t, set, f.document(2, 2))
	before, err := set.Evaluate(t.Context(), held.Input)
	if err != nil || before.Effect != policy.RequireApproval {
		t.Fatal(before, err)
	}
	for _, reason := range []string{"approval/pending", "approval/denied", "approval/cancelled", "postgres/unmaskable-result"} {
		ended := &policy.Ruling{
			Reasons:     append([]policy.Reason{{ID: reason, Effect: policy.Deny, Owner: "engine"}}, before.Reasons...),
			Obligations: before.Obligations, Bundles: before.Bundles, Evaluated: before.Evaluated,
		}
		held.Effect, held.Ruling = "deny", ended.JSON()
		if r := replay(t, corpus.Of(held), set, set, Options{}); len(r.Changes) != 0 || r.Baseline.Reproduced != 1 || r.Approvals.Was != 1 {
			t.Errorf("%s: %s", reason, asJSON(t, r))
		}
		if r := replay(t, corpus.Of(held), nothing, set, Options{}); r.Of(NewlyAllowed).Count != 1 {
			t.Errorf("%s: %s", reason, asJSON(t, r))
		}
	}

	// What cannot be carried out is made of the input, and is replayed.
	doc := f.document(3, 0)
	doc.Enforcer = input.NewPart(input.Enforcer{Obligations: []string{}})
	unsupported := recorded(t, set, doc)
	if r := replay(t, corpus.Of(unsupported), set, set, Options{}); len(r.Changes) != 0 || r.Baseline.Reproduced != 1 || unsupported.Effect != "deny" {
		t.Error(asJSON(t, r))
	}
}

// TestCandidateFails: errors and timeouts deny, and are told apart from rules.
func TestCandidateFails(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	list := many(t, set, 50)
	bad := load(t, basePolicy+"\nallow contains {\"id\": \"acme/bad\"} if to_number(input.action.verb) > 1\n", policy.SetOptions{})
	r := replay(t, corpus.Of(list...), bad, set, Options{})
	if r.Of(CandidateError).Count != 50 || r.Of(NewlyDenied).Count == 0 || r.Of(NewlyAllowed).Count != 0 ||
		!strings.Contains(r.Of(CandidateError).Examples[0].What, "to_number") {
		t.Error(asJSON(t, r.Changes))
	}
	slow := load(t, basePolicy+"\nallow contains {\"id\": \"acme/slow\"} if count([1 | some a in numbers.range(1, 3000); some b in numbers.range(1, 3000); a == b]) > 1\n",
		policy.SetOptions{Timeout: time.Millisecond})
	r = replay(t, corpus.Of(list[:5]...), slow, set, Options{})
	if got := r.Of(CandidateError); got.Count != 5 || got.ByWhat[0].Name != policy.ReasonTimeout {
		t.Error(asJSON(t, r.Changes))
	}
}

func TestUnknownSchema(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	r := recorded(t, set, newTraffic().document(1, 0))
	doc := strings.Replace(string(r.Input), input.Schema, "regate.input/v9", 1)
	var err error
	if r.Entries, err = corpus.Split([]byte(doc)); err != nil {
		t.Fatal(err)
	}
	r.Input = []byte(doc)
	got := replay(t, corpus.Of(r), set, set, Options{})
	if got.Compared != 0 || len(got.OtherSchemas) != 1 || got.OtherSchemas[0].Name != "regate.input/v9" {
		t.Error(asJSON(t, got))
	}
}

// TestInputsAlone: without a decision the baseline says what is decided now.
func TestInputsAlone(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	candidate := load(t, strings.Replace(basePolicy, "public.payroll", "public.orders", 1), policy.SetOptions{})
	list := many(t, nil, 100)
	if r := replay(t, corpus.Of(list...), candidate, nil, Options{}); r.NoDecision != 100 || r.Compared != 0 {
		t.Error(asJSON(t, r))
	}
	r := replay(t, corpus.Of(list...), candidate, set, Options{})
	if r.Compared != 100 || r.Of(NewlyAllowed).Count == 0 || r.Of(NewlyDenied).Count == 0 {
		t.Error(asJSON(t, r))
	}
}

// TestOlderInputs: what the candidate reads and a recording lacks is named.
func TestOlderInputs(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	candidate := load(t, basePolicy+"\ndeny contains {\"id\": \"acme/tls\"} if input.session.client.tls == true\n", policy.SetOptions{})
	r := recorded(t, set, newTraffic().document(1, 0))
	r.Entries = slices.DeleteFunc(slices.Clone(r.Entries), func(e input.Entry) bool { return e.Key == "session" })
	r.Input = corpus.Join(r.Entries)
	got := replay(t, corpus.Of(r), candidate, nil, Options{})
	if len(got.Missing) != 1 || got.Missing[0] != (Count{"session", 1}) {
		t.Error(asJSON(t, got))
	}
}

// TestInterrupted: the report is of what was read, and nothing in it is made up.
func TestInterrupted(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	list := many(t, set, 300)
	ctx, cancel := context.WithCancel(t.Context())
	endless := func(yield func(corpus.Recorded, error) bool) {
		for n := 0; ; n++ {
			if n == 2_000 {
				cancel()
			}
			if !yield(list[n%len(list)], nil) {
				return
			}
		}
	}
	r := replayIn(ctx, t, endless, set, set, Options{})
	if !r.Interrupted || r.Decisions == 0 || r.Decisions > 2_000 || len(r.Changes) != 0 || r.Baseline.Differs != 0 {
		t.Error(asJSON(t, r))
	}
}

func TestUnreadable(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	list := many(t, set, 3)
	list[1].Ruling = []byte(`{"effect": "allow", "obligations": [{"type": "explode"}]}`)
	list[2].Effect = "deny"
	list[2].Ruling = many(t, set, 1)[0].Ruling[:20]
	source := func(yield func(corpus.Recorded, error) bool) {
		for i := range 100 {
			if !yield(corpus.Recorded{}, fmt.Errorf("problem %d", i)) {
				return
			}
		}
		_ = yield(corpus.Recorded{}, fmt.Errorf("session: %w", corpus.ErrNotYet)) &&
			yield(list[0], nil) && yield(list[1], nil) && yield(list[2], nil) && yield(corpus.Recorded{}, errors.New("end"))
	}
	r := replay(t, source, set, set, Options{})
	if r.Unread.Problems != 103 || len(r.Unread.Messages) != maxMessages || r.Unread.NotYet != 1 || r.Compared != 1 {
		t.Error(asJSON(t, r))
	}
}

// TestMemory replays 200,000 decisions that are made as they are read. What is
// held must not grow with them.
func TestMemory(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	candidate := load(t, strings.Replace(basePolicy, "public.payroll", "public.orders", 1), policy.SetOptions{})
	f := newTraffic()
	rulings := map[int]corpus.Recorded{}
	for kind := range kindsOfTraffic {
		rulings[kind] = recorded(t, set, f.document(0, kind))
	}
	held := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	const all = 200_000
	var early, late uint64
	source := func(yield func(corpus.Recorded, error) bool) {
		for n := range all {
			r := recorded(t, nil, f.document(n, n%kindsOfTraffic))
			r.Effect, r.Ruling = rulings[n%kindsOfTraffic].Effect, slices.Clone(rulings[n%kindsOfTraffic].Ruling)
			switch n {
			case all / 10:
				early = held()
			case all - 1:
				late = held()
			}
			if !yield(r, nil) {
				return
			}
		}
	}
	r := replay(t, source, candidate, set, Options{})
	if r.Decisions != all || r.Compared != all || r.Baseline.Reproduced != all || r.Evaluated != kindsOfTraffic {
		t.Error(asJSON(t, r))
	}
	// A tenth has filled everything that is kept. 8 MiB is far less than the
	// inputs of any thousand decisions more that would be held by mistake.
	if late > early+8<<20 {
		t.Errorf("%d bytes are held after all, %d after a tenth", late, early)
	}
}

// TestMemoIsBounded: keys that never come again do not pile up.
func TestMemoIsBounded(t *testing.T) {
	m := newMemo[int](32*100, 32*1_000)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 200_000 {
		var key memoKey
		for j := range key {
			key[j] = byte(rng.Uint32())
		}
		v, made := m.get(key, func() (int, int64) { return i, 1 })
		again, madeAgain := m.get(key, func() (int, int64) { return -1, 1 })
		if v != i || !made || again != i || madeAgain {
			t.Fatal(v, made, again, madeAgain)
		}
	}
	total := 0
	for i := range m.shards {
		total += len(m.shards[i].young) + len(m.shards[i].old)
	}
	if total > 2*32*100 {
		t.Errorf("%d keys are kept", total)
	}
	// Large values count by their size.
	m = newMemo[int](32*100, 32*10)
	for i := range 10_000 {
		m.get(memoKey{0, byte(i), byte(i >> 8)}, func() (int, int64) { return i, 5 })
	}
	if n := len(m.shards[0].young) + len(m.shards[0].old); n > 8 {
		t.Errorf("%d large values are kept", n)
	}
}

// TestNamesAreBounded: traffic with ever new names takes no more memory.
func TestNamesAreBounded(t *testing.T) {
	var c counts
	for i := range 3 * maxNames {
		c.add(fmt.Sprint("agent ", i), 1)
	}
	list := c.list()
	if len(list) != maxNames+1 || list[maxNames] != (Count{othersName, 2 * maxNames}) {
		t.Errorf("%d names, the last %v", len(list), list[len(list)-1])
	}
}

func BenchmarkReplay(b *testing.B) {
	set := load(b, basePolicy, policy.SetOptions{})
	for name, reads := range map[string]string{"known": "true", "new": `input.request.id != ""`} {
		candidate := load(b, strings.Replace(basePolicy, `if input.action.verb == "connect"`, "if {\ninput.action.verb != \"connect\"\n"+reads+"\n}", 1), policy.SetOptions{})
		list := many(b, set, 5_000)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			source := func(yield func(corpus.Recorded, error) bool) {
				for n := range b.N {
					if !yield(list[n%len(list)], nil) {
						return
					}
				}
			}
			if _, err := Replay(b.Context(), source, candidate, nil, Options{Workers: 1}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
		})
	}
}
