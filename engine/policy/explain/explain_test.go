package explain

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/policy"
)

const shop = `package regate.policies.acme.shop

import data.regate.lib.who

allow contains {"id": "acme.shop/read"} if {
	input.action.verb == "select"
	who.in_any(["analysts", "ops"])
	input.complete
}

allow contains {"id": "acme.shop/write"} if {
	verb := input.action.verb
	verb in {"update", "insert"}
	who.in_any(["writers"])
	not input.action.opaque
}

deny contains {"id": "acme.shop/no-where", "msg": "say which rows"} if {
	input.action.verb in {"update", "delete"}
	input.action.has_where == false
}

deny contains {"id": sprintf("acme.shop/secret-%s", [table])} if {
	some table in input.resource.table_names
	startswith(table, "secret.")
	not "auditors" in input.subject.groups
}

require_approval contains {"id": "acme.shop/prod", "from": ["group:dba"]} if {
	input.target.labels.env == "prod"
	input.action.writes
}

limit contains {"id": "acme.shop/rows", "rows": 100} if input.session.usage.rows > 1000
`

const lib = `package regate.lib.who

in_any(groups) if {
	some group in groups
	group in input.subject.groups
}
`

func set(t *testing.T, module string) *policy.Set {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"shop.rego": module, "who.rego": lib, ".manifest": `{"revision":"r1","roots":["regate"]}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{dir}})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// document is an UPDATE by somebody, changed as said: "action.verb", value, ….
func document(t *testing.T, changes ...any) []byte {
	t.Helper()
	doc := map[string]any{
		"schema": "regate.input/v1", "protocol": "postgres", "stage": "request", "time": "2026-11-23T09:00:00Z", "complete": true,
		"subject":  map[string]any{"id": "alice", "groups": []any{"writers"}},
		"action":   map[string]any{"verb": "update", "has_where": true, "opaque": false, "writes": true, "limit": nil},
		"resource": map[string]any{"table_names": []any{"public.orders"}},
		"target":   map[string]any{"name": "shop", "labels": map[string]any{"env": "dev"}},
		"session":  map[string]any{"usage": map[string]any{"rows": 10}},
		"sql":      map[string]any{"text": "UPDATE orders SET pin = 'hunter2'"},
		"enforcer": map[string]any{"obligations": []any{"mask", "limit", "require_approval", "record"}}, "approvals": []any{},
	}
	for i := 0; i < len(changes); i += 2 {
		at := doc
		keys := strings.Split(changes[i].(string), ".")
		for _, key := range keys[:len(keys)-1] {
			at = at[key].(map[string]any)
		}
		at[keys[len(keys)-1]] = changes[i+1]
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func explain(t *testing.T, o Options) *Explanation {
	t.Helper()
	e, err := Explain(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Every change that is told is true: made by hand it gives what it says.
	for _, c := range e.Changes {
		var doc map[string]any
		if err := json.Unmarshal(o.Input, &doc); err != nil {
			t.Fatal(err)
		}
		at := doc
		keys := strings.Split(strings.TrimPrefix(c.Path, "input."), ".")
		for _, key := range keys[:len(keys)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				t.Fatalf("%s: no object at %s", c.Path, key)
			}
			at = next
		}
		var to any
		if err := json.Unmarshal(c.To, &to); err != nil {
			t.Fatal(err)
		}
		at[keys[len(keys)-1]] = to
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		r, err := o.Set.Evaluate(t.Context(), raw)
		if err != nil || r.Effect != c.Effect || r.Effect == e.Effect {
			t.Errorf("%s to %s: %v, told %s, was %s (%v)", c.Path, c.To, r.Effect, c.Effect, e.Effect, err)
		}
	}
	return e
}

func changes(e *Explanation) string {
	var out []string
	for _, c := range e.Changes {
		out = append(out, fmt.Sprintf("%s %s→%s %s %s", c.Path, c.From, c.To, c.Effect, strings.Join(c.Reasons, ",")))
	}
	return strings.Join(out, "\n")
}

func ids(rules []Rule) string {
	var out []string
	for _, r := range rules {
		out = append(out, r.Entry+" "+strings.Join(r.IDs, ","))
	}
	return strings.Join(out, "; ")
}

func TestDeniedByARule(t *testing.T) {
	e := explain(t, Options{Set: set(t, shop), Input: document(t, "action.has_where", false)})
	if e.Effect != policy.Deny || ids(e.Fired) != "deny acme.shop/no-where; allow acme.shop/write" {
		t.Errorf("%s, fired %s", e.Effect, ids(e.Fired))
	}
	for _, want := range []string{"input.action.has_where false→true allow acme.shop/write"} {
		if !strings.Contains(changes(e), want) {
			t.Errorf("no %q in\n%s", want, changes(e))
		}
	}
}

func TestDeniedForWantOfAnAllow(t *testing.T) {
	e := explain(t, Options{Set: set(t, shop), Input: document(t, "subject.groups", []any{"guests"})})
	if e.Effect != policy.Deny || e.Reasons[0].ID != policy.ReasonNoAllow || len(e.Fired) != 0 {
		t.Fatalf("%s %v, fired %s", e.Effect, e.Reasons, ids(e.Fired))
	}
	var write *Rule
	for i := range e.Near {
		if slices.Contains(e.Near[i].IDs, "acme.shop/write") {
			write = &e.Near[i]
		}
	}
	if write == nil || len(write.Failing) != 1 {
		t.Fatalf("near %+v", e.Near)
	}
	c := write.Failing[0]
	if c.Text != `who.in_any(["writers"])` || c.Line != 14 || filepath.Base(c.File) != "shop.rego" || len(c.Inside) == 0 {
		t.Errorf("condition %+v", c)
	}
	inside := c.Inside[0]
	if inside.Text != "group in input.subject.groups" || filepath.Base(inside.File) != "who.rego" || len(inside.Values) == 0 || string(inside.Values[0].Value) != `["guests"]` {
		t.Errorf("inside %+v", inside)
	}
	if want := `input.subject.groups ["guests"]→["guests","writers"] allow acme.shop/write`; !strings.Contains(changes(e), want) {
		t.Errorf("no %q in\n%s", want, changes(e))
	}
}

// A condition that needs what a failing one would bind is not guessed at; one
// that does not is looked at.
func TestConditionsThatNeedOthers(t *testing.T) {
	e := explain(t, Options{Set: set(t, shop), Input: document(t, "resource.table_names", []any{}, "action.verb", "drop"), MaxNear: 10})
	for _, r := range e.Near {
		if r.Entry == "deny" && r.Line == 24 {
			if len(r.Failing) != 1 || r.NotReached != 1 || len(r.IDs) != 0 {
				t.Errorf("secret %+v", r)
			}
		}
		if slices.Contains(r.IDs, "acme.shop/write") {
			if len(r.Failing) != 1 || !strings.HasPrefix(r.Failing[0].Text, "verb in ") || len(r.Failing[0].Values) == 0 || string(r.Failing[0].Values[0].Value) != `"drop"` {
				t.Errorf("write %+v", r.Failing)
			}
		}
	}
}

func TestHeldAndItsWayOut(t *testing.T) {
	e := explain(t, Options{Set: set(t, shop), Input: document(t, "target.labels.env", "prod")})
	if e.Effect != policy.RequireApproval {
		t.Fatal(e.Effect)
	}
	if want := "input.action.writes true→false allow acme.shop/write"; !strings.Contains(changes(e), want) {
		t.Errorf("no %q in\n%s", want, changes(e))
	}
}

func TestAllowedAndWhatWouldHaveRefused(t *testing.T) {
	e := explain(t, Options{Set: set(t, shop), Input: document(t), MaxChanges: 50})
	if e.Effect != policy.Allow || ids(e.Fired) != "allow acme.shop/write" {
		t.Fatalf("%s, fired %s", e.Effect, ids(e.Fired))
	}
	all := changes(e)
	for _, want := range []string{
		"input.action.has_where true→false deny acme.shop/no-where",
		`input.subject.groups ["writers"]→[] deny engine/no-allow`,
		`input.target.labels.env "dev"→"prod" require_approval acme.shop/prod`,
		"input.action.opaque false→true deny engine/no-allow",
	} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
	if strings.Contains(all, "hunter2") {
		t.Error("the text of the statement is told although no rule reads it")
	}
	near := e.Near[0]
	if len(near.Failing) != 1 {
		t.Errorf("near %+v", near)
	}
}

// The bundle at hand is held against the one that decided.
func TestAnotherBundle(t *testing.T) {
	s := set(t, shop)
	var ref policy.BundleRef
	for _, r := range s.Bundles() {
		ref = r
	}
	e := explain(t, Options{Set: s, Input: document(t), Recorded: &Recorded{Effect: "allow", Bundles: map[string]policy.BundleRef{"main": ref}}})
	if len(e.Warnings) != 0 || len(e.Bundles) != 1 || !e.Bundles[0].Same {
		t.Errorf("%v %+v", e.Warnings, e.Bundles)
	}
	e = explain(t, Options{Set: s, Input: document(t), Recorded: &Recorded{Effect: "deny", Bundles: map[string]policy.BundleRef{"main": {Revision: "r0", Digest: "sha256:00"}}}})
	all := strings.Join(e.Warnings, "\n")
	for _, want := range []string{"bundle main (r0) decided and is not at hand", "is at hand and did not decide", "recorded was deny, the policies at hand say allow"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in\n%s", want, all)
		}
	}
}

// Bad inputs are answered, and nothing runs without bounds.
func TestBounds(t *testing.T) {
	s := set(t, shop)
	for _, bad := range []string{"", "[]", "{", `"x"`} {
		if _, err := Explain(t.Context(), Options{Set: s, Input: []byte(bad)}); err == nil {
			t.Errorf("%q is explained", bad)
		}
	}
	e := explain(t, Options{Set: s, Input: []byte("{}")})
	if e.Effect != policy.Deny {
		t.Error(e.Effect)
	}
	e = explain(t, Options{Set: s, Input: document(t), MaxTries: 3})
	if e.Tried != 3 || e.Exhausted {
		t.Errorf("tried %d, exhausted %v", e.Tried, e.Exhausted)
	}
	groups := make([]any, 50_000)
	for i := range groups {
		groups[i] = fmt.Sprint("group-", i)
	}
	e = explain(t, Options{Set: s, Input: document(t, "subject.groups", groups), MaxTries: 50})
	raw, err := json.Marshal(e)
	if err != nil || len(raw) > 100_000 {
		t.Errorf("%d bytes, %v", len(raw), err)
	}
}

// A built-in function that fails is told, and is no condition that holds.
func TestBuiltinErrors(t *testing.T) {
	s := set(t, strings.Replace(shop, "input.complete\n", "to_number(input.subject.id) > 1\n", 1))
	e := explain(t, Options{Set: s, Input: document(t, "action.verb", "select", "subject.groups", []any{"ops"})})
	if e.Effect != policy.Deny || len(e.Errors) == 0 {
		t.Errorf("%s %v", e.Effect, e.Errors)
	}
	if !slices.ContainsFunc(e.Near, func(r Rule) bool { return strings.Contains(r.Failing[0].Error, "to_number") }) {
		t.Errorf("near %+v", e.Near)
	}
}
