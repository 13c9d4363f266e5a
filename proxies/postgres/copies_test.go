package postgres_test

import (
	"os"
	"path/filepath"
	"testing"
)

// withPacks puts ready packs into force beside the test's policy, with these
// settings (JSON).
func withPacks(t testing.TB, site string, packs ...string) option {
	t.Helper()
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "data.json"), []byte(`{"regate": {"settings": `+site+`}}`), 0o600))
	must(t, os.WriteFile(filepath.Join(dir, ".manifest"), []byte(`{"roots": ["regate/settings"]}`), 0o600))
	paths := []string{dir, "../../policies/lib"}
	for _, p := range packs {
		paths = append(paths, "../../policies/postgres/"+p)
	}
	return func(s *settings) { s.packs = paths }
}

// What a mask hides cannot be copied to where no mask is.
func TestNoCopiesOfMaskedColumns(t *testing.T) {
	g := start(t, withPolicy(permissive), withPacks(t, `{"sql_pii_masks": {"fields": {
		"public.customers.email": {"method": "redact"}, "public.customers.ssn": {"method": "redact"}}, "detect": {}}}`,
		"pii_masks", "masked_copies"))
	g.owner("CREATE SEQUENCE s")
	r := g.raw("agent-1")
	for _, sql := range []string{
		"INSERT INTO orders SELECT id + 100, id, 0, reverse(ssn) FROM customers",
		"UPDATE orders SET memo = c.email FROM customers c WHERE c.id = customer_id",
		"UPDATE customers SET name = email",
		"UPDATE customers SET name = (SELECT email FROM customers WHERE id = 2) WHERE id = 1",
		"WITH x AS (INSERT INTO orders SELECT 200, 1, 0, contact FROM contacts RETURNING id) SELECT * FROM x",
		"MERGE INTO orders o USING customers c ON c.id = o.customer_id WHEN MATCHED THEN UPDATE SET memo = c.ssn",
		"CREATE TABLE stolen AS SELECT c::text FROM customers c", "SELECT email AS e INTO stolen FROM customers",
		"EXPLAIN ANALYZE INSERT INTO orders SELECT 300, 1, 0, email FROM customers LIMIT 1",
		"PREPARE p AS INSERT INTO orders SELECT 400, 1, 0, email FROM customers LIMIT 1",
		"ALTER TABLE customers RENAME COLUMN email TO mail", "ALTER TABLE customers ALTER name TYPE text USING email",
		"ALTER TABLE customers RENAME TO people", "ALTER TABLE customers SET SCHEMA pg_temp", "ALTER SCHEMA public RENAME TO private",
		"SELECT setval('s', replace(ssn, '-', '')::int) FROM customers",
	} {
		if got := r.do(simple(sql)); !mentions(got, "reason: regate.sql_masked_copies/") || mentions(got, "complete") {
			t.Errorf("%s: %q", sql, got)
		}
		if got := r.do(append(run(sql), sync_)...); !mentions(got, "reason: regate.sql_masked_copies/") || mentions(got, "complete ") {
			t.Errorf("extended, %s: %q", sql, got)
		}
	}
	// Between masked columns, from others, and to where the mask follows.
	for _, sql := range []string{
		"UPDATE customers SET ssn = email WHERE id = 3", "INSERT INTO orders SELECT id + 500, id, balance, name FROM customers",
		"INSERT INTO orders VALUES (600, 1, 1, 'x')", "UPDATE orders SET total = total + 1",
		"CREATE TEMP TABLE mine AS SELECT id, email FROM customers", "INSERT INTO mine SELECT 9, ssn FROM customers",
		"CREATE VIEW shown AS SELECT lower(email) AS e FROM customers", "ALTER TABLE orders ADD note text",
	} {
		if got := r.do(simple(sql)); mentions(got, "error") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	for _, sql := range []string{"SELECT * FROM mine", "SELECT * FROM shown"} {
		if got := r.do(simple(sql)); !mentions(got, "[REDACTED]") || mentions(got, "example.com") || mentions(got, "-22-") {
			t.Errorf("%s: %q", sql, got)
		}
	}
}
