package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A view that is made anew, in whatever way, shows what its new text reaches:
// masks follow that, also before the transaction has ended.
func TestRedefinedViewIsMasked(t *testing.T) {
	const redefine = "CREATE OR REPLACE VIEW names AS SELECT id, email AS name FROM customers"
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"in a transaction":           {simple("BEGIN"), simple(redefine), simple("SELECT name FROM names"), simple("COMMIT")},
		"in one query":               {simple(redefine + "; SELECT name FROM names")},
		"in a pipeline":              all(run(redefine), run("SELECT name FROM names"), sync_),
		"prepared before":            all(parse("s", "SELECT name FROM names"), sync_, run(redefine), bind("", "s"), execute("", 0), sync_),
		"after its end":              {simple(redefine), simple("SELECT name FROM names")},
		"copied":                     {simple("BEGIN"), simple(redefine), simple("COPY (SELECT name FROM names) TO STDOUT"), simple("COMMIT")},
		"by DO":                      {simple("DO $$ BEGIN EXECUTE '" + redefine + "'; END $$"), simple("SELECT name FROM names")},
		"by DO, in a transaction":    {simple("BEGIN"), simple("DO $$ BEGIN EXECUTE '" + redefine + "'; END $$"), simple("SELECT name FROM names"), simple("COMMIT")},
		"by a function":              {simple("SELECT redefine()"), simple("SELECT name FROM names")},
		"by a function, transaction": {simple("BEGIN"), simple("SELECT redefine()"), simple("SELECT name FROM names"), simple("COMMIT")},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, withPolicy(masked))
			g.owner(`CREATE VIEW names AS SELECT id, name FROM customers;
CREATE FUNCTION redefine() RETURNS void LANGUAGE plpgsql AS $f$ BEGIN EXECUTE '` + redefine + `'; END $f$`)
			r := g.raw("agent-1")
			if got := r.do(simple("SELECT name FROM names")); !mentions(got, "Ann") {
				t.Fatalf("%q", got)
			}
			got := r.do(messages...)
			if mentions(got, "ann@example.com") || !mentions(got, "[REDACTED]") && !mentions(got, `copydata "\\N`) {
				t.Errorf("%q", got)
			}
		})
	}
}
