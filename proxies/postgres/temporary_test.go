package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A temporary table can be used as soon as it is there, under a policy that
// denies what is not known.
func TestTemporaryTablesAreKnown(t *testing.T) {
	g := start(t)
	r := g.raw("agent-1")
	for _, sql := range []string{
		"CREATE TEMP TABLE x (a text)", "INSERT INTO x VALUES ('a')", "INSERT INTO x SELECT name FROM customers", "SELECT a FROM x",
		"BEGIN", "CREATE TEMP TABLE y AS SELECT id FROM customers", "INSERT INTO y VALUES (9)", "COMMIT", "SELECT id FROM y",
	} {
		if got := r.do(simple(sql)); mentions(got, "error") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	if got := r.do(simple("SELECT a FROM x WHERE a = 'Ann'")); !mentions(got, `row "Ann"`) {
		t.Errorf("what is not masked is withheld: %q", got)
	}
}

// Masks follow values into temporary tables, whatever way they take.
func TestMasksFollowIntoTemporaryTables(t *testing.T) {
	const fill = "INSERT INTO x SELECT email FROM customers"
	for name, steps := range map[string][][]pgproto3.FrontendMessage{
		"filled later":    {{simple("CREATE TEMP TABLE x (a text)")}, {simple("SET work_mem = '4MB'")}, {simple(fill)}},
		"updated":         {{simple("CREATE TEMP TABLE x AS SELECT 'k'::text AS a")}, {simple("UPDATE x SET a = (SELECT email FROM customers WHERE id = 1)")}},
		"in one query":    {{simple("CREATE TEMP TABLE x (a text)")}, {simple(fill + "; SELECT a FROM x")}},
		"in one pipeline": {{simple("CREATE TEMP TABLE x (a text)")}, all(run(fill), run("SELECT a FROM x"), sync_)},
		"prepared":        {{simple("CREATE TEMP TABLE x (a text)")}, {simple("PREPARE p AS " + fill)}, {simple("EXECUTE p")}},
		"prepared, one query": {{simple("CREATE TEMP TABLE x (a text)")}, {simple("PREPARE p AS " + fill)},
			{simple("EXECUTE p; SELECT a FROM x")}},
		"explained": {{simple("CREATE TEMP TABLE x (a text)")}, {simple("EXPLAIN ANALYZE " + fill)}},
		"by code":   {{simple("CREATE TEMP TABLE x (a text)")}, {simple("SELECT 1 FROM x")}, {simple("DO $$ BEGIN " + fill + "; END $$")}},
		"from another": {{simple("CREATE TEMP TABLE x (a text)")}, {simple("CREATE TEMP TABLE w AS SELECT email AS e FROM customers")},
			{simple("INSERT INTO x SELECT reverse(reverse(e)) FROM w")}},
		"in a transaction": {{simple("BEGIN")}, {simple("CREATE TEMP TABLE x (a text)")}, {simple(fill)}, {simple("SELECT a FROM x")}, {simple("COMMIT")}},
		"came back": {{simple("CREATE TEMP TABLE x AS SELECT email AS a FROM customers")}, {simple("BEGIN")}, {simple("DROP TABLE x")},
			{simple("CREATE TEMP TABLE x AS SELECT 'k'::text AS a")}, {simple("SELECT a FROM x")}, {simple("ROLLBACK")}},
		"came back after a failure": {{simple("CREATE TEMP TABLE x AS SELECT email AS a FROM customers")},
			{simple("DROP TABLE x; CREATE TEMP TABLE x AS SELECT 'k'::text AS a; SELECT 1/0")}},
		"came back to a savepoint": {{simple("BEGIN")}, {simple("CREATE TEMP TABLE x AS SELECT email AS a FROM customers")}, {simple("SAVEPOINT s")}, {simple("DROP TABLE x")},
			{simple("CREATE TEMP TABLE x AS SELECT 'k'::text AS a")}, {simple("ROLLBACK TO s")}, {simple("SELECT a FROM x")}, {simple("COMMIT")}},
		"by a rule": {{simple("CREATE TEMP TABLE x (a text)")}, {simple("CREATE TEMP TABLE w (a int)")},
			{simple("CREATE RULE r AS ON INSERT TO w DO ALSO " + fill)}, {simple("INSERT INTO w VALUES (1)")}},
	} {
		t.Run(name, func(t *testing.T) {
			g := start(t, withPolicy(masked))
			r := g.raw("agent-1")
			for _, messages := range append(steps, []pgproto3.FrontendMessage{simple("SELECT a FROM x")}, all(run("SELECT a FROM x"), sync_)) {
				if got := r.do(messages...); mentions(got, "example.com") {
					t.Errorf("%q", got)
				}
			}
			if got := r.do(simple("SELECT count(*) > 0 FROM x")); !mentions(got, "row ") {
				t.Errorf("nothing was put there: %q", got)
			}
		})
	}
}
