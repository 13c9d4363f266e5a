package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

func load(t testing.TB, d *pgtest.Database) *catalog.Snapshot {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), d.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	snap, err := catalog.Load(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return snap
}

func TestLoad(t *testing.T) {
	d := pgtest.Shared(t)
	schema, err := os.ReadFile(filepath.Join("testdata", "schema.sql"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Run(t.Context(), string(schema)); err != nil {
		t.Fatal(err)
	}
	snap := load(t, d)
	got := describe(snap)
	golden := filepath.Join("testdata", "schema.golden")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if snap.Version < 120000 || snap.Database != d.Name || snap.ID == "" || !snap.HasSchema("app") || snap.HasSchema("pg_toast") {
		t.Errorf("version %d, database %s, schemas %v", snap.Version, snap.Database, snap.Schemas())
	}
	if r := snap.Lookup([]string{"nowhere", "app", "public"}, "customers"); r == nil || snap.RelationByOID(r.OID) != r || snap.RelationByRowType(r.RowType) != r {
		t.Errorf("customers: %+v", r)
	}
	if r := snap.Relation("app", "customers"); r.ColumnNumber(5).Name != "note" || r.ColumnNumber(3) != nil {
		t.Errorf("columns by number: %+v", r.Columns)
	}
}

// describe writes all that the user made, in a stable order.
func describe(snap *catalog.Snapshot) string {
	var b strings.Builder
	for _, key := range []string{
		"app.customers", "app.orders", "app.part", "app.part1", "app.audit", "app.contacts", "app.summary",
		"app.numbers", "app.pair", "app.remote",
	} {
		schema, name, _ := strings.Cut(key, ".")
		r := snap.Relation(schema, name)
		fmt.Fprintf(&b, "%s: %s\n", r.QualifiedName(), r.Kind)
		for _, c := range r.Columns {
			fmt.Fprintf(&b, "  %d %s %s generated=%v default=%v\n", c.Number, c.Name, snap.TypeName(c.Type), c.Generated, c.Default)
		}
		for _, p := range r.Ancestors() {
			fmt.Fprintf(&b, "  below %s (partition %v)\n", p.Name, r.Partition)
		}
		for _, c := range r.Descendants() {
			fmt.Fprintf(&b, "  above %s\n", c.Name)
		}
		for _, ref := range r.References {
			fmt.Fprintf(&b, "  referenced by %s delete=%q update=%q\n", ref.From.Name, ref.OnDelete, ref.OnUpdate)
		}
		for _, tr := range r.Triggers {
			fmt.Fprintf(&b, "  trigger %s on %d events runs %s enabled=%v\n", tr.Name, len(tr.Events), tr.Function.QualifiedName(), tr.Enabled)
		}
		for _, f := range r.Hidden {
			fmt.Fprintf(&b, "  hides %s\n", f.QualifiedName())
		}
		fmt.Fprintf(&b, "  rules %v rls %v server %q definition %q\n", r.Rules, r.RowSecurity, r.Server, r.Definition)
	}
	for _, name := range []string{"shout", "all_customers", "spread", "tf"} {
		for _, f := range snap.Functions("app", name) {
			fmt.Fprintf(&b, "%s: %s %s %s definer=%v args=%d defaults=%d variadic=%v set=%v out=%v category=%q\n", f.QualifiedName(),
				f.Kind, f.Language, f.Volatility, f.SecurityDefiner, len(f.Args), f.Defaults, f.Variadic, f.ReturnsSet, f.Out, f.Category)
		}
	}
	for _, o := range snap.Operators("app", "<<<") {
		fmt.Fprintf(&b, "operator %s.%s runs %s\n", o.Schema, o.Name, o.Function.QualifiedName())
	}
	loud := snap.Type("app", "loud")
	fmt.Fprintf(&b, "type loud: %s of %s, %d checks\n", loud.Kind, snap.TypeName(loud.Base), len(loud.Checks))
	pair := snap.Type("app", "pair")
	for _, c := range snap.Casts(pair.OID) {
		fmt.Fprintf(&b, "cast to pair by %s\n", c.Function.QualifiedName())
	}
	return b.String()
}

func TestBuiltins(t *testing.T) {
	d := pgtest.Shared(t)
	snap := load(t, d)
	for name, want := range map[string]catalog.Category{
		"lower": catalog.Safe, "json_agg": catalog.Safe, "count": catalog.Safe, "pg_get_viewdef": catalog.ReadsCatalog,
		"set_config": catalog.SessionState, "nextval": catalog.Writes, "query_to_xml": catalog.Dangerous,
		"pg_read_file": catalog.Dangerous, "boolin": catalog.Unknown, "ts_rewrite": catalog.Dangerous,
	} {
		overloads := snap.Functions("pg_catalog", name)
		if len(overloads) == 0 {
			t.Errorf("%s does not exist", name)
		}
		for _, f := range overloads {
			if f.Category != want {
				t.Errorf("%s is %q, want %q", name, f.Category, want)
			}
		}
	}
	// A volatile function that is called safe was called so on purpose.
	conn, err := pgx.Connect(t.Context(), d.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), `SELECT DISTINCT proname::text FROM pg_proc
		WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v' ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	volatile, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	var safe []string
	for _, name := range volatile {
		if catalog.BuiltinCategory(name) == catalog.Safe {
			safe = append(safe, name)
		}
	}
	if got := strings.Join(safe, " "); got != "clock_timestamp gen_random_uuid random timeofday" {
		t.Errorf("volatile functions that are called safe: %s", got)
	}
}

// BenchmarkLoad reads a catalogue of 50,000 relations of ten columns.
func BenchmarkLoad(b *testing.B) {
	d := pgtest.Shared(b)
	for i := range 50 {
		err := d.Run(b.Context(), fmt.Sprintf(`DO $$ BEGIN FOR i IN 1..1000 LOOP
			EXECUTE format('CREATE TABLE t_%%s_%%s (id int, name varchar, email varchar, a int, b int, c int, d int, e int, f int, g timestamptz)', %d, i);
			END LOOP; END $$`, i))
		if err != nil {
			b.Fatal(err)
		}
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var snap *catalog.Snapshot
	for b.Loop() {
		snap = load(b, d)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	b.ReportMetric(float64(snap.RelationCount()), "relations")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(1<<20), "MiB-held")
	runtime.KeepAlive(snap)
}
