package policies_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/policies"
)

// corpus are the documents of all examples of all pages.
func corpus(t *testing.T) [][]byte {
	t.Helper()
	w := newWorld(t)
	packs, err := policies.Packs()
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, head := range []string{"statement", "request to the API server", "request", "message"} {
		doc, _ := w.document(t, map[string]string{head: "connect", "as": "analysts, developers"})
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, raw)
	}
	for _, p := range packs {
		text, err := os.ReadFile(page(p))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range examples(t, string(text)) {
			doc, refused := w.document(t, e.cells)
			if refused != "" {
				continue
			}
			doc.Usage = used(t, e.cells["used"], doc)
			raw, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, raw)
		}
	}
	return out
}

const everything = "package regate.policies.site.all\n\nallow contains {\"id\": \"site.all/all\"}\n"

func load(t *testing.T, names ...string) *policy.Set {
	t.Helper()
	dir, site := t.TempDir(), t.TempDir()
	if _, err := policies.Export(dir, names, false); err != nil {
		t.Fatal(err)
	}
	write(t, site, ".manifest", `{"roots": ["regate/policies/site"]}`)
	write(t, site, "all.rego", everything)
	set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{dir, site}, SkipTests: true})
	if err != nil {
		t.Fatalf("%v: %v", names, err)
	}
	return set
}

func decide(t *testing.T, s *policy.Set, doc []byte) *policy.Ruling {
	t.Helper()
	r, err := s.Evaluate(t.Context(), doc)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Errors) > 0 {
		t.Fatalf("%v\n%s", r.Errors, doc)
	}
	return r
}

// rank orders effects by how much they let through.
func rank(r *policy.Ruling) int {
	return map[policy.Effect]int{policy.Deny: 0, policy.RequireApproval: 1, policy.Allow: 2}[r.Effect]
}

// All packs in one bundle, with their defaults: nothing errs, and each decision
// is the strictest of what they say on their own.
func TestAllPacksTogether(t *testing.T) {
	packs, err := policies.Packs()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	alone := map[string]*policy.Set{}
	for _, p := range packs {
		names = append(names, p.Name)
		alone[p.Name] = load(t, p.Name)
	}
	all := load(t, names...)
	docs := corpus(t)
	effects := map[policy.Effect]int{}
	for _, doc := range docs {
		together := decide(t, all, doc)
		effects[together.Effect]++
		for _, r := range together.Reasons {
			if strings.HasSuffix(r.ID, "/input") {
				t.Errorf("%s: a real document is not as the pack wants it\n%s", r.ID, doc)
			}
		}
		strictest := 2
		var masks []string
		for _, name := range names {
			r := decide(t, alone[name], doc)
			strictest = min(strictest, rank(r))
			for _, m := range r.Masks {
				masks = append(masks, m.Field+m.Detect)
			}
		}
		if rank(together) != strictest {
			t.Errorf("together %s, alone %d\n%s\n%s", together.Effect, strictest, together.JSON(), doc)
		}
		if together.Effect == policy.Deny {
			continue
		}
		for _, m := range masks {
			if !slices.ContainsFunc(together.Masks, func(have policy.Mask) bool { return have.Field+have.Detect == m }) {
				t.Errorf("together, %s is not masked\n%s", m, doc)
			}
		}
	}
	if len(docs) < 150 || effects[policy.Deny] == len(docs) {
		t.Errorf("%d documents, %v", len(docs), effects)
	}
	t.Logf("%d documents: %v", len(docs), effects)
}

// Any two packs can be put together: no package, setting or root is that of
// another, and two that are asked about the same requests decide as the stricter
// of them.
func TestEachPairOfPacks(t *testing.T) {
	packs, err := policies.Packs()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	alone := map[string]*policy.Set{}
	for _, p := range packs {
		for _, one := range append([]string{"package " + p.Package, "setting " + p.Setting}, p.Roots...) {
			if other := seen[one]; other != "" {
				t.Errorf("%s: %s is that of %s", p.Name, one, other)
			}
			seen[one] = p.Name
		}
		alone[p.Name] = load(t, p.Name)
	}
	docs := corpus(t)
	step := 1
	if testing.Short() {
		step = 7
	}
	n := 0
	for i, p := range packs {
		for j := i + 1 + i%step; j < len(packs); j += step {
			q := packs[j]
			if len(p.Protocols) > 0 && len(q.Protocols) > 0 && p.Protocols[0] != q.Protocols[0] {
				continue // no request is decided by both
			}
			both := load(t, p.Name, q.Name)
			for k := (i + j) % 8; k < len(docs); k += 8 {
				want := min(rank(decide(t, alone[p.Name], docs[k])), rank(decide(t, alone[q.Name], docs[k])))
				if got := decide(t, both, docs[k]); rank(got) != want {
					t.Errorf("%s and %s: %s\n%s", p.Name, q.Name, got.JSON(), docs[k])
				}
			}
			n++
		}
	}
	t.Logf("%d pairs", n)
}

// What the rule index and early exit leave out makes no difference.
func TestPacksWithoutTheIndex(t *testing.T) {
	packs, err := policies.Packs()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range packs {
		names = append(names, p.Name)
	}
	with := load(t, names...)
	without := with.WithOptimisations(false, false)
	for _, doc := range corpus(t) {
		if a, b := decide(t, with, doc), decide(t, without, doc); string(a.JSON()) != string(b.JSON()) {
			t.Errorf("with\n%s\nwithout\n%s", a.JSON(), b.JSON())
		}
	}
}
