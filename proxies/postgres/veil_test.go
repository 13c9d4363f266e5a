package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Errors and notices do not tell what a mask hides: neither those of a
// statement, nor those that were put off to the end of its transaction.
func TestErrorsHideWhatMasksHide(t *testing.T) {
	g := start(t, withPolicy(masked+`
mask contains {"id": "test/cards", "detect": "credit_card", "method": "redact"} if true
`))
	g.owner(`
CREATE TABLE copies (value text, CONSTRAINT once UNIQUE (value) DEFERRABLE INITIALLY DEFERRED);
CREATE FUNCTION say() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE NOTICE 'saw %', NEW.value; RETURN NEW; END $$;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON copies DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION say();
CREATE FUNCTION card(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
  RAISE NOTICE '%', (SELECT memo FROM orders WHERE id = i); RETURN i; END $$;
`)
	secrets := []string{"ann@example.com", "4111 1111 1111 1111"}
	copied := "INSERT INTO copies SELECT email FROM customers WHERE id = 1"
	twice := copied + " UNION ALL SELECT email FROM customers WHERE id = 1"
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"a detected value in an error":   {simple("SELECT memo::int FROM orders")},
		"the same, extended":             all(run("SELECT memo::int FROM orders"), sync_),
		"a detected value in a notice":   {simple("DO $$ BEGIN RAISE NOTICE '%', (SELECT memo FROM orders WHERE id = 10); END $$")},
		"a notice while it is planned":   all(run("SELECT card(10)"), sync_),
		"put off to the end of a query":  {simple(twice)},
		"put off to Sync":                all(run(twice), sync_),
		"put off to COMMIT":              {simple("BEGIN"), simple(twice), simple("SELECT 1"), simple("COMMIT")},
		"put off, all in one query":      {simple("BEGIN; " + twice + "; COMMIT")},
		"put off, extended":              all(run("BEGIN"), sync_, run(twice), sync_, run("COMMIT"), sync_),
		"put off until it is asked for":  {simple("BEGIN"), simple(twice), simple("SET CONSTRAINTS ALL IMMEDIATE"), simple("ROLLBACK")},
		"a trigger that was put off":     {simple("BEGIN"), simple(copied), simple("COMMIT")},
		"a trigger that waited for Sync": all(run(strings.Replace(copied, "id = 1", "id = 1 AND true", 1)), sync_),
	} {
		g.owner("DELETE FROM copies")
		got := g.raw("agent-1").do(messages...)
		if !mentions(got, "masks are in force") {
			t.Errorf("%s: nothing was withheld: %q", name, got)
		}
		for _, secret := range secrets {
			if mentions(got, secret) {
				t.Errorf("%s: %q", name, got)
			}
		}
	}
	// What no mask hides is told.
	r := g.raw("agent-1")
	if got := r.do(simple("SELECT 1/0")); !mentions(got, "division by zero") {
		t.Errorf("%q", got)
	}
	r.do(simple("SELECT email FROM customers"))
	if got := r.do(simple("SELECT memo::int FROM orders WHERE id = 11")); !mentions(got, `"plain"`) {
		t.Errorf("%q", got)
	}
}
