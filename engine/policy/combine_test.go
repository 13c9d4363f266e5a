package policy

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/regate-dev/regate/engine/input"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Generators of what packages say. Vocabularies are small so that things meet.

func genMask(t *rapid.T) Mask {
	m := Mask{Method: rapid.SampledFrom([]string{"null", "redact", "hash", "tokenise", "partial", "partial"}).Draw(t, "method"), Because: []string{genID(t)}}
	if rapid.Bool().Draw(t, "by field") {
		m.Field = rapid.SampledFrom([]string{"s.t.a", "s.t.b"}).Draw(t, "field")
	} else {
		m.Detect = rapid.SampledFrom([]string{"email", "iban"}).Draw(t, "kind")
	}
	if m.Method == "partial" {
		m.Keep = rapid.IntRange(0, 2).Draw(t, "keep")
		m.KeepDomain = rapid.Bool().Draw(t, "domain")
	}
	return m
}

func genID(t *rapid.T) string { return rapid.SampledFrom([]string{"p/1", "p/2", "q/1"}).Draw(t, "id") }

func genElements(t *rapid.T) elements {
	e := elements{pkg: genID(t), owner: "o", allowCounts: rapid.IntRange(0, 3).Draw(t, "counts") > 0}
	few := func(label string, most int, add func()) {
		for range rapid.IntRange(0, most).Draw(t, label) {
			add()
		}
	}
	few("allow", 2, func() { e.allow = append(e.allow, Reason{ID: genID(t), Effect: Allow, Owner: "o"}) })
	if rapid.IntRange(0, 9).Draw(t, "denies") == 0 {
		few("deny", 2, func() { e.deny = append(e.deny, Reason{ID: genID(t), Effect: Deny, Owner: "o"}) })
	}
	few("require", 2, func() {
		e.require = append(e.require, Requirement{
			ID: genID(t), From: []string{rapid.SampledFrom([]string{"group:dba", "group:sec", "subject:bob", "any"}).Draw(t, "from")},
			Count: rapid.IntRange(1, 2).Draw(t, "count"), TTL: time.Duration(rapid.IntRange(1, 3).Draw(t, "ttl")) * time.Minute,
		})
	})
	few("masks", 3, func() { e.masks = append(e.masks, genMask(t)) })
	few("limits", 2, func() {
		e.limits = append(e.limits, limitElement{genID(t), Limit{
			Rows: rapid.Int64Range(0, 3).Draw(t, "rows"), Bytes: rapid.Int64Range(0, 2).Draw(t, "bytes"), Seconds: float64(rapid.IntRange(0, 2).Draw(t, "seconds")),
		}})
	})
	few("record", 2, func() {
		e.record = append(e.record, recordElement{genID(t), Level(rapid.IntRange(0, 1).Draw(t, "level"))})
	})
	few("label", 2, func() {
		e.labels = append(e.labels, Label{Name: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "name"), Scope: rapid.SampledFrom([]string{LabelTask, LabelAgent}).Draw(t, "scope"), Because: []string{genID(t)}})
	})
	return e
}

func genFacts(t *rapid.T) facts {
	f := facts{
		stage: rapid.SampledFrom([]input.Stage{input.StageSession, input.StageRequest, input.StageRequest, input.StageResponse}).Draw(t, "stage"),
		now:   noon, requesters: []string{"alice", "agent"},
	}
	for _, o := range everything {
		if rapid.IntRange(0, 5).Draw(t, o) > 0 {
			f.supported = append(f.supported, o)
		}
	}
	for range rapid.IntRange(0, 3).Draw(t, "approvals") {
		age := time.Duration(rapid.IntRange(0, 4).Draw(t, "age")) * time.Minute
		f.approvals = append(f.approvals, input.Approval{
			By: input.Approver{
				ID:     rapid.SampledFrom([]string{"bob", "carol", "alice", "agent"}).Draw(t, "by"),
				Groups: rapid.SampledFrom([][]string{{"dba"}, {"sec"}, {"dba", "sec"}, {}}).Draw(t, "groups"),
			},
			At:        noon.Add(-age).Format(time.RFC3339),
			ExpiresAt: noon.Add(time.Duration(rapid.IntRange(-1, 3).Draw(t, "expires")) * time.Minute).Format(time.RFC3339),
		})
	}
	return f
}

func genSets(t *rapid.T) []elements {
	return rapid.SliceOfN(rapid.Custom(genElements), 0, 5).Draw(t, "sets")
}

func same(a, b *Ruling) bool { return bytes.Equal(a.JSON(), b.JSON()) }

func TestCombineIsCommutative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, sets := genFacts(t), genSets(t)
		want := combine(f, sets)
		seed := rapid.Uint64().Draw(t, "shuffle")
		r := rand.New(rand.NewPCG(seed, seed))
		mixed := slices.Clone(sets)
		r.Shuffle(len(mixed), func(i, j int) { mixed[i], mixed[j] = mixed[j], mixed[i] })
		for i := range mixed {
			m := slices.Clone(mixed[i].masks)
			r.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
			mixed[i].masks = m
		}
		if got := combine(f, mixed); !same(got, want) {
			t.Fatalf("the order of packages matters:\n%s\n%s", got.JSON(), want.JSON())
		}
	})
}

// What several packages say is what one package says that says all of it: so
// any grouping gives the same ruling.
func TestCombineIsAssociative(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, sets := genFacts(t), genSets(t)
		want := combine(f, sets)
		cut := rapid.IntRange(0, len(sets)).Draw(t, "cut")
		if got := combine(f, []elements{merge(sets[:cut]), merge(sets[cut:])}); !same(got, want) {
			t.Fatalf("grouping matters:\n%s\n%s", got.JSON(), want.JSON())
		}
	})
}

func merge(sets []elements) elements {
	out := elements{allowCounts: true}
	for _, s := range sets {
		if s.allowCounts {
			out.allow = append(out.allow, s.allow...)
		}
		out.deny = append(out.deny, s.deny...)
		out.require = append(out.require, s.require...)
		out.masks = append(out.masks, s.masks...)
		out.limits = append(out.limits, s.limits...)
		out.record = append(out.record, s.record...)
		out.labels = append(out.labels, s.labels...)
	}
	return out
}

func TestCombineIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, sets := genFacts(t), genSets(t)
		want := combine(f, sets)
		if got := combine(f, append(slices.Clone(sets), sets...)); !same(got, want) {
			t.Fatalf("saying it twice matters:\n%s\n%s", got.JSON(), want.JSON())
		}
	})
}

func TestAddingAPackageThatGrantsNothingOnlyRestricts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, sets := genFacts(t), genSets(t)
		more := genElements(t)
		more.allow = nil
		before, after := combine(f, sets), combine(f, append(slices.Clone(sets), more))
		if after.Effect > before.Effect {
			t.Fatalf("from %s to %s", before.Effect, after.Effect)
		}
		if after.Record < before.Record {
			t.Fatal("less is recorded")
		}
		if after.Effect == Deny {
			return
		}
		for _, m := range before.Masks {
			if !slices.ContainsFunc(after.Masks, func(n Mask) bool { return n.ID == m.ID && hidesAsMuch(n, m) }) {
				t.Fatalf("mask %+v got weaker: %+v", m, after.Masks)
			}
		}
		weaker := func(before, after int64) bool { return before != 0 && (after == 0 || after > before) }
		if weaker(before.Limit.Rows, after.Limit.Rows) || weaker(before.Limit.Bytes, after.Limit.Bytes) ||
			before.Limit.Seconds != 0 && (after.Limit.Seconds == 0 || after.Limit.Seconds > before.Limit.Seconds) {
			t.Fatalf("limit from %+v to %+v", before.Limit, after.Limit)
		}
		for _, q := range before.Approvals {
			if !slices.ContainsFunc(after.Approvals, func(p Requirement) bool {
				return p.ID == q.ID && slices.Equal(p.From, q.From) && p.Count == q.Count && p.TTL <= q.TTL && (q.Met || !p.Met)
			}) {
				t.Fatalf("requirement %+v got weaker: %+v", q, after.Approvals)
			}
		}
	})
}

func hidesAsMuch(a, b Mask) bool {
	if a.Method != b.Method {
		return maskStrength[a.Method] > maskStrength[b.Method]
	}
	return a.Keep == b.Keep && a.KeepFirst == b.KeepFirst && a.KeepDomain == b.KeepDomain
}

func TestCombineLaws(t *testing.T) {
	allow := []Reason{{ID: "p/allow", Effect: Allow, Owner: "p"}}
	all := facts{stage: input.StageRequest, now: noon, supported: everything, requesters: []string{"alice", "agent"}}
	at := func(f facts, change func(*facts)) facts { change(&f); return f }
	approval := func(id string, groups ...string) input.Approval {
		return input.Approval{By: input.Approver{ID: id, Groups: groups}, At: noon.Add(-time.Minute).Format(time.RFC3339), ExpiresAt: noon.Add(time.Minute).Format(time.RFC3339)}
	}
	dba := Requirement{ID: "p/dba", Owner: "p", From: []string{"group:dba"}, Count: 1, TTL: time.Hour}
	for _, c := range []struct {
		name    string
		facts   facts
		set     elements
		effect  Effect
		reasons string
	}{
		{"nothing said", all, elements{}, Deny, "engine/no-allow"},
		{"allow", all, elements{allowCounts: true, allow: allow}, Allow, "p/allow"},
		{"allow that does not count", all, elements{allow: allow}, Deny, "engine/no-allow"},
		{"deny beats allow", all, elements{allowCounts: true, allow: allow, deny: []Reason{{ID: "p/no"}}}, Deny, "p/no"},
		{"deny beats no-allow", all, elements{deny: []Reason{{ID: "p/no"}}}, Deny, "p/no"},
		{"no-allow beats approval", all, elements{require: []Requirement{dba}}, Deny, "engine/no-allow"},
		{"approval", all, elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, RequireApproval, "p/dba"},
		{"approval met", at(all, func(f *facts) { f.approvals = []input.Approval{approval("bob", "dba")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, Allow, "p/allow"},
		{"approval by the subject", at(all, func(f *facts) { f.approvals = []input.Approval{approval("alice", "dba")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, RequireApproval, "p/dba"},
		{"approval by the actor", at(all, func(f *facts) { f.approvals = []input.Approval{approval("agent", "dba")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, RequireApproval, "p/dba"},
		{"approval by somebody else", at(all, func(f *facts) { f.approvals = []input.Approval{approval("bob", "sec")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, RequireApproval, "p/dba"},
		{"one person twice", at(all, func(f *facts) { f.approvals = []input.Approval{approval("bob", "dba"), approval("bob", "dba")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{{ID: "p/two", From: []string{"group:dba"}, Count: 2, TTL: time.Hour}}}, RequireApproval, "p/two"},
		{"two people", at(all, func(f *facts) { f.approvals = []input.Approval{approval("bob", "dba"), approval("carol", "dba")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{{ID: "p/two", From: []string{"group:dba"}, Count: 2, TTL: time.Hour}}}, Allow, "p/allow"},
		{"one person for two requirements", at(all, func(f *facts) { f.approvals = []input.Approval{approval("bob", "dba", "sec")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{dba, {ID: "p/sec", From: []string{"group:sec"}, Count: 1, TTL: time.Hour}}}, Allow, "p/allow"},
		{"too old for the shortest ttl", at(all, func(f *facts) { f.approvals = []input.Approval{approval("bob", "dba")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{dba, {ID: "p/quick", From: []string{"any"}, Count: 1, TTL: time.Second}}}, RequireApproval, "p/dba p/quick"},
		{"expired", at(all, func(f *facts) {
			a := approval("bob", "dba")
			a.ExpiresAt = noon.Format(time.RFC3339)
			f.approvals = []input.Approval{a}
		}), elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, RequireApproval, "p/dba"},
		{"a date that cannot be read", at(all, func(f *facts) {
			a := approval("bob", "dba")
			a.At = ""
			f.approvals = []input.Approval{a}
		}), elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, RequireApproval, "p/dba"},
		{"subject: and any", at(all, func(f *facts) { f.approvals = []input.Approval{approval("bob")} }),
			elements{allowCounts: true, allow: allow, require: []Requirement{{ID: "p/bob", From: []string{"subject:bob"}, Count: 1, TTL: time.Hour}, {ID: "p/any", From: []string{"any"}, Count: 1, TTL: time.Hour}}}, Allow, "p/allow"},
		{"unsupported obligation", at(all, func(f *facts) { f.supported = []string{"limit"} }),
			elements{allowCounts: true, allow: allow, masks: []Mask{{Field: "a.b.c", Method: "null", Because: []string{"p/m"}}}}, Deny, "engine/unsupported-obligation"},
		{"a record that cannot be sealed", at(all, func(f *facts) { f.supported = []string{"record"} }),
			elements{allowCounts: true, allow: allow, record: []recordElement{{"p/full", RecordFull}, {"p/seal", RecordSealed}}}, Deny, "engine/unsupported-obligation"},
		{"a record in full", at(all, func(f *facts) { f.supported = []string{"record"} }),
			elements{allowCounts: true, allow: allow, record: []recordElement{{"p/full", RecordFull}}}, Allow, "p/allow"},
		{"approval that cannot be held", at(all, func(f *facts) { f.supported = nil }),
			elements{allowCounts: true, allow: allow, require: []Requirement{dba}}, Deny, "engine/unsupported-obligation"},
		{"masks mean nothing when connecting", at(all, func(f *facts) { f.stage, f.supported = input.StageSession, nil }),
			elements{allowCounts: true, allow: allow, masks: []Mask{{Field: "a.b.c", Method: "null"}}}, Allow, "p/allow"},
		{"a response was allowed before", at(all, func(f *facts) { f.stage = input.StageResponse }),
			elements{require: []Requirement{dba}}, Allow, ""},
		{"a response can be denied", at(all, func(f *facts) { f.stage = input.StageResponse }),
			elements{deny: []Reason{{ID: "p/no"}}}, Deny, "p/no"},
	} {
		t.Run(c.name, func(t *testing.T) { expect(t, combine(c.facts, []elements{c.set}), c.effect, c.reasons) })
	}
}

func TestMasksJoin(t *testing.T) {
	field := func(method string, keep int) Mask {
		return Mask{Field: "s.t.c", Method: method, Keep: keep, Because: []string{method}}
	}
	for _, c := range []struct {
		masks  []Mask
		method string
		keep   int
	}{
		{[]Mask{field("partial", 4)}, "partial", 4},
		{[]Mask{field("partial", 4), field("partial", 4)}, "partial", 4},
		{[]Mask{field("partial", 4), field("partial", 2)}, "redact", 0},
		{[]Mask{field("partial", 4), field("hash", 0), field("partial", 2)}, "redact", 0},
		{[]Mask{field("partial", 4), field("hash", 0)}, "hash", 0},
		{[]Mask{field("tokenise", 0), field("hash", 0)}, "hash", 0},
		{[]Mask{field("redact", 0), field("hash", 0)}, "redact", 0},
		{[]Mask{field("partial", 1), field("partial", 2), field("null", 0)}, "null", 0},
	} {
		got, _ := joinMasks(c.masks)
		if len(got) != 1 || got[0].Method != c.method || got[0].Keep != c.keep {
			t.Errorf("%+v\n\tgives %+v, want %s %d", c.masks, got, c.method, c.keep)
		}
	}
}
