package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

func TestSelectIsMasked(t *testing.T) {
	g := start(t)
	conn := g.connect("agent-1")
	rows, err := query(t, conn, "SELECT id, name, email, ssn FROM customers ORDER BY id")
	must(t, err)
	want := "[[1 Ann [REDACTED] <null>] [2 Bob [REDACTED] <null>] [3 Cy <null> <null>]]"
	if got := fmt.Sprint(rows); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for _, sql := range []string{
		"SELECT * FROM customers", "SELECT c FROM customers c", "SELECT email || 'x' FROM customers",
		"SELECT contact FROM contacts", "SELECT lower(contact) FROM contacts", "SELECT array_agg(email) FROM customers",
		"SELECT row_to_json(c) FROM customers c", "SELECT x FROM (SELECT email AS x FROM customers) s",
		"WITH c AS (SELECT email AS e FROM customers) SELECT e FROM c", "SELECT email FROM customers UNION ALL SELECT 'a'",
		"SELECT (SELECT email FROM customers WHERE id = 1)", "SELECT max(email) FROM customers", "TABLE customers",
		"COPY customers TO STDOUT", "COPY (SELECT email FROM customers) TO STDOUT WITH (FORMAT csv)",
	} {
		rows, err := query(t, conn, sql)
		if text := fmt.Sprint(rows, err); strings.Contains(text, "example.com") || strings.Contains(text, "22-3333") {
			t.Errorf("%s shows %s", sql, text)
		} else if err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

func TestPreparedStatements(t *testing.T) {
	g := start(t)
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			c := g.config(g.token("agent-1"))
			c.DefaultQueryExecMode = mode
			conn := g.connectWith(c)
			for range 3 {
				var name, email string
				must(t, conn.QueryRow(t.Context(), "SELECT name, email FROM customers WHERE id = $1", 2).Scan(&name, &email))
				if name != "Bob" || email != "[REDACTED]" {
					t.Errorf("got %q, %q", name, email)
				}
			}
			var n int
			must(t, conn.QueryRow(t.Context(), "SELECT count(*) FROM orders").Scan(&n))
			if n != 2 {
				t.Errorf("%d orders", n)
			}
		})
	}
}

func TestDenialKeepsTheConnection(t *testing.T) {
	g := start(t)
	conn := g.connect("agent-1")
	_, err := query(t, conn, "DROP TABLE orders")
	if sqlState(err) != "42501" || !strings.Contains(fmt.Sprint(err), "DROP is not allowed") {
		t.Fatalf("got %v", err)
	}
	_, err = conn.Exec(t.Context(), "DROP TABLE orders")
	if sqlState(err) != "42501" {
		t.Fatalf("extended: got %v", err)
	}
	// Nothing of a query runs when one statement of it is refused.
	_, err = query(t, conn, "INSERT INTO orders VALUES (99, 1, 1, ''); DROP TABLE orders")
	if sqlState(err) != "42501" {
		t.Fatalf("got %v", err)
	}
	rows, err := query(t, conn, "SELECT count(*) FROM orders")
	must(t, err)
	if fmt.Sprint(rows) != "[[2]]" {
		t.Errorf("orders: %v", rows)
	}
	// Inside a transaction a denial fails it, as any error does.
	tx, err := conn.Begin(t.Context())
	must(t, err)
	_, err = tx.Exec(t.Context(), "INSERT INTO orders VALUES (98, 1, 1, '')")
	must(t, err)
	if _, err = tx.Exec(t.Context(), "DROP TABLE orders"); sqlState(err) != "42501" {
		t.Fatalf("got %v", err)
	}
	if _, err = tx.Exec(t.Context(), "SELECT 1"); sqlState(err) != "25P02" {
		t.Errorf("after a denial in a transaction: got %v, want 25P02", err)
	}
	_ = tx.Rollback(t.Context())
	rows, err = query(t, conn, "SELECT count(*) FROM orders")
	must(t, err)
	if fmt.Sprint(rows) != "[[2]]" {
		t.Errorf("orders: %v", rows)
	}
}

func TestParametersAreDecided(t *testing.T) {
	g := start(t)
	conn := g.connect("agent-1")
	var n int
	must(t, conn.QueryRow(t.Context(), "SELECT $1::int", 12).Scan(&n))
	err := conn.QueryRow(t.Context(), "SELECT $1::int", 13).Scan(&n)
	if sqlState(err) != "42501" {
		t.Errorf("13: got %v", err)
	}
	must(t, conn.QueryRow(t.Context(), "SELECT $1::int", 14).Scan(&n))
}

func TestRowLimit(t *testing.T) {
	g := start(t)
	conn := g.connect("agent-1")
	_, err := query(t, conn, "SELECT * FROM generate_series(1, 100000)")
	if sqlState(err) != "54000" {
		t.Errorf("got %v", err)
	}
	rows, err := query(t, conn, "SELECT count(*) FROM generate_series(1, 100000)")
	must(t, err)
	if fmt.Sprint(rows) != "[[100000]]" {
		t.Errorf("got %v", rows)
	}
}

func TestCopyIn(t *testing.T) {
	g := start(t)
	conn := g.connect("agent-1")
	n, err := conn.CopyFrom(t.Context(), pgx.Identifier{"orders"}, []string{"id", "customer_id", "total", "memo"},
		pgx.CopyFromSlice(1000, func(i int) ([]any, error) { return []any{1000 + i, 1, i, strings.Repeat("x", 100)}, nil }))
	must(t, err)
	if n != 1000 {
		t.Errorf("copied %d", n)
	}
	rows, err := query(t, conn, "SELECT count(*) FROM orders")
	must(t, err)
	if fmt.Sprint(rows) != "[[1002]]" {
		t.Errorf("got %v", rows)
	}
	// A row that fails ends the COPY with the server's error, and the session
	// goes on.
	_, err = conn.CopyFrom(t.Context(), pgx.Identifier{"orders"}, []string{"id", "customer_id", "total", "memo"},
		pgx.CopyFromRows([][]any{{1000, 1, 1, "again"}}))
	if sqlState(err) != "23505" {
		t.Errorf("got %v", err)
	}
	rows, err = query(t, conn, "SELECT count(*) FROM orders")
	must(t, err)
	if fmt.Sprint(rows) != "[[1002]]" {
		t.Errorf("got %v", rows)
	}
}
