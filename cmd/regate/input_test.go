package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// inputSchema has what names can mean: views, inheritance, functions, types,
// more than one schema, and a role that looks elsewhere.
const inputSchema = `
CREATE SCHEMA sales;
CREATE TABLE customers (id int PRIMARY KEY, email text, plan text DEFAULT 'free');
CREATE TABLE sales.orders (id int PRIMARY KEY, customer int REFERENCES customers ON DELETE CASCADE, at timestamptz, total numeric);
CREATE TABLE customers_archive () INHERITS (customers);
CREATE VIEW emails AS SELECT lower(email) AS email FROM customers;
CREATE TYPE sales.state AS ENUM ('open', 'paid');
CREATE FUNCTION shout(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT upper($1)';
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER audit BEFORE UPDATE ON sales.orders FOR EACH ROW EXECUTE FUNCTION audit();
`

// inputStatements are sent to a gateway and to `regate input`.
var inputStatements = []string{
	"SELECT email FROM customers WHERE id = 7",
	"SELECT * FROM emails",
	"SELECT shout(email) FROM customers",
	"UPDATE customers SET plan = 'pro' WHERE id = 1",
	"DELETE FROM customers",
	"UPDATE sales.orders SET total = 0 WHERE true",
	"WITH gone AS (DELETE FROM sales.orders RETURNING id) SELECT count(*) FROM gone",
	"INSERT INTO customers (id, email) SELECT id + 100, email FROM customers_archive",
	"EXPLAIN SELECT 1 FROM sales.orders",
	"SELECT 1; SELECT email FROM customers; SELECT 'ü', '\\n' -- two\n",
	"SELECT * FROM no_such_table",
	"DO $$ BEGIN PERFORM 1; END $$",
	"BEGIN; CREATE TEMP TABLE t AS SELECT email FROM customers; SELECT * FROM t; ROLLBACK",
	"SET work_mem = '8MB'",
}

// TestInputIsTheGateways: `regate input` prints what a gateway has recorded for
// the same statement of the same agent, from a live catalogue and from a dump
// of it, and the same test of it is made of either.
func TestInputIsTheGateways(t *testing.T) {
	s := newSite(t)
	if err := s.db.Run(t.Context(), inputSchema); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PW", s.db.Password)
	p := s.serve(t)
	login := p.login(t)
	login.RuntimeParams["search_path"] = "sales, public"
	login.RuntimeParams["application_name"] = "a test"
	login.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range inputStatements {
		// Some of them fail, which is none of this test's business.
		_, _ = conn.PgConn().Exec(t.Context(), sql).ReadAll()
		_, _ = conn.PgConn().Exec(t.Context(), "ROLLBACK").ReadAll()
	}
	const bound = "SELECT id FROM orders WHERE id = $1 AND total > $2"
	if r := conn.PgConn().ExecParams(t.Context(), bound, [][]byte{[]byte("7"), nil}, []uint32{23, 1700}, nil, nil).Read(); r.Err != nil {
		t.Fatal(r.Err)
	}
	if err := conn.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.stop(t)

	recorded := readRecorded(t, s)
	claims := filepath.Join(s.dir, "claims.json")
	writeJSON(t, claims, recorded[0]["subject"].(map[string]any)["claims"])
	dump := filepath.Join(s.dir, "catalog.json")
	common := []string{
		"input", "postgres", "-c", s.config, "--claims", claims, "-o", "jsonl", "--set", "search_path=sales, public", "--application", "a test",
		"--address", recorded[0]["session"].(map[string]any)["client"].(map[string]any)["address"].(string),
	}
	regate(t, 0, append(common, "--dump-catalog", dump)...)
	for name, from := range map[string][]string{"live": nil, "dump": {"--catalog", dump}} {
		t.Run(name, func(t *testing.T) {
			if from != nil {
				t.Setenv("PW", "") // nobody logs in
			}
			args := append(append([]string{}, common...), from...)
			opened := documents(t, append(args, "--connect")...)
			compare(t, "connect", opened[:1], recorded[:1])
			at := 1
			for _, sql := range inputStatements {
				docs := documents(t, append(args, sql)...)
				compare(t, sql, docs, recorded[at:at+len(docs)])
				at += len(docs)
				at++ // the ROLLBACK
			}
			docs := documents(t, append(args, bound, "--params", `[{"type": "int4", "value": 7}, {"type": "numeric", "value": null}]`)...)
			compare(t, bound, docs, recorded[at:])
		})
	}
	wantAll(t, regate(t, 2, "input", "postgres", "SELECT 1", "-c", s.config, "--target", "other"), `--target "other" is no postgres target`, "it has shop")
	wantAll(t, regate(t, 1, "input", "kubernetes", "-c", s.config), "no target of protocol kubernetes")
	wantAll(t, regate(t, 2, "input", "postgres", "SELECT 1", "-c", s.config, "--role", "x"), "--role and -c say the same thing")
	wantAll(t, regate(t, 1, "input", "postgres", "SELECT 1", "-c", claims), "the configuration has errors")
}

// readRecorded returns the input documents of the site's one session.
func readRecorded(t *testing.T, s *site) []map[string]any {
	t.Helper()
	var rows []struct {
		ID       string
		Protocol string
	}
	if err := json.Unmarshal([]byte(regate(t, 0, "sessions", "list", "-c", s.config, "-o", "json")), &rows); err != nil {
		t.Fatal(err)
	}
	var id string
	for _, r := range rows {
		if r.Protocol == "postgres" {
			id = r.ID
		}
	}
	var out []map[string]any
	for n := 1; ; n++ {
		var stdout, stderr bytes.Buffer
		if run([]string{"sessions", "show", id, "-c", s.config, "--input", fmt.Sprint(n)}, strings.NewReader(""), &stdout, &stderr) != 0 {
			if strings.Contains(stderr.String(), "has no request") && n > 1 {
				return out
			}
			t.Fatal(stderr.String())
		}
		out = append(out, decodeLines(t, stdout.String())...)
	}
}

// documents are what `regate input` prints.
func documents(t *testing.T, args ...string) []map[string]any {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(args, strings.NewReader(""), &stdout, &stderr); got != 0 {
		t.Fatalf("regate %q: status %d\n%s", args, got, stderr.String())
	}
	return decodeLines(t, stdout.String())
}

func decodeLines(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for line := range strings.Lines(text) {
		var doc map[string]any
		if err := json.Unmarshal([]byte(line), &doc); err != nil {
			t.Fatal(err)
		}
		out = append(out, doc)
	}
	return out
}

// compare looks at everything but what differs from session to session and
// from moment to moment.
func compare(t *testing.T, what string, got, want []map[string]any) {
	t.Helper()
	if len(got) == 0 || len(got) != len(want) {
		t.Errorf("%s: %d documents, want %d", what, len(got), len(want))
		return
	}
	for i := range got {
		g, w := lasting(got[i]), lasting(want[i])
		if reflect.DeepEqual(g, w) {
			continue
		}
		for key := range w {
			if !reflect.DeepEqual(g[key], w[key]) {
				a, _ := json.Marshal(g[key])
				b, _ := json.Marshal(w[key])
				t.Errorf("%s: %s\n got %s\nwant %s", what, key, a, b)
			}
		}
		if len(g) != len(w) {
			t.Errorf("%s: other keys", what)
		}
	}
}

func lasting(doc map[string]any) map[string]any {
	out := map[string]any{}
	for key, value := range doc {
		switch key {
		case "time":
		case "request":
			out[key] = value.(map[string]any)["digest"]
		case "session":
			session := map[string]any{}
			for k, v := range value.(map[string]any) {
				if k != "id" && k != "started_at" && k != "usage" {
					session[k] = v
				}
			}
			out[key] = session
		default:
			out[key] = value
		}
	}
	return out
}

func writeJSON(t *testing.T, name string, v any) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestInputRights: a login that may not read a table still learns what it is;
// one that may not take the role, and a catalogue that cannot be written, are
// told.
func TestInputRights(t *testing.T) {
	db := pgtest.Shared(t)
	if err := db.Run(t.Context(), inputSchema+fmt.Sprintf(`
CREATE ROLE stranger_%[1]s LOGIN PASSWORD '%[2]s';
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC;
REVOKE ALL ON SCHEMA public, sales FROM PUBLIC`, db.Name, db.Password)); err != nil {
		t.Fatal(err)
	}
	defer db.Run(t.Context(), "DROP ROLE stranger_"+db.Name)
	url := db.DSN(db.Name, "stranger_"+db.Name)
	out := regate(t, 0, "input", "postgres", "SELECT email FROM public.customers", "--catalog", url, "-o", "jsonl")
	wantAll(t, out, `"complete":true`, `"public.customers.email"`)
	// Without a right on its schema a name is not found by the search path.
	out = regate(t, 0, "input", "postgres", "SELECT email FROM customers", "--catalog", url, "-o", "jsonl")
	wantAll(t, out, `"complete":false`)
	wantAll(t, regate(t, 1, "input", "postgres", "SELECT 1", "--catalog", url, "--role", pgtest.Superuser), "take the role", "permission denied")
	wantAll(t, regate(t, 1, "input", "postgres", "SELECT 1", "--catalog", url, "--role", "nobody_at_all"), "nobody_at_all")

	dir := t.TempDir()
	file := filepath.Join(dir, "catalog.json")
	wantAll(t, regate(t, 0, "input", "postgres", "--catalog", url, "--dump-catalog", file), "the catalogue of database", "relations")
	wantAll(t, regate(t, 1, "input", "postgres", "--catalog", url, "--dump-catalog", filepath.Join(dir, "no", "such", "folder")), "write the catalogue")
	if left, err := filepath.Glob(filepath.Join(dir, ".regate-*")); err != nil || len(left) > 0 {
		t.Errorf("%q is left behind, %v", left, err)
	}
}

// TestInputHuge: what is longer than a gateway takes is refused, without
// reading on for ever.
func TestInputHuge(t *testing.T) {
	var out, errs bytes.Buffer
	long := "SELECT '" + strings.Repeat("x", 10<<20) + "'"
	if got := run([]string{"input", "postgres"}, strings.NewReader(long), &out, &errs); got != 1 || out.Len() > 0 {
		t.Errorf("status %d, %d bytes", got, out.Len())
	}
	wantAll(t, errs.String(), "postgres/too-long")
	errs.Reset()
	if got := run([]string{"input", "postgres"}, endless{}, &out, &errs); got != 1 || out.Len() > 0 {
		t.Errorf("status %d, %d bytes", got, out.Len())
	}
	wantAll(t, errs.String(), "longer than 16.0 MiB")
}

// endless is a standard input that does not end.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

// TestSessionInputAsTest: what a session's recording makes is a test that stock
// opa passes, whatever was recorded.
func TestSessionInputAsTest(t *testing.T) {
	dir := t.TempDir()
	id := recordSession(t, dir)
	file := configured(t, dir)
	source := regate(t, 0, "sessions", "show", id, "-c", file, "--input", "2", "--as-test", "--package", "regate.policies.acme.sql")
	wantAll(t, source, "package regate.policies.acme.sql_test", "test_select")
	name := filepath.Join(dir, "policy_test.rego")
	if err := os.WriteFile(name, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"test", "--fail-on-empty", name}, {"fmt", "--list", "--fail", name}, {"check", "--strict", name}} {
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"-C", "../../.tools", "tool", "opa"}, args...)...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("opa %q: %v\n%s\n%s", args, err, out, source)
		}
	}
	wantAll(t, regate(t, 2, "sessions", "show", id, "-c", file, "--as-test"), "--as-test goes with --input")

	// The repl takes the same document, by either name of it.
	ask := func(args ...string) string {
		var out, errs bytes.Buffer
		if got := run(append([]string{"policy", "repl", "-c", file}, args...), strings.NewReader("input.sql.text\n"), &out, &errs); got != 0 {
			t.Errorf("%q: status %d: %s", args, got, errs.String())
		}
		return out.String()
	}
	wantAll(t, ask("--session", id, "--turn", "2"), "DROP TABLE users")
	wantAll(t, ask("--decision", id+"-2"), "DROP TABLE users")
	wantAll(t, regate(t, 1, "policy", "repl", "-c", file, "--decision", id+"-2r"), "has none on its result")
	wantAll(t, regate(t, 1, "policy", "repl", "-c", file, "--decision", id+"-99"), "has no request 99")
}
