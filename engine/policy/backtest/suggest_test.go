package backtest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// drafted is a Set of a draft, enforced.
func drafted(t *testing.T, s *Suggestion) *policy.Set {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "draft")
	if err := s.Write(dir); err != nil {
		t.Fatal(err)
	}
	shadow, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{dir}})
	if err != nil {
		t.Fatal(err, s.Files)
	}
	for _, p := range shadow.Packages() {
		if p.Mode != "shadow" {
			t.Errorf("the draft %s is not in shadow mode", p.Name)
		}
	}
	set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{dir}, EnforceShadow: true})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func suggest(t *testing.T, list []corpus.Recorded, o SuggestOptions) *Suggestion {
	t.Helper()
	s, err := Suggest(t.Context(), corpus.Of(list...), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDraftIsExact: over generated traffic a draft allows what it was made from,
// and of everything else only what another rule denies or holds.
func TestDraftIsExact(t *testing.T) {
	set := load(t, basePolicy, policy.SetOptions{})
	list := many(t, set, 400)
	want := ""
	for round := range 4 {
		rand.New(rand.NewPCG(uint64(round), 9)).Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		s := suggest(t, list, SuggestOptions{Agent: "agent-1", Options: Options{Workers: round + 1}})
		if !s.Proof.Exact() || s.Proof.Allows != s.Covered || s.Covered == 0 || s.Covered != s.Allowed || s.Rules == 0 {
			t.Fatal(asJSON(t, s))
		}
		if got := asJSON(t, s.Files); want == "" {
			want = got
		} else if got != want {
			t.Fatalf("the draft depends on the order:\n%s\n%s", got, want)
		}
		draft := drafted(t, s)
		for i := range list {
			var agents corpus.Agents
			who, err := agents.Of(&list[i])
			if err != nil {
				t.Fatal(err)
			}
			r, err := draft.Evaluate(t.Context(), list[i].Input)
			if err != nil {
				t.Fatal(err)
			}
			if r.Effect == policy.Allow && !who.Is("agent-1") {
				t.Errorf("%s may do what agent-1 did", who)
			}
			if who.Is("agent-1") && list[i].Effect == "allow" && r.Effect != policy.Allow {
				t.Errorf("%s is not allowed", list[i].DecisionID)
			}
		}
	}
}

// TestDraftNeverWidens: what is incomplete, opaque, of unnamed columns or
// approved by a person is left out, and so is whatever differs.
func TestDraftNeverWidens(t *testing.T) {
	set := load(t, metadata+`allow contains {"id": "acme/all"} if true`, policy.SetOptions{})
	f := newTraffic()
	good := f.document(0, 0)
	change := func(n int, by func(*input.Document)) corpus.Recorded {
		d := f.document(n, 0)
		by(d)
		return recorded(t, set, d)
	}
	action := func(a input.SQLAction) *input.Part { return input.NewPart(a) }
	resource := func(columns ...string) *input.Part {
		return input.NewPart(input.SQLResource{Kind: "table", Names: []string{"public.users"}, TableNames: []string{"public.users"}, ColumnNames: columns,
			FunctionNames: []string{}, SchemaNames: []string{"public"}, SettingNames: []string{},
			Tables: map[string]input.SQLTable{"public.users": {Access: []string{"read"}, Columns: []string{}, Written: []string{}, Via: []string{}}}})
	}
	unclear := []corpus.Recorded{
		change(1, func(d *input.Document) { d.Complete = false }),
		change(2, func(d *input.Document) { d.Unknown = input.NewPart([]input.Unknown{{What: "relation", Why: "x"}}) }),
		change(3, func(d *input.Document) {
			d.Action = action(input.SQLAction{Verb: "select", Verbs: []string{"select"}, Opaque: true})
		}),
		change(4, func(d *input.Document) { d.Action = action(input.SQLAction{Verb: "unknown", Verbs: []string{}}) }),
		change(5, func(d *input.Document) { d.Resource = resource("public.users.*") }),
		change(6, func(d *input.Document) { d.Resource = resource("*") }),
	}
	s := suggest(t, append(unclear, recorded(t, set, good)), SuggestOptions{Agent: "agent-0"})
	if s.Covered != 1 || s.Rules != 1 || len(s.LeftOut) != 4 || s.Proof.Widens != 0 {
		t.Error(asJSON(t, s))
	}
	draft := drafted(t, s)
	for i, other := range append(unclear,
		change(7, func(d *input.Document) { d.Resource = resource("public.users.password") }),
		change(8, func(d *input.Document) {
			d.Action = action(input.SQLAction{Verb: "select", Verbs: []string{"select"}, Locks: true})
		}),
		change(9, func(d *input.Document) {
			d.Action = action(input.SQLAction{Verb: "select", Verbs: []string{"delete", "select"}})
		}),
		change(10, func(d *input.Document) {
			d.Target = input.NewPart(input.Target{Name: "other", Database: "shop", Labels: map[string]string{}})
		}),
		change(11, func(d *input.Document) {
			d.Actor = input.NewPart(input.Principal{ID: "agent-9", Groups: []string{}})
		}),
		change(12, func(d *input.Document) {
			d.Subject = input.NewPart(input.Principal{ID: "agent-0", Issuer: "https://other", Groups: []string{}})
		}),
	) {
		if r, err := draft.Evaluate(t.Context(), other.Input); err != nil || r.Effect == policy.Allow {
			t.Errorf("%d is allowed: %v", i, err)
		}
	}
	if s := suggest(t, unclear, SuggestOptions{Agent: "agent-0"}); s.Rules != 0 || len(s.Files) != 0 {
		t.Error(asJSON(t, s))
	}
}

// TestDraftQuotes: names from traffic cannot be Rego, comments or metadata.
func TestDraftQuotes(t *testing.T) {
	set := load(t, metadata+`allow contains {"id": "acme/all"} if true`, policy.SetOptions{})
	f := newTraffic()
	for _, evil := range []string{"a\"} if true #", "a\nallow := true", "a\u2028b", "`", "${x}", "{{x}}", "# METADATA\n# custom: {regate: {mode: enforce}}", "\x00", "\x7f", "\a", "\U000e0001", "\u0080é😀\\", strings.Repeat("x", 3_000), "package", ""} {
		d := f.document(1, 0)
		d.Subject = input.NewPart(input.Principal{ID: evil, Issuer: evil, Groups: []string{evil}})
		d.Target = input.NewPart(input.Target{Name: evil, Database: evil, Labels: map[string]string{}})
		d.Resource = input.NewPart(input.SQLResource{Kind: "table", Names: []string{evil}, TableNames: []string{evil}, ColumnNames: []string{evil + ".a"},
			FunctionNames: []string{evil}, SchemaNames: []string{evil}, SettingNames: []string{evil},
			Tables: map[string]input.SQLTable{evil: {Access: []string{"read"}, Written: []string{evil}}}})
		r := recorded(t, set, d)
		agent := evil
		if agent == "" {
			agent = "(nobody)"
			if (corpus.Agent{}).String() != agent {
				t.Fatal("who is nobody")
			}
			continue
		}
		s, err := Suggest(t.Context(), corpus.Of(r), SuggestOptions{Agent: agent, Group: evil, Options: Options{Statement: func(*corpus.Recorded) string { return evil }}})
		if err != nil {
			t.Errorf("%.80q: %.500v", evil, err)
			continue
		}
		if strings.ContainsAny(evil, "\x00\x7f\a") || strings.Contains(evil, "\U000e0001") {
			if s.Rules != 0 || len(s.LeftOut) != 1 { // they cannot be written in Rego
				t.Errorf("%q: %s", evil, asJSON(t, s))
			}
			continue
		}
		if !s.Proof.Exact() || s.Proof.Allows != 1 {
			t.Errorf("%q: %s", evil, asJSON(t, s))
		}
		drafted(t, s)
	}
}

// TestDraftOfOthersDenials: a rule that denied a request of the same shape keeps
// its effect, and is named.
func TestDraftOfOthersDenials(t *testing.T) {
	set := load(t, basePolicy+`
deny contains {"id": "acme/late"} if input.session.client.application == "late"
`, policy.SetOptions{})
	f := newTraffic()
	late := f.document(2, 0)
	late.Session.Client.Application = "late"
	s := suggest(t, []corpus.Recorded{recorded(t, set, f.document(1, 0)), recorded(t, set, late)}, SuggestOptions{Agent: "agent-0"})
	if !s.Proof.Exact() || len(s.Proof.StillDenied) != 1 || s.Proof.StillDenied[0] != (Count{"acme/late", 1}) {
		t.Error(asJSON(t, s))
	}
	// What only a missing rule denied is another matter: the draft would allow it.
	other := load(t, metadata+`allow contains {"id": "acme/early"} if input.session.client.application != "late"`, policy.SetOptions{})
	s = suggest(t, []corpus.Recorded{recorded(t, other, f.document(1, 0)), recorded(t, other, late)}, SuggestOptions{Agent: "agent-0"})
	if s.Proof.Exact() || s.Proof.Widens != 1 || len(s.Proof.Examples) != 1 {
		t.Error(asJSON(t, s))
	}
}

func TestDraftsAreBounded(t *testing.T) {
	set := load(t, metadata+`allow contains {"id": "acme/all"} if true`, policy.SetOptions{})
	f := newTraffic()
	var list []corpus.Recorded
	for i := range 30 {
		d := f.document(i, 0)
		table := fmt.Sprint("public.t", i)
		d.Resource = input.NewPart(input.SQLResource{Kind: "table", Names: []string{table}, TableNames: []string{table}, ColumnNames: []string{},
			FunctionNames: []string{}, SchemaNames: []string{}, SettingNames: []string{}, Tables: map[string]input.SQLTable{table: {Access: []string{"read"}, Written: []string{}}}})
		list = append(list, recorded(t, set, d))
	}
	s := suggest(t, list, SuggestOptions{Agent: "agent-0", MaxRules: 10})
	if s.Rules != 10 || s.Covered != 10 || len(s.LeftOut) != 1 || s.LeftOut[0].Count != 20 || !s.Proof.Exact() {
		t.Error(asJSON(t, s.LeftOut), s.Rules, s.Covered, s.Proof)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if s, err := Suggest(ctx, corpus.Of(list...), SuggestOptions{Agent: "agent-0"}); err != nil || !s.Interrupted || len(s.Files) != 0 {
		t.Error(s, err)
	}
}

func TestDraftsAreNotWrittenOver(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine.rego"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := (&Suggestion{Files: map[string]string{"a.rego": ""}}).Write(dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
}
