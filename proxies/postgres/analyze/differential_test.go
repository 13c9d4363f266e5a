package analyze_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// statements reads a file of one statement a line.
func statements(t testing.TB, name string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join(corpus, name))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var list []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		if line := s.Text(); line != "" && !strings.HasPrefix(line, "--") {
			list = append(list, line)
		}
	}
	return list
}

// counts are what a differential test publishes.
type counts struct {
	statements, compared, complete, exact, unknown, wrong int
	reasons                                               map[string]int
}

func (c *counts) log(t *testing.T, what string) {
	t.Helper()
	t.Logf("%s: %d statements, %d compared, %d complete, %d values exact, %d unknown, %d wrong",
		what, c.statements, c.compared, c.complete, c.exact, c.unknown, c.wrong)
	var reasons []string
	for r, n := range c.reasons {
		reasons = append(reasons, fmt.Sprintf("%s: %d", r, n))
	}
	slices.Sort(reasons)
	t.Logf("unknown because: %s", strings.Join(reasons, "; "))
}

// TestAgainstServer compares the analysis with what PostgreSQL itself says of
// every statement: where each result column comes from (RowDescription), what
// the statement depends on (pg_depend of a function made of it), and which
// relations it locks when it runs.
func TestAgainstServer(t *testing.T) {
	d, snap := database(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, d.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	a := analyze.New(analyze.Options{})
	origin, reads, locks := &counts{reasons: map[string]int{}}, &counts{}, &counts{}
	rows := 0
	for _, sql := range append(statements(t, "ordinary.sql"), statements(t, "evasion.sql")...) {
		batch, err := a.Analyze(sql, snap, settings)
		origin.statements++
		if err != nil {
			// What the parser refuses the server must refuse too.
			if _, err := conn.PgConn().Prepare(ctx, "", sql, nil); err == nil {
				t.Errorf("%s: not parsed, but the server takes it", sql)
			}
			continue
		}
		if len(batch.Statements) != 1 {
			continue
		}
		s := batch.Statements[0]
		for _, u := range s.Facts.Unknown {
			origin.reasons[u.Why]++
			if u.Why == "not understood" {
				t.Logf("not understood: %s in %s", u.What, sql)
			}
		}
		if s.Complete {
			origin.complete++
		}
		inTransaction(t, conn, func(pg *pgconn.PgConn) {
			description, err := pg.Prepare(ctx, "", sql, nil)
			if err != nil {
				return
			}
			compareOrigin(t, snap, s, pg, description, origin)
		})
		inTransaction(t, conn, func(pg *pgconn.PgConn) { compareReads(t, snap, s, pg, reads) })
		inTransaction(t, conn, func(pg *pgconn.PgConn) { compareLocks(t, snap, s, pg, locks) })
		switch s.Command {
		case "select", "insert", "update", "delete":
			if !s.Facts.Action.Opaque && !strings.Contains(sql, "$1") {
				inTransaction(t, conn, func(pg *pgconn.PgConn) { rows += compareValues(t, s, pg, origin) })
			}
		}
	}
	origin.log(t, "result columns")
	reads.log(t, "dependencies")
	locks.log(t, "locks")
	t.Logf("%d rows looked through for values that should not be there", rows)
	if origin.compared < 250 || reads.compared < 200 || locks.compared < 150 {
		t.Errorf("too little was compared")
	}
}

func inTransaction(t *testing.T, conn *pgx.Conn, do func(*pgconn.PgConn)) {
	t.Helper()
	pg := conn.PgConn()
	if _, err := pg.Exec(t.Context(), "BEGIN").ReadAll(); err != nil {
		t.Fatal(err)
	}
	do(pg)
	if _, err := pg.Exec(t.Context(), "ROLLBACK; DISCARD ALL").ReadAll(); err != nil {
		if _, err := pg.Exec(t.Context(), "ROLLBACK").ReadAll(); err != nil {
			t.Fatal(err)
		}
		if _, err := pg.Exec(t.Context(), "DISCARD ALL").ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

func compareOrigin(t *testing.T, snap *catalog.Snapshot, s *analyze.Statement, pg *pgconn.PgConn, d *pgconn.StatementDescription, c *counts) {
	t.Helper()
	if s.Command == "fetch" || s.Command == "execute" {
		return
	}
	c.compared++
	wrong := func(format string, args ...any) {
		c.wrong++
		t.Errorf("%s\n\t%s", s.Text, fmt.Sprintf(format, args...))
	}
	if len(d.Fields) > 0 && !s.ReturnsRows {
		wrong("returns rows, but we say that it does not")
	}
	if !s.OutputsKnown {
		c.unknown++
		return
	}
	if s.Command == "copy" {
		return
	}
	if len(d.Fields) != len(s.Outputs) {
		wrong("%d columns, we say %d", len(d.Fields), len(s.Outputs))
		return
	}
	for i, f := range d.Fields {
		o := s.Outputs[i]
		if f.Name != o.Name && s.Command != "show" {
			wrong("column %d is called %q, we say %q", i, f.Name, o.Name)
		}
		if o.Derivation == input.Opaque {
			c.unknown++
		}
		if f.TableOID == 0 {
			if o.Derivation == input.Exact {
				t.Logf("more exact than the server: column %q of %s", f.Name, s.Text)
			}
			continue
		}
		rel := relation(t, snap, pg, f.TableOID)
		if rel == nil {
			wrong("column %q comes from relation %d, which is not in the catalogue", f.Name, f.TableOID)
			continue
		}
		var want []string
		switch n := int16(f.TableAttributeNumber); {
		case n > 0:
			want = []string{rel.QualifiedName() + "." + rel.ColumnNumber(n).Name}
		case n == 0:
			for _, col := range rel.Columns {
				want = append(want, rel.QualifiedName()+"."+col.Name)
			}
		}
		for _, w := range want {
			if rel.Schema == "pg_temp" && o.Derivation == input.Opaque {
				break // what is in a temporary table depends on who filled it
			}
			if !slices.Contains(o.Sources, w) {
				wrong("column %q comes from %s, we say %s %v", f.Name, w, o.Derivation, o.Sources)
			}
		}
		if o.Derivation == input.Constant {
			wrong("column %q comes from a table, we say constant", f.Name)
		}
		if o.Derivation == input.Exact {
			c.exact++
		}
	}
}

// relation looks a relation up in the catalogue, and among the session's
// temporary ones, which are not in it; nil for an index and its like.
func relation(t *testing.T, snap *catalog.Snapshot, pg *pgconn.PgConn, oid catalog.OID) *catalog.Relation {
	t.Helper()
	if r := snap.RelationByOID(oid); r != nil {
		return r
	}
	if pg.TxStatus() == 'E' {
		return nil
	}
	results, err := pg.Exec(t.Context(), fmt.Sprintf(`SELECT relname, attname, attnum FROM pg_catalog.pg_class c JOIN pg_catalog.pg_attribute a ON attrelid OPERATOR(pg_catalog.=) c.oid
		WHERE c.oid OPERATOR(pg_catalog.=) %d AND relpersistence OPERATOR(pg_catalog.=) 't' AND relkind OPERATOR(pg_catalog.<>) 'i' AND attnum OPERATOR(pg_catalog.>) 0 ORDER BY attnum`, oid)).ReadAll()
	if err != nil || len(results[0].Rows) == 0 {
		return nil
	}
	r := &catalog.Relation{OID: oid, Schema: "pg_temp", Name: string(results[0].Rows[0][0])}
	for _, row := range results[0].Rows {
		c := catalog.Column{Name: string(row[1])}
		fmt.Sscan(string(row[2]), &c.Number)
		r.Columns = append(r.Columns, c)
	}
	return r
}

// compareReads makes a function of the statement, which is then analysed by
// the server but not run, and reads what it depends on.
func compareReads(t *testing.T, snap *catalog.Snapshot, s *analyze.Statement, pg *pgconn.PgConn, c *counts) {
	t.Helper()
	ctx := t.Context()
	switch s.Command {
	case "select", "insert", "update", "delete", "merge":
	default:
		return
	}
	description, err := pg.Prepare(ctx, "", s.Text, nil)
	if err != nil {
		return
	}
	var types []string
	for _, oid := range description.ParamOIDs {
		rows, err := pg.Exec(ctx, fmt.Sprintf("SELECT format_type(%d, NULL)", oid)).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		types = append(types, string(rows[0].Rows[0][0]))
	}
	results, err := pg.Exec(ctx, fmt.Sprintf(`CREATE FUNCTION pg_temp.regate_probe(%s) RETURNS void LANGUAGE sql BEGIN ATOMIC %s; END;
		SELECT DISTINCT refclassid::regclass::text, refobjid::text, refobjsubid::text FROM pg_depend
		WHERE classid = 'pg_proc'::regclass AND objid = (SELECT max(oid) FROM pg_proc WHERE proname = 'regate_probe')`,
		strings.Join(types, ", "), s.Text)).ReadAll()
	if err != nil {
		return
	}
	c.compared++
	if s.Complete {
		c.complete++
	}
	known := append(slices.Clone(s.Facts.UsesColumns), s.Facts.Statement.WrittenColumns...)
	for _, row := range results[1].Rows {
		var oid catalog.OID
		var sub int16
		fmt.Sscan(string(row[1]), &oid)
		fmt.Sscan(string(row[2]), &sub)
		missing := ""
		switch string(row[0]) {
		case "pg_class":
			rel := relation(t, snap, pg, oid)
			if rel == nil {
				missing = fmt.Sprintf("relation %d", oid)
				break
			}
			if strings.Contains(s.Text, "::reg") && sub == 0 {
				break // a name as a value
			}
			if rel.Kind == catalog.Composite {
				break // a type, which holds nothing
			}
			if !slices.Contains(s.Facts.Touched, rel.QualifiedName()) {
				missing = "relation " + rel.QualifiedName()
			}
			if sub > 0 && !slices.Contains(known, rel.QualifiedName()+"."+rel.ColumnNumber(sub).Name) {
				missing = "column " + rel.QualifiedName() + "." + rel.ColumnNumber(sub).Name
			}
		case "pg_proc":
			f := snap.FunctionByOID(oid)
			if strings.Contains(s.Text, "::reg") {
				break
			}
			if f != nil && f.Category != catalog.Safe && !slices.Contains(s.Facts.Resource.FunctionNames, f.QualifiedName()) {
				missing = "function " + f.QualifiedName()
			}
		}
		if missing == "" {
			c.exact++
			continue
		}
		if !s.Complete {
			c.unknown++
			continue
		}
		c.wrong++
		t.Errorf("%s\n\tdepends on %s, we say it is complete with %v %v", s.Text, missing, known, s.Facts.Resource.FunctionNames)
	}
}

// compareLocks runs the statement in a transaction that is rolled back, and
// compares the relations that are locked with those that we say it touches,
// and those locked for writing with those that we say it writes.
func compareLocks(t *testing.T, snap *catalog.Snapshot, s *analyze.Statement, pg *pgconn.PgConn, c *counts) {
	t.Helper()
	switch s.Command {
	case "select", "insert", "update", "delete", "merge", "truncate", "lock", "explain", "alter table", "create index", "drop table":
	default:
		return
	}
	if s.Facts.Action.Opaque || strings.Contains(s.Text, "pg_get_viewdef") {
		return // which locks what it describes
	}
	ctx := t.Context()
	const parameter = "$1"
	if strings.Contains(s.Text, parameter) {
		return
	}
	if _, err := pg.Exec(ctx, s.Text).ReadAll(); err != nil {
		return
	}
	results, err := pg.Exec(ctx, `SELECT relation::text, mode FROM pg_locks WHERE pid = pg_backend_pid() AND relation IS NOT NULL
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	c.compared++
	if s.Complete {
		c.complete++
	}
	for _, row := range results[0].Rows {
		var oid catalog.OID
		fmt.Sscan(string(row[0]), &oid)
		rel := relation(t, snap, pg, oid)
		if rel == nil || rel.Schema == "pg_catalog" || rel.Schema == "information_schema" {
			continue // an index, or the catalogue's own
		}
		mode := string(row[1])
		table, touched := s.Facts.Resource.Tables[rel.QualifiedName()]
		writes := slices.ContainsFunc(table.Access, func(a string) bool { return a != "read" })
		switch {
		case touched && (mode == "AccessShareLock" || writes):
			c.exact++
		case !s.Complete:
			c.unknown++
		case mode == "RowShareLock" && s.Facts.Action.Writes:
			c.exact++ // the other end of a foreign key is looked at
		default:
			c.wrong++
			t.Errorf("%s\n\tlocks %s in %s, we say %v", s.Text, rel.QualifiedName(), mode, table)
		}
	}
}
