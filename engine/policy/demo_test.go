package policy

import (
	"testing"

	"github.com/regate-dev/regate/engine/input"
)

func demoConfig(t testing.TB) Config {
	t.Helper()
	var paths []string
	for _, p := range []string{"lib", "postgres/complete", "postgres/where_required", "postgres/no_destructive_ddl", "postgres/pii_masks", "postgres/masked_copies", "postgres/row_limits", "postgres/prod_writes"} {
		paths = append(paths, repo+"/policies/"+p)
	}
	return Config{Bundles: []Bundle{{Name: "demo", Paths: append(paths, repo+"/bundles/demo")}}}
}

func sqlAction(a input.SQLAction) func(*input.Document) {
	return func(d *input.Document) { d.Action = input.NewPart(a) }
}

func TestDemoBundle(t *testing.T) {
	e := newEngine(t, demoConfig(t))
	doc := selectDoc()

	connect := with(doc, func(d *input.Document) {
		d.Stage = input.StageSession
		d.Action = input.NewPart(input.SQLAction{Verb: "connect", Verbs: []string{"connect"}})
		d.Detail = nil
	})
	expect(t, e.Evaluate(t.Context(), connect), Allow, "acme.shop/connect")

	read := e.Evaluate(t.Context(), doc)
	expect(t, read, Allow, "acme.shop/read")
	masks := map[string]Mask{}
	for _, m := range read.Masks {
		masks[m.ID] = m
	}
	if m := masks["mask/field/public.customers.email"]; m.Method != "partial" || m.KeepFirst != 1 || !m.KeepDomain {
		t.Errorf("e-mail mask: %+v", m)
	}
	if m := masks["mask/detect/credit_card"]; m.Method != "partial" || m.Keep != 4 {
		t.Errorf("card mask: %+v", m)
	}
	if read.Limit.Rows != 100_000 {
		t.Errorf("limit %+v", read.Limit)
	}

	yes, no := true, false
	drop := with(doc, sqlAction(input.SQLAction{Verb: "drop", Verbs: []string{"drop"}, Writes: true, DDL: true}))
	expect(t, e.Evaluate(t.Context(), drop), Deny, "acme.shop/drop regate.sql_no_destructive_ddl/destroys")

	update := with(doc, sqlAction(input.SQLAction{Verb: "update", Verbs: []string{"update"}, Writes: true, HasWhere: &yes, WhereConstant: &no}))
	held := e.Evaluate(t.Context(), update)
	expect(t, held, RequireApproval, "regate.sql_prod_writes/approve")
	if held.Approvals[0].Met || held.Approvals[0].From[0] != "group:dba" {
		t.Errorf("requirement %+v", held.Approvals[0])
	}
	approved := with(update, func(d *input.Document) {
		d.Approvals = []input.Approval{{ID: "a", By: input.Approver{ID: "bob", Groups: []string{"dba"}}, At: "2026-11-23T08:59:00Z", ExpiresAt: "2026-11-23T09:10:00Z"}}
	})
	expect(t, e.Evaluate(t.Context(), approved), Allow, "acme.shop/change-rows")
	expect(t, e.Evaluate(t.Context(), update), RequireApproval, "regate.sql_prod_writes/approve")

	copied := with(update, func(d *input.Document) {
		d.Detail = input.NewPart(input.SQL{Statement: input.SQLStatement{Flows: []input.SQLFlow{{To: "public.notes.body", From: []string{"public.customers.card"}}}}})
	})
	expect(t, e.Evaluate(t.Context(), copied), Deny, "regate.sql_masked_copies/copy")

	all := with(doc, sqlAction(input.SQLAction{Verb: "delete", Verbs: []string{"delete"}, Writes: true, HasWhere: &no}))
	expect(t, e.Evaluate(t.Context(), all), Deny, "regate.sql_where_required/missing")
}
