package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// Elements that do not have the contract's shape. Each denies with
// engine/error, whatever else is allowed, and the error names the rule.
func TestMalformedElementsDeny(t *testing.T) {
	for _, c := range []struct{ name, body, want string }{
		{"allow is a string", `allow := "yes"`, "allow is string, want a set"},
		{"allow of strings", `allow contains "yes" if true`, "want an object"},
		{"number in deny", `deny contains 3 if true`, "want an object"},
		{"no id", `deny contains {"msg": "x"} if true`, "id is missing"},
		{"empty id", `deny contains {"id": ""} if true`, "id is missing"},
		{"id with a space", `deny contains {"id": "a b"} if true`, "space or control"},
		{"id of another type", `deny contains {"id": 3} if true`, "id is number"},
		{"id of the engine", `deny contains {"id": "engine/no-allow"} if true`, "gateway's own"},
		{"unknown key", `deny contains {"id": "a", "message": "x"} if true`, `unknown key "message"`},
		{"key of another entry", `deny contains {"id": "a", "rows": 3} if true`, "do not belong together"},
		{"msg of another type", `deny contains {"id": "a", "msg": ["x"]} if true`, "msg is array"},
		{"severity", `deny contains {"id": "a", "severity": "hihg"} if true`, `"hihg" is not one of`},
		{"text too long", `deny contains {"id": "a", "msg": concat("", [x | some i in numbers.range(1, 2001); x := "x"])} if true`, "bytes of text"},
		{"mask without method", `mask contains {"id": "a", "field": "s.t.c"} if true`, "method is missing"},
		{"mask with a bad method", `mask contains {"id": "a", "field": "s.t.c", "method": "hide"} if true`, `"hide" is not one of`},
		{"mask of nothing", `mask contains {"id": "a", "method": "null"} if true`, "exactly one of field and detect"},
		{"mask of both", `mask contains {"id": "a", "method": "null", "field": "s.t.c", "detect": "email"} if true`, "exactly one of field and detect"},
		{"mask with a short field", `mask contains {"id": "a", "method": "null", "field": "t.c"} if true`, "schema.table.column"},
		{"mask with a pattern", `mask contains {"id": "a", "method": "null", "field": "s.t.*"} if true`, "patterns are not supported"},
		{"mask with an unknown kind", `mask contains {"id": "a", "method": "null", "detect": "emial"} if true`, `"emial" is not known`},
		{"keep without partial", `mask contains {"id": "a", "method": "hash", "field": "s.t.c", "keep": 4} if true`, "do not belong together"},
		{"negative keep", `mask contains {"id": "a", "method": "partial", "field": "s.t.c", "keep": -1} if true`, "whole number"},
		{"keep is a string", `mask contains {"id": "a", "method": "partial", "field": "s.t.c", "keep": "4"} if true`, "keep is string"},
		{"keep_domain is a string", `mask contains {"id": "a", "method": "partial", "field": "s.t.c", "keep_domain": "yes"} if true`, "keep_domain is string"},
		{"limit of nothing", `limit contains {"id": "a"} if true`, "none of rows, bytes and seconds"},
		{"limit of zero rows", `limit contains {"id": "a", "rows": 0} if true`, "whole number"},
		{"limit of half a row", `limit contains {"id": "a", "rows": 1.5} if true`, "whole number"},
		{"limit of no time", `limit contains {"id": "a", "seconds": 0} if true`, "number of seconds"},
		{"approval from nobody", `require_approval contains {"id": "a"} if true`, "from is missing"},
		{"approval from an empty list", `require_approval contains {"id": "a", "from": []} if true`, "nobody could approve"},
		{"approval from a bare name", `require_approval contains {"id": "a", "from": ["dba"]} if true`, `"dba" is not`},
		{"approval from a string", `require_approval contains {"id": "a", "from": "group:dba"} if true`, "from is string"},
		{"approval by none", `require_approval contains {"id": "a", "from": ["any"], "count": 0} if true`, "whole number"},
		{"ttl that cannot be read", `require_approval contains {"id": "a", "from": ["any"], "ttl": "15 minutes"} if true`, "is not a duration"},
		{"negative wait", `require_approval contains {"id": "a", "from": ["any"], "wait": "-1s"} if true`, "is not a duration"},
		{"unknown level", `record contains {"id": "a", "level": "none"} if true`, `"none" is not one of`},
		{"no level", `record contains {"id": "a"} if true`, "level is missing"},
		{"built-in error", `deny contains {"id": "a"} if to_number(input.subject.id) > 1`, "to_number"},
		{"division by zero", `limit contains {"id": "a", "rows": x} if x := 1 / input.session.usage.denials`, "divide by zero"},
		{"conflict", "deny contains {\"id\": \"a\"} if f(1) == 1\nf(x) := 1 if x == 1\nf(x) := 2 if x > 0", "conflict"},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := c.body
			if !strings.HasPrefix(body, "allow") {
				body += "\nallow contains {\"id\": \"t.p/all\"} if true"
			}
			e := policyEngine(t, body, func(c *Config) { c.DetectKinds = []string{"email", "iban"} })
			r := e.Evaluate(t.Context(), selectDoc())
			expect(t, r, Deny, "engine/error")
			if len(r.Errors) != 1 || !strings.Contains(r.Errors[0], c.want) {
				t.Errorf("errors %q, want %q", r.Errors, c.want)
			}
			if !strings.Contains(c.name, "error") && !strings.Contains(c.name, "zero") && c.name != "conflict" && !strings.Contains(r.Errors[0], "data.regate.policies.t.p.") {
				t.Errorf("errors %q do not name the rule", r.Errors)
			}
			if len(r.Obligations) > 0 || len(r.Masks) > 0 {
				t.Error("obligations on an error")
			}
			if again := e.Evaluate(t.Context(), selectDoc()); again == r {
				t.Error("an error was cached")
			}
		})
	}
}

func TestWellFormedElements(t *testing.T) {
	e := policyEngine(t, `
allow if input.action.verb == "select"
deny contains "plain text" if input.action.verb == "drop"
mask contains {"id": "a", "field": "s.t.c", "method": "partial", "keep": 4, "msg": "x"} if true
mask contains {"id": "b", "detect": "email", "method": "partial", "keep_first": 1, "keep_domain": true} if true
limit contains {"id": "c", "rows": 10, "bytes": 20, "seconds": 1.5} if true
record contains {"id": "d", "level": "sealed"} if true
require_approval contains {"id": "e", "from": {"group:dba", "subject:bob"}, "msg": "ask"} if input.action.opaque
`)
	r := e.Evaluate(t.Context(), selectDoc())
	expect(t, r, Allow, "regate.policies.t.p.allow")
	if r.Limit != (Limit{10, 20, 1.5}) || r.Record != RecordSealed || len(r.Masks) != 2 {
		t.Errorf("%+v", r)
	}
	var body map[string]any
	if err := json.Unmarshal(r.JSON(), &body); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"effect", "reasons", "obligations", "policy", "errors"} {
		if body[key] == nil {
			t.Errorf("decision has no %s: %s", key, r.JSON())
		}
	}

	drop := with(selectDoc(), sqlAction(input.SQLAction{Verb: "drop"}))
	expect(t, e.Evaluate(t.Context(), drop), Deny, "regate.policies.t.p.deny")

	held := e.Evaluate(t.Context(), with(selectDoc(), sqlAction(input.SQLAction{Verb: "select", Opaque: true})))
	expect(t, held, RequireApproval, "e")
	if q := held.Approvals[0]; q.Count != 1 || q.TTL != 15*time.Minute || q.Wait != time.Minute || strings.Join(q.From, " ") != "group:dba subject:bob" {
		t.Errorf("%+v", q)
	}
}

// Whatever comes out of an evaluation either is refused or has the shape that
// the rest of the gateway relies on.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{"id": "a", "msg": "x", "severity": "low", "hint": "h"}`, `"text"`, `{"id": "a", "from": ["group:x"], "count": 2, "ttl": "1m", "wait": "0s"}`,
		`{"id": "a", "field": "a.b.c", "method": "partial", "keep": 1}`, `{"id": "a", "rows": 1, "seconds": 0.5}`, `{"id": "a", "level": "sealed"}`, `[1]`, `{"id": "\u0000"}`,
	} {
		for e := range uint8(entryCount) {
			f.Add(e, s)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, text string) {
		value, err := ast.ValueFromReader(strings.NewReader(text))
		if err != nil {
			return
		}
		d := decoder{protocol: input.Postgres, detectKinds: []string{"email"}}
		out := elements{pkg: "t.p", owner: "t", allowCounts: true}
		e := entry(which % uint8(entryCount))
		if d.entry(&out, e, ast.NewSet(ast.NewTerm(value))) != nil {
			return
		}
		n := len(out.allow) + len(out.deny) + len(out.require) + len(out.masks) + len(out.limits) + len(out.record)
		if n != 1 {
			t.Fatalf("one element gave %d", n)
		}
		for _, r := range append(out.allow, out.deny...) {
			if r.ID == "" || strings.HasPrefix(r.ID, "engine/") {
				t.Fatalf("reason %+v", r)
			}
		}
		for _, q := range out.require {
			if q.ID == "" || q.Count < 1 || len(q.From) == 0 || q.TTL <= 0 || q.Wait < 0 {
				t.Fatalf("requirement %+v", q)
			}
		}
		for _, m := range out.masks {
			if maskStrength[m.Method] == 0 || (m.Field == "") == (m.Detect == "") || m.Keep < 0 || m.KeepFirst < 0 {
				t.Fatalf("mask %+v", m)
			}
		}
		for _, l := range out.limits {
			if l.limit == (Limit{}) || l.limit.Rows < 0 || l.limit.Bytes < 0 || l.limit.Seconds < 0 {
				t.Fatalf("limit %+v", l)
			}
		}
		combine(facts{stage: input.StageRequest, supported: everything}, []elements{out}).JSON()
	})
}
