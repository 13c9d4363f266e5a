package postgres_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/regate-dev/regate/proxies/postgres"
)

func TestTimeLimit(t *testing.T) {
	g := start(t, withPolicy(permissive+`
limit contains {"id": "test/seconds", "seconds": 0.3} if input.action.verb == "select"
`))
	r := g.raw("agent-1")
	for _, messages := range [][]pgproto3.FrontendMessage{{simple("SELECT pg_sleep(60)")}, all(run("SELECT pg_sleep(60)"), sync_), all(run("SELECT 1"), run("SELECT pg_sleep(60)"), sync_)} {
		if got := r.do(messages...); !mentions(got, "57014") || !mentions(got, "limit/seconds") {
			t.Errorf("%q", got)
		}
	}
	// The time of a portal that waits for the agent does not count, and its
	// limit hits nobody else.
	r.do(simple("BEGIN"), parse("", "SELECT i FROM generate_series(1, 9) i"), bind("p", ""), execute("p", 1), sync_)
	if got := r.do(simple("DO $$ BEGIN PERFORM pg_sleep(0.6); END $$"), execute("p", 1), sync_); mentions(got, "error") || !mentions(got, `row "2"`) {
		t.Errorf("%q", got)
	}
}

func TestByteLimit(t *testing.T) {
	g := start(t, withPolicy(permissive+`
limit contains {"id": "test/bytes", "bytes": 100000} if input.action.verb == "select"
`))
	r := g.raw("agent-1")
	for _, n := range []int{120, 20000} {
		for _, messages := range [][]pgproto3.FrontendMessage{
			{simple(fmt.Sprintf("SELECT repeat('x', 1000) FROM generate_series(1, %d)", n))},
			all(run(fmt.Sprintf("SELECT repeat('x', 1000) FROM generate_series(1, %d)", n)), sync_),
		} {
			got := r.do(messages...)
			if !mentions(got, "limit/bytes") || len(got) > 300 {
				t.Errorf("%d rows: %d messages, last %q", n, len(got), got[max(0, len(got)-2):])
			}
			if got := r.do(simple("SELECT 1")); !mentions(got, `row "1"`) {
				t.Errorf("afterwards: %q", got)
			}
		}
	}
}

// A limit is exact, however the rows are asked for and however slowly they come.
func TestLimitsAreExact(t *testing.T) {
	shown := func(got []string) (rows, bytes int) {
		for _, l := range got {
			if strings.HasPrefix(l, "row ") || strings.HasPrefix(l, "copydata ") {
				rows, bytes = rows+1, bytes+len(l)
			}
		}
		return rows, bytes
	}
	g := start(t, withPolicy(permissive+`
limit contains {"id": "test/rows", "rows": 10} if not contains(input.sql.text, "repeat")
limit contains {"id": "test/bytes", "bytes": 100000} if contains(input.sql.text, "repeat")
`))
	for name, c := range map[string]struct {
		messages []pgproto3.FrontendMessage
		reason   string
		rows     int
	}{
		"as many as are allowed": {[]pgproto3.FrontendMessage{simple("SELECT generate_series(1, 10)")}, "", 10},
		"one more":               {[]pgproto3.FrontendMessage{simple("SELECT generate_series(1, 11)")}, "limit/rows", 10},
		"one more, extended":     {all(run("SELECT generate_series(1, 11)"), sync_), "limit/rows", 10},
		"in portions":            {all(parse("", "SELECT generate_series(1, 100)"), bind("", ""), execute("", 4), execute("", 4), execute("", 4), execute("", 4), sync_), "limit/rows", 10},
		"copied":                 {[]pgproto3.FrontendMessage{simple("COPY (SELECT generate_series(1, 100)) TO STDOUT")}, "limit/rows", 10},
		"bytes":                  {[]pgproto3.FrontendMessage{simple("SELECT repeat('x', 990) FROM generate_series(1, 120)")}, "limit/bytes", 99},
		"bytes, copied":          {[]pgproto3.FrontendMessage{simple("COPY (SELECT repeat('x', 990) FROM generate_series(1, 120)) TO STDOUT")}, "limit/bytes", 100},
		"bytes, in portions": {all(parse("", "SELECT repeat('x', 990) FROM generate_series(1, 500)"), bind("", ""),
			execute("", 60), execute("", 60), execute("", 60), sync_), "limit/bytes", 99},
		"bytes, slowly": {[]pgproto3.FrontendMessage{simple("SELECT repeat('x', 40000), pg_sleep(0.02) FROM generate_series(1, 20)")}, "limit/bytes", 2},
	} {
		got := g.raw("agent-1").do(c.messages...)
		rows, bytes := shown(got)
		if rows != c.rows || bytes > 120000 || c.reason != "" && !mentions(got, c.reason) || c.reason == "" && mentions(got, "error") {
			t.Errorf("%s: %d rows, %d bytes, last %.300q", name, rows, bytes, got[max(0, len(got)-3):])
		}
	}
}

// A limit may depend on what a result holds.
func TestLimitAtResponse(t *testing.T) {
	g := start(t, withPolicy(permissive+`
limit contains {"id": "test/rows", "rows": 1} if "public.customers.name" in input.response.source_names
limit contains {"id": "test/seconds", "seconds": 0.5} if "public.customers.balance" in input.response.source_names
limit contains {"id": "test/all", "rows": 2} if not contains(input.sql.text, "pg_sleep")
`))
	r := g.raw("agent-1")
	for sql, rows := range map[string]int{"SELECT name FROM customers": 1, "SELECT id FROM customers": 2, "COPY customers (name) TO STDOUT": 1} {
		got := r.do(simple(sql))
		n := 0
		for _, l := range got {
			if strings.HasPrefix(l, "row ") || strings.HasPrefix(l, "copydata ") {
				n++
			}
		}
		if n != rows || !mentions(got, "limit/rows") {
			t.Errorf("%s: %q", sql, got)
		}
	}
	if got := r.do(simple("SELECT balance, repeat('x', 10000), pg_sleep(0.1) FROM customers, generate_series(1, 1000)")); !mentions(got, "limit/seconds") {
		t.Errorf("%q", got)
	}
}

// The cancel that a limit sends never hits the statement that comes next.
func TestLimitHitsOnlyItsStatement(t *testing.T) {
	g := start(t, withPolicy(permissive+`
limit contains {"id": "test/rows", "rows": 10} if input.action.verb == "select"
`))
	r := g.raw("agent-1")
	for i := range 200 {
		if got := r.do(simple("SELECT generate_series(1, 11)")); !mentions(got, "limit/rows") {
			t.Fatalf("%d: %q", i, got)
		}
		if got := r.do(simple("SELECT 1")); !mentions(got, `row "1"`) {
			t.Fatalf("%d: %q", i, got)
		}
	}
}

// A client that reads slowly holds the target back, not the result in memory.
func TestSlowReader(t *testing.T) {
	g := start(t, withPolicy(masked))
	for _, sql := range []string{
		"SELECT repeat('x', 1000) FROM generate_series(1, 200000)",
		"DO $$ BEGIN FOR i IN 1..200000 LOOP RAISE NOTICE '%', repeat('x', 1000); END LOOP; END $$",
	} {
		r := g.raw("agent-1")
		runtime.GC()
		var before, now runtime.MemStats
		runtime.ReadMemStats(&before)
		r.send(simple(sql))
		g.busy()
		time.Sleep(time.Second)
		runtime.GC()
		runtime.ReadMemStats(&now)
		if grown := int64(now.HeapInuse) - int64(before.HeapInuse); grown > 64<<20 {
			t.Errorf("%.20s: %d MB are held for a client that does not read", sql, grown>>20)
		}
		n := 0
		for l := r.next(); !strings.HasPrefix(l, "ready"); l = r.next() {
			if l == "" {
				t.Fatal("cut")
			}
			n++
		}
		if n < 200000 {
			t.Errorf("%d messages", n)
		}
	}
}

func TestNotificationsReachAnIdleSession(t *testing.T) {
	g := start(t, withPolicy(permissive))
	r := g.raw("agent-1")
	r.do(simple("LISTEN news"))
	time.Sleep(500 * time.Millisecond)
	for i := range 3 {
		g.owner(fmt.Sprintf("NOTIFY news, 'n%d'", i))
		if l := r.next(); l != fmt.Sprintf("notification news n%d", i) {
			t.Errorf("%q", l)
		}
		if i == 1 {
			r.do(simple("SELECT 1"))
		}
	}
}

// What would make the target read strings otherwise, or act as somebody else,
// is refused, and ends the session where it happens unseen.
func TestTripwires(t *testing.T) {
	g := start(t, withPolicy(permissive), func(s *settings) {
		s.role = postgres.Role{Name: "pg_monitor"}
	})
	for _, sql := range []string{
		"SET client_encoding = 'SJIS'", "SET NAMES 'GBK'", "SET standard_conforming_strings = off", "SET LOCAL standard_conforming_strings TO 'off'",
		"SELECT set_config('standard_conforming_strings', 'off', false)", "SELECT set_config('Client_Encoding', 'BIG5', false)",
		"SET ROLE postgres", "RESET ROLE", "SET SESSION AUTHORIZATION DEFAULT", "RESET SESSION AUTHORIZATION", "SET role TO DEFAULT", "DISCARD ALL",
		"UPDATE pg_settings SET setting = 'off' WHERE name = 'standard_conforming_strings'", "DELETE FROM pg_catalog.pg_class",
		"SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE; SET ROLE none", "BEGIN; SET ROLE postgres",
		"PREPARE x AS SELECT 1; SET ROLE postgres", "SET \"role\" = 'postgres'", "SET U&\"\\0072ole\" = 'postgres'",
	} {
		r := g.raw("agent-1")
		if got := r.do(simple(sql)); !mentions(got, "error ERROR 42501") || !mentions(got, "{reason: postgres/") || mentions(got, "complete SET\n") {
			t.Errorf("%s: %q", sql, got)
		}
		if got := r.do(append(run(sql), sync_)...); !mentions(got, "error ERROR") || mentions(got, "complete") && !mentions(got, "parsecomplete") {
			t.Errorf("extended, %s: %q", sql, got)
		}
		if got := r.do(simple("SELECT current_user || current_setting('standard_conforming_strings') || current_setting('client_encoding')")); !mentions(got, `row "pg_monitoronUTF8"`) {
			t.Errorf("after %s: %q", sql, got)
		}
	}
	for _, sql := range []string{
		"DO $$ BEGIN SET standard_conforming_strings = off; END $$", "DO $$ BEGIN PERFORM set_config('client_encoding', 'GBK', false); END $$",
		"DO $$ BEGIN EXECUTE 'SET ROLE none'; END $$", "SELECT set_config(n, 'none', false) FROM (VALUES ('role')) v(n)",
		"SELECT set_config('ro' || 'le', 'none', false)",
	} {
		r := g.raw("agent-1")
		r.send(simple(sql), simple(`SELECT '\', current_user FROM customers; --'`))
		got := r.until(9)
		if !mentions(got, "error FATAL 42501") || !mentions(got, "postgres/session-changed") || mentions(got, "postgres\"") {
			t.Errorf("%s: %q", sql, got)
		}
		r = g.raw("agent-1")
		r.send(all(run(sql), run(`SELECT '\', current_user`), sync_)...)
		if got := r.until(1); !mentions(got, "error") || mentions(got, `\\`) {
			t.Errorf("pipeline, %s: %q", sql, got)
		}
	}
}

// A parameter's value is decided on, whatever its encoding.
func TestBinaryParameters(t *testing.T) {
	g := start(t)
	binary := func(name string) *pgproto3.Bind {
		return &pgproto3.Bind{PreparedStatement: name, ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{0, 0, 0, 13}}}
	}
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"typed":            {parse("", "SELECT $1::int", 23), binary(""), execute("", 0), sync_},
		"untyped":          {parse("", "SELECT $1::int"), binary(""), execute("", 0), sync_},
		"described":        {parse("a", "SELECT $1::int"), describe('S', "a"), sync_, binary("a"), execute("", 0), sync_},
		"by SQL":           {simple("PREPARE q (int) AS SELECT $1"), binary("q"), execute("", 0), sync_},
		"by SQL, no types": {simple("PREPARE q AS SELECT $1::int"), binary("q"), execute("", 0), sync_},
		"failed":           {simple("BEGIN"), parse("", "SELECT $1::int"), binary(""), execute("", 0), sync_},
	} {
		if got := g.raw("agent-1").do(messages...); !mentions(got, "42501") || mentions(got, "row \"13") {
			t.Errorf("%s: %q", name, got)
		}
	}
	var n int
	must(t, g.connect("agent-1").QueryRow(t.Context(), "SELECT $1::int", pgx.QueryExecModeExec, 12).Scan(&n))
}
