package postgres_test

import "testing"

// A transaction that changes tables does not keep the catalogue from being
// read, neither for others nor for the one whose transaction it is.
func TestCatalogueBesideDDL(t *testing.T) {
	g := start(t, withPolicy(masked), func(s *settings) { s.catalogAge = 1 })
	changing, other := g.raw("agent-1"), g.raw("agent-2")
	changing.do(simple("BEGIN"), simple("ALTER TABLE customers ADD COLUMN more int"))
	for name, r := range map[string]*raw{"its own": changing, "another": other} {
		if got := r.do(simple("SELECT memo FROM orders WHERE id = 11"), simple("SELECT 1")); !mentions(got, `row "`) || mentions(got, "error") {
			t.Errorf("%s: %q", name, got)
		}
	}
	changing.do(simple("COMMIT"))
	if got := other.do(simple("SELECT contact, 1 FROM contacts")); !mentions(got, "row") || mentions(got, "example.com") {
		t.Errorf("%q", got)
	}
}
