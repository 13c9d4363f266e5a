package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// rulesText is a policy of at least ten rules in the contract's form. The rest
// are denials by team, of the shape that OPA's rule index takes.
func rulesText(rules int) string {
	var s strings.Builder
	s.WriteString(`# METADATA
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres]}
package regate.policies.bench.rules

allow contains {"id": "bench/read"} if {
	input.action.verb == "select"
	"analysts" in input.subject.groups
}

allow contains {"id": "bench/write"} if {
	input.action.writes
	"writers" in input.subject.groups
}

deny contains {"id": "bench/drop"} if input.action.verb == "drop"

deny contains {"id": "bench/where"} if {
	input.action.verb in {"update", "delete"}
	input.action.has_where == false
}

deny contains {"id": "bench/opaque"} if input.action.opaque

deny contains {"id": "bench/incomplete"} if input.complete == false

require_approval contains {"id": "bench/prod", "from": ["group:dba"]} if {
	input.target.labels.env == "prod"
	input.action.writes
}

mask contains {"id": "bench/email", "field": "public.customers.email", "method": "partial"} if true

mask contains {"id": "bench/card", "detect": "credit_card", "method": "redact"} if true

limit contains {"id": "bench/rows", "rows": 1000} if input.action.verb == "select"
`)
	for i := range max(0, rules-10) {
		fmt.Fprintf(&s, "\ndeny contains {\"id\": \"bench/team-%d\"} if input.target.labels.team == \"team-%d\"\n", i, i)
	}
	return s.String()
}

// referenceDocument is what the gateway makes of an analyst's SELECT that joins
// two tables.
func referenceDocument() *input.Document {
	yes, bound := true, "100"
	principal := func(id string, groups ...string) *input.Part {
		return input.NewPart(input.Principal{
			ID: id, Issuer: "https://issuer.example", ClientID: "agent", Groups: groups, Scopes: []string{"sql"},
			Claims:    map[string]any{"sub": id, "iss": "https://issuer.example", "aud": []any{"regate"}, "exp": 1763892000.0, "jti": "t-1", "groups": []any{"analysts", "staff"}},
			ExpiresAt: "2026-11-23T10:00:00Z",
		})
	}
	return &input.Document{
		Protocol: input.Postgres, Stage: input.StageRequest, Time: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC),
		Request: input.Request{ID: "01J", Digest: "sha256:11"},
		Subject: principal("alice", "analysts", "staff"), Actor: principal("agent-7", "agents"), Asserted: input.NewPart(input.Asserted{Purpose: "report"}),
		Session: input.Session{ID: "s-1", StartedAt: "2026-11-23T08:59:00Z", Client: input.Client{Address: "10.0.0.7:41234", Application: "psql", TLS: true}, Labels: []string{}},
		Target:  input.NewPart(input.Target{Name: "shop", Protocol: input.Postgres, Labels: map[string]string{"env": "prod", "team": "shop"}, Database: "shop", Role: "regate", Version: "17.2"}),
		Action:  input.NewPart(input.SQLAction{Verb: "select", Verbs: []string{"select"}, HasWhere: &yes}),
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
		Enforcer: input.NewPart(input.Enforcer{Obligations: []string{"mask", "limit", "require_approval", "record"}}),
		Detail: input.NewPart(input.SQL{
			Text: "select name, email, card, count(*) from customers join orders on customers.id = customer_id where total > $1", Command: "select", Fingerprint: "a0b1c2",
			Batch: input.SQLBatch{Size: 1}, Mode: "extended", SearchPath: []string{"public"},
			Statement: input.SQLStatement{PredicateColumns: []string{"public.customers.id", "public.orders.customer_id", "public.orders.total"}, WrittenColumns: []string{}, Flows: []input.SQLFlow{}, Objects: []string{}},
		}),
		Parameters: input.NewPart([]input.Parameter{{Index: 1, Type: "int8", Value: &bound, Encoding: "text"}}),
	}
}
