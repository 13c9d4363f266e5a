package analyze_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

// TestCacheIsKeyed analyses one text under all that its meaning depends on.
func TestCacheIsKeyed(t *testing.T) {
	_, snap := database(t)
	a := analyze.New(analyze.Options{})
	tables := func(set analyze.Settings) string {
		b, err := a.Analyze("SELECT x FROM t", snap, set)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(b.Statements[0].Facts.Resource.TableNames, b.Statements[0].Complete, b.Statements[0].Outputs)
	}
	with := func(path ...string) analyze.Settings { return analyze.Settings{SearchPath: path} }
	for range 2 {
		if got := tables(with("pg_catalog", "sa")); !strings.Contains(got, "sa.t.x") {
			t.Error(got)
		}
		if got := tables(with("pg_catalog", "sb")); !strings.Contains(got, "sb.t.x") {
			t.Error(got)
		}
		temp := with("pg_catalog", "sa")
		temp.Temp = &analyze.TempRelations{Relations: []*analyze.TempRelation{{
			Name: "t", Columns: []analyze.Output{{Name: "x", Sources: []string{"public.customers.email"}, Derivation: input.Exact}},
		}}}
		if got := tables(temp); !strings.Contains(got, "pg_temp.t.x") || !strings.Contains(got, "public.customers.email") {
			t.Error(got)
		}
		temp.Temp = &analyze.TempRelations{Uncertain: true}
		if got := tables(temp); !strings.Contains(got, "false") {
			t.Error(got)
		}
		temp.SearchPath = []string{"sb", "pg_temp_3"}
		if got := tables(temp); !strings.Contains(got, "sb.t.x") {
			t.Error(got)
		}
		b, err := a.Analyze("SELECT x FROM t", nil, with("sa"))
		if err != nil || b.Statements[0].Complete {
			t.Errorf("complete without a catalogue: %v", err)
		}
	}
	one, _ := a.Analyze("SELECT 1", snap, settings)
	two, _ := a.Analyze("SELECT 1", snap, settings)
	if one != two {
		t.Error("not cached")
	}
}

// TestExecuteIsNotCached sees EXECUTE follow what its name means.
func TestExecuteIsNotCached(t *testing.T) {
	_, snap := database(t)
	a := analyze.New(analyze.Options{})
	inner := func(sql string) *analyze.Statement {
		b, err := a.Analyze(sql, snap, settings)
		if err != nil {
			t.Fatal(err)
		}
		return b.Statements[0]
	}
	meaning := inner("SELECT name FROM customers")
	set := settings
	set.Prepared = func(string) *analyze.Statement { return meaning }
	set.Cursor = set.Prepared
	for _, sql := range []string{"EXECUTE p", "FETCH p", "CREATE TABLE x AS EXECUTE p", "EXPLAIN EXECUTE p", "PREPARE q AS SELECT 1; EXECUTE p"} {
		meaning = inner("SELECT name FROM customers")
		b, err := a.Analyze(sql, snap, set)
		if err != nil {
			t.Fatal(err)
		}
		before := b.Statements[len(b.Statements)-1].Facts.UsesColumns
		meaning = inner("SELECT email FROM customers")
		if b, err = a.Analyze(sql, snap, set); err != nil {
			t.Fatal(err)
		}
		after := b.Statements[len(b.Statements)-1].Facts.UsesColumns
		if fmt.Sprint(before) == fmt.Sprint(after) {
			t.Errorf("%s: %v is still %v", sql, before, after)
		}
	}
}

// TestConcurrent analyses the corpus from several goroutines at once; results
// are equal to those of one alone.
func TestConcurrent(t *testing.T) {
	_, snap := database(t)
	corpus := append(statements(t, "ordinary.sql"), statements(t, "evasion.sql")...)
	digest := func(a *analyze.Analyzer, sql string) string {
		b, err := a.Analyze(sql, snap, settings)
		if err != nil {
			return err.Error()
		}
		var all strings.Builder
		for _, s := range b.Statements {
			fmt.Fprint(&all, s.Action.Digest(), s.Resource.Digest(), s.Detail.Digest(), s.Unknown.Digest(), s.Outputs)
		}
		return all.String()
	}
	// A second snapshot: its views are analysed by whoever comes first.
	alone := analyze.New(analyze.Options{CacheBytes: -1})
	want := map[string]string{}
	for _, sql := range corpus {
		want[sql] = digest(alone, sql)
	}
	shared := analyze.New(analyze.Options{CacheBytes: 1 << 20})
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for _, sql := range corpus {
				if got := digest(shared, sql); got != want[sql] {
					t.Errorf("%s differs", sql)
				}
			}
		})
	}
	group.Wait()
}

func TestFunctionCall(t *testing.T) {
	_, snap := database(t)
	a := analyze.New(analyze.Options{})
	for name, opaque := range map[string]bool{"public.get_email": true, "pg_catalog.lower": false, "pg_catalog.lo_get": true} {
		schema, function, _ := strings.Cut(name, ".")
		s := a.FunctionCall(snap.Functions(schema, function)[0].OID, 1, snap, settings)
		if s.Facts.Action.Opaque != opaque || s.Facts.Resource.FunctionNames[0] != name || s.Complete == opaque {
			t.Errorf("%s: %+v", name, s.Facts)
		}
	}
	if s := a.FunctionCall(1, 0, snap, settings); !s.Facts.Action.Opaque || s.Complete {
		t.Errorf("an unknown function: %+v", s.Facts)
	}
}

func TestTempRelations(t *testing.T) {
	_, snap := database(t)
	a := analyze.New(analyze.Options{})
	var temp *analyze.TempRelations
	run := func(sql string) *analyze.Statement {
		t.Helper()
		set := settings
		set.Temp = temp
		b, err := a.Analyze(sql, snap, set)
		if err != nil {
			t.Fatal(err)
		}
		s := b.Statements[0]
		temp = temp.After(s)
		return s
	}
	run("CREATE TEMP TABLE s AS SELECT id, email AS x FROM customers")
	run("CREATE TEMP TABLE u (a text, b text)")
	run("INSERT INTO u SELECT ssn, 'x' FROM customers")
	if got := fmt.Sprint(run("SELECT a, b, x FROM u, s").Outputs); got !=
		"[{a [pg_temp.u.a public.customers.ssn] exact} {b [pg_temp.u.b] exact} {x [pg_temp.s.x public.customers.email] exact}]" {
		t.Error(got)
	}
	run("UPDATE u SET b = upper(x) FROM s")
	if got := fmt.Sprint(run("SELECT b FROM u").Outputs); got != "[{b [pg_temp.s.x pg_temp.u.b public.customers.email] derived}]" {
		t.Error(got)
	}
	run("DROP TABLE u")
	if s := run("SELECT a FROM u"); s.Complete {
		t.Errorf("u is dropped: %v", s.Facts.Resource.TableNames)
	}
	run("SELECT wipe()")
	if s := run("SELECT x FROM s"); !s.Complete {
		t.Errorf("s is known: %v", s.Facts.Unknown)
	}
	if s := run("SELECT name FROM customers"); s.Complete {
		t.Error("customers may be shadowed by what a function made")
	}
	temp = temp.Probed([][2]string{{"s", "id"}, {"s", "x"}, {"z", "q"}})
	if got := fmt.Sprint(run("SELECT x, q FROM s, z").Outputs); got != "[{x [pg_temp.s.x public.customers.email] exact} {q [pg_temp.z.q] unknown}]" {
		t.Error(got)
	}
	if s := run("SELECT name FROM customers"); !s.Complete {
		t.Errorf("after a probe: %v", s.Facts.Unknown)
	}
	run("DISCARD TEMP")
	if len(temp.Relations) != 0 {
		t.Errorf("%v are left", temp.Relations)
	}
}

func BenchmarkAnalyze(b *testing.B) {
	_, snap := database(b)
	for name, sql := range map[string]string{
		"small":  "SELECT name, email FROM customers WHERE id = $1",
		"medium": "WITH a AS (SELECT id, name, email FROM customers WHERE country = 'DE'), o AS (SELECT customer_id, sum(total) AS t FROM orders GROUP BY customer_id) SELECT a.name, a.email, o.t, (SELECT count(*) FROM lines l JOIN orders x ON x.id = l.order_id WHERE x.customer_id = a.id) FROM a LEFT JOIN o ON o.customer_id = a.id WHERE o.t > 5 AND a.name LIKE 'A%' ORDER BY o.t DESC LIMIT 20",
	} {
		for _, mode := range []string{"cached", "new"} {
			b.Run(name+"/"+mode, func(b *testing.B) {
				o := analyze.Options{}
				if mode == "new" {
					o.CacheBytes = -1
				}
				a := analyze.New(o)
				b.ReportAllocs()
				for b.Loop() {
					if _, err := a.Analyze(sql, snap, settings); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
