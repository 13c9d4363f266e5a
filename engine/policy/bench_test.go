package policy

import (
	"fmt"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/input"
)

// fresh copies the parts that differ from request to request, so that a
// benchmark pays for making their terms and digests.
func freshParts(d *input.Document) *input.Document {
	out := *d
	out.Action = input.NewPart(d.Action.Value())
	out.Resource = input.NewPart(d.Resource.Value())
	out.Detail = input.NewPart(d.Detail.Value())
	out.Parameters = input.NewPart(d.Parameters.Value())
	return &out
}

func BenchmarkEvaluate(b *testing.B) {
	demo := newEngine(b, demoConfig(b))
	off := demoConfig(b)
	off.Cache.Disabled = true
	demoOff := newEngine(b, off)
	ten := policyEngine(b, rules(0), func(c *Config) { c.Cache.Disabled = true })
	many := policyEngine(b, rules(290), func(c *Config) { c.Cache.Disabled = true })
	doc := selectDoc()
	for _, c := range []struct {
		name   string
		engine *Engine
		doc    func() *input.Document
	}{
		{"demo/cached", demo, func() *input.Document { return doc }},
		{"demo/cached-fresh-parts", demo, func() *input.Document { return freshParts(doc) }},
		{"demo/uncached", demoOff, func() *input.Document { return doc }},
		{"demo/uncached-fresh-parts", demoOff, func() *input.Document { return freshParts(doc) }},
		{"10rules/uncached", ten, func() *input.Document { return doc }},
		{"10rules/uncached-fresh-parts", ten, func() *input.Document { return freshParts(doc) }},
		{"300rules/uncached", many, func() *input.Document { return doc }},
	} {
		b.Run(c.name, func(b *testing.B) {
			if r := c.engine.Evaluate(b.Context(), c.doc()); r.Effect != Allow {
				b.Fatal(show(r))
			}
			b.ReportAllocs()
			for b.Loop() {
				c.engine.Evaluate(b.Context(), c.doc())
			}
		})
	}
}

// rules is a policy of ten rules in the contract's form, and more denials of
// one shape that the rule index takes.
func rules(more int) string {
	var s strings.Builder
	s.WriteString(`
allow contains {"id": "t.p/read"} if {
	input.action.verb == "select"
	"analysts" in input.subject.groups
}
allow contains {"id": "t.p/write"} if {
	input.action.writes
	"writers" in input.subject.groups
}
deny contains {"id": "t.p/drop"} if input.action.verb == "drop"
deny contains {"id": "t.p/where"} if {
	input.action.verb in {"update", "delete"}
	input.action.has_where == false
}
deny contains {"id": "t.p/opaque"} if input.action.opaque
deny contains {"id": "t.p/incomplete"} if input.complete == false
require_approval contains {"id": "t.p/prod", "from": ["group:dba"]} if {
	input.target.labels.env == "prod"
	input.action.writes
}
mask contains {"id": "t.p/email", "field": "public.customers.email", "method": "partial"} if true
mask contains {"id": "t.p/card", "detect": "credit_card", "method": "redact"} if true
limit contains {"id": "t.p/rows", "rows": 1000} if input.action.verb == "select"
`)
	for i := range more {
		fmt.Fprintf(&s, "deny contains {\"id\": \"t.p/team-%d\"} if input.target.labels.team == \"team-%d\"\n", i, i)
	}
	return s.String()
}
