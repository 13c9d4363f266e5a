package analyze_test

import (
	"fmt"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestFlows: the input document says which columns are given what others hold.
func TestFlows(t *testing.T) {
	d := pgtest.Shared(t)
	if err := d.Run(t.Context(), `
		CREATE TABLE c (id int PRIMARY KEY, email text, card text);
		CREATE TABLE n (id int PRIMARY KEY, body text);
		CREATE VIEW v AS SELECT id, email AS e FROM c;
		CREATE SEQUENCE s;
	`); err != nil {
		t.Fatal(err)
	}
	snap := load(t, d)
	a := analyze.New(analyze.Options{})
	const (
		copied = "[{public.n.body [public.c.email]}]"
		both   = "[{public.n.body [public.c.card]} {public.n.id [public.c.id]}]"
		made   = "[{public.x.y [public.c.email]}]"
		none   = "[]"
	)
	for sql, want := range map[string]string{
		"SELECT email FROM c":                                                                               none,
		"INSERT INTO n VALUES (1, 'x')":                                                                     none,
		"INSERT INTO n VALUES ($1, $2)":                                                                     none,
		"UPDATE n SET body = body":                                                                          none,
		"INSERT INTO n SELECT id, reverse(card) FROM c":                                                     both,
		"EXPLAIN INSERT INTO n SELECT id, reverse(card) FROM c":                                             none,
		"EXPLAIN ANALYZE INSERT INTO n SELECT id, reverse(card) FROM c":                                     both,
		"PREPARE p AS INSERT INTO n SELECT id, reverse(card) FROM c":                                        both,
		"UPDATE n SET body = (SELECT max(email) FROM c)":                                                    copied,
		"UPDATE n SET body = c.email FROM c WHERE c.id = n.id":                                              copied,
		"UPDATE n SET (body) = (SELECT email FROM c LIMIT 1)":                                               copied,
		"WITH m AS (UPDATE n SET body = c.email FROM c RETURNING 1) SELECT FROM m":                          copied,
		"MERGE INTO n USING c ON c.id = n.id WHEN MATCHED THEN UPDATE SET body = c.email":                   copied,
		"INSERT INTO n VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET body = (SELECT email FROM c LIMIT 1)": copied,
		"CREATE TABLE x AS SELECT email AS y FROM c":                                                        made,
		"CREATE TABLE x (y) AS SELECT lower(email) FROM c":                                                  made,
		"SELECT email AS y INTO x FROM c":                                                                   made,
		"EXPLAIN ANALYZE CREATE TABLE x AS SELECT email AS y FROM c":                                        made,
		"CREATE TABLE x AS SELECT email AS y FROM c WITH NO DATA":                                           none,
		"CREATE TABLE x AS SELECT e AS y FROM v":                                                            "[{public.x.y [public.c.email public.v.e]}]",
		"CREATE TEMP TABLE x AS SELECT email AS y FROM c":                                                   "[{pg_temp.x.y [public.c.email]}]",
		"CREATE VIEW x AS SELECT email AS y FROM c":                                                         none,
		"CREATE MATERIALIZED VIEW x AS SELECT email AS y FROM c":                                            none,
		"INSERT INTO n SELECT id, current_setting('a.b') FROM c":                                            "[{public.n.body [*]} {public.n.id [public.c.id]}]",
		"INSERT INTO n SELECT * FROM nowhere":                                                               "[{public.n.* [*]}]",
		"SELECT setval('s', 9)":                                                                             none,
		"SELECT setval('s', max(id)) FROM c":                                                                "[{* [public.c.id]}]",
	} {
		b, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		if got := fmt.Sprint(b.Statements[0].Facts.Statement.Flows); got != want {
			t.Errorf("%s\n got  %s\n want %s", sql, got, want)
		}
	}
	b, err := a.Analyze("PREPARE p AS INSERT INTO n SELECT id, reverse(card) FROM c; EXECUTE p", snap, settings)
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(b.Statements[1].Facts.Statement.Flows); got != both {
		t.Errorf("EXECUTE: %s", got)
	}
}
