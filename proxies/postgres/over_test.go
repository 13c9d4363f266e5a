package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A statement that went over a limit has failed, for the agent and for what
// follows it, even where the target had completed it.
func TestOverALimitFails(t *testing.T) {
	g := start(t, withPolicy(permissive+`
limit contains {"id": "test/rows", "rows": 10} if true
`))
	r := g.raw("agent-1")
	const over, insert = "SELECT generate_series(1, 11)", "INSERT INTO orders VALUES (70, 1, 1, '')"
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"simple":    {simple("BEGIN; " + insert), simple(over)},
		"extended":  all(run("BEGIN"), run(insert), sync_, run(over), sync_),
		"returning": {simple("BEGIN; " + insert), simple("INSERT INTO orders SELECT i, 1, 1, '' FROM generate_series(100, 200) i RETURNING id")},
		"suspended": all(simple("BEGIN; "+insert), parse("", over), bind("p", ""), execute("p", 6), execute("p", 6), sync_),
	} {
		if got := r.do(messages...); !mentions(got, "limit/rows") || got[len(got)-1] != "ready E" || mentions(got, "EXECUTE") || mentions(got, "prepared") {
			t.Errorf("%s: %q", name, got)
		}
		if got := r.do(simple("SELECT 1")); !mentions(got, "25P02") {
			t.Errorf("%s, afterwards: %q", name, got)
		}
		if got := r.do(simple("COMMIT")); !mentions(got, "complete ROLLBACK") {
			t.Errorf("%s: %q", name, got)
		}
	}
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"pipeline":   all(run(over), run(insert), sync_),
		"and reads":  all(run("SELECT 1"), run(over), run("SELECT 2"), run(insert), run("SELECT 33"), sync_),
		"many":       all(run("SELECT generate_series(1, 100000)"), run(insert), run(insert), sync_),
		"with flush": all(run(over), run(insert), &pgproto3.Flush{}, run(insert), sync_),
	} {
		got := r.do(messages...)
		if !mentions(got, "limit/rows") || mentions(got, "complete INSERT") || got[len(got)-1] != "ready I" || mentions(got, `row "33"`) {
			t.Errorf("%s: %q", name, got)
		}
		if got := r.do(simple("SELECT 1")); !mentions(got, `row "1"`) {
			t.Errorf("%s, afterwards: %q", name, got)
		}
	}
	if n := g.value("SELECT count(*) FROM orders"); n != "2" {
		t.Errorf("%s orders", n)
	}
	// Within its limit, a pipeline runs as one.
	if got := r.do(all(run("SELECT generate_series(1, 10)"), run(insert), run("SELECT 2"), sync_)...); !mentions(got, "complete INSERT 0 1") || !mentions(got, `row "2"`) || mentions(got, "error") {
		t.Errorf("%q", got)
	}
}

func TestLimitsAreCountedInWords(t *testing.T) {
	g := start(t, withPolicy(permissive+`
limit contains {"id": "test/rows", "rows": 1} if input.action.verb == "select"
limit contains {"id": "test/rows", "rows": 2} if input.action.verb == "show"
`))
	r := g.raw("agent-1")
	if got := r.do(simple("SELECT generate_series(1, 2)")); !mentions(got, "the policy's limit of 1 row is exceeded") {
		t.Errorf("%q", got)
	}
	if got := r.do(simple("SHOW ALL")); !mentions(got, "the policy's limit of 2 rows is exceeded") {
		t.Errorf("%q", got)
	}
}
