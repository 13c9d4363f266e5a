package postgres_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// twoPaths has a table t in two schemas; only open.t may be read.
const twoPaths = `
CREATE SCHEMA open; CREATE TABLE open.t (x text); INSERT INTO open.t VALUES ('open');
CREATE SCHEMA closed; CREATE TABLE closed.t (x text); INSERT INTO closed.t VALUES ('TOPSECRET');
CREATE FUNCTION swap(name text, query text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
 BEGIN EXECUTE 'DEALLOCATE ' || name; EXCEPTION WHEN OTHERS THEN END;
 EXECUTE 'PREPARE ' || name || ' AS ' || query; END $$;
CREATE FUNCTION recursor(c refcursor) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
 CLOSE c; OPEN c FOR SELECT x FROM closed.t; END $$;
`

const closedPolicy = permissive + `
deny contains {"id": "test/closed", "msg": "closed.t is closed"} if "closed.t" in input.resource.table_names

deny contains {"id": "test/incomplete", "msg": "not known"} if {
	input.stage == "request"
	not input.complete
	not "public.swap" in input.resource.function_names
	not "public.recursor" in input.resource.function_names
}
`

// renamings try to have another statement decided than the one that runs.
var renamings = map[string][][]pgproto3.FrontendMessage{
	"path changed between Bind and Execute": {
		{simple("BEGIN; SET search_path = closed")},
		{parse("s", "SELECT x FROM t"), bind("p", "s"), sync_},
		{simple("SET search_path = open")}, {execute("p", 0), sync_},
	},
	"path changed and changed back in one pipeline": {
		{simple("BEGIN; SET search_path = open"), parse("s", "SELECT x FROM t"), sync_},
		all(run("SET search_path = closed"), bind("p", "s"), run("SET search_path = open"), sync_),
		{execute("p", 0), sync_},
	},
	"path changed in the pipeline": {
		{simple("SET search_path = open"), parse("s", "SELECT x FROM t"), sync_},
		all(run("SET search_path = closed"), bind("", "s"), execute("", 0), sync_),
	},
	"path changed between Parse and Bind": {
		{simple("SET search_path = open"), parse("s", "SELECT x FROM t"), describe('S', "s"), sync_},
		{simple("SET search_path = closed"), bind("", "s"), execute("", 0), sync_},
	},
	"path set back by ROLLBACK in the pipeline": {
		{simple("SET search_path = closed"), simple("BEGIN"), simple("SET search_path = open"), simple("SELECT x FROM t")},
		all(run("ROLLBACK"), run("SELECT x FROM t"), sync_),
	},
	"path set back by COMMIT in the query": {
		{simple("SET search_path = closed"), simple("BEGIN"), simple("SET LOCAL search_path = open"), simple("SELECT x FROM t")},
		{simple("COMMIT; SELECT x FROM t")},
	},
	"path set back by ROLLBACK TO": {
		{simple("BEGIN; SET search_path = closed"), simple("SAVEPOINT a; SET search_path = open"), simple("SELECT x FROM t")},
		all(run("ROLLBACK TO a"), run("SELECT x FROM t"), sync_), {simple("ROLLBACK")},
	},
	"prepared again in the pipeline": {
		{simple("PREPARE q AS SELECT 'harmless'")},
		all(run("DEALLOCATE q"), run("PREPARE q AS SELECT x FROM closed.t"), bind("", "q"), execute("", 0), sync_),
	},
	"EXECUTE parsed before": {
		{simple("PREPARE q AS SELECT 'harmless'"), parse("a", "EXECUTE q"), sync_},
		{simple("DEALLOCATE q")}, {parse("q", "SELECT x FROM closed.t"), sync_}, {bind("", "a"), execute("", 0), sync_},
	},
	"EXECUTE in the query after": {
		{simple("PREPARE q AS SELECT 'harmless'")},
		{simple("DEALLOCATE q; PREPARE q AS SELECT x FROM closed.t; EXECUTE q")},
	},
	"FETCH parsed before": {
		{simple("BEGIN; DECLARE c CURSOR FOR SELECT 'harmless' FROM generate_series(1, 3)"), parse("f", "FETCH c"), sync_},
		{simple("CLOSE c"), parse("", "SELECT x FROM closed.t"), bind("c", ""), sync_}, {bind("", "f"), execute("", 0), sync_},
	},
	"cursor declared again in the pipeline": {
		{simple("BEGIN; DECLARE c CURSOR FOR SELECT 'harmless'")},
		all(run("CLOSE c"), run("DECLARE c CURSOR FOR SELECT x FROM closed.t"), execute("c", 0), sync_),
	},
	"prepared again by a function": {
		{simple("PREPARE q AS SELECT 'harmless'")},
		{simple("SELECT swap('q', 'SELECT x FROM closed.t')")}, {simple("EXECUTE q")}, {bind("", "q"), execute("", 0), sync_},
	},
	"prepared again by a function, in the pipeline": {
		{simple("PREPARE q AS SELECT 'harmless'")},
		all(run("SELECT swap('q', 'SELECT x FROM closed.t')"), bind("", "q"), execute("", 0), sync_),
	},
	"cursor opened again by a function": {
		{simple("BEGIN; DECLARE c CURSOR FOR SELECT 'harmless'")},
		{simple("SELECT recursor('c')")}, {simple("FETCH c"), simple("ROLLBACK")},
		{simple("BEGIN; DECLARE c CURSOR FOR SELECT 'harmless'")},
		{simple("SELECT recursor('c')")}, {execute("c", 0), sync_},
	},
	"portal under an old decision": {
		{simple("BEGIN"), parse("", "SELECT 'harmless' FROM generate_series(1, 9)"), bind("c", ""), execute("c", 1), sync_},
		all(run("SELECT recursor('c')"), execute("c", 0), sync_),
	},
	"same name, new text": {
		{parse("a", "SELECT 'harmless'"), sync_},
		{closes('S', "a"), parse("a", "SELECT x FROM closed.t"), bind("", "a"), execute("", 0), sync_},
	},
	"same name without Close": {
		{parse("a", "SELECT x FROM closed.t"), sync_},
		{parse("a", "SELECT 'harmless'"), sync_, bind("", "a"), execute("", 0), sync_},
	},
	"unnamed, new text": {
		{parse("", "SELECT 'harmless'"), bind("", ""), parse("", "SELECT x FROM closed.t"), bind("", ""), execute("", 0), sync_},
	},
	"temporary table dropped": {
		{simple("CREATE TEMP TABLE t (x text)"), simple("SET search_path = closed"), simple("SELECT x FROM t")},
		{simple("DROP TABLE t"), simple("SELECT x FROM t")},
		{simple("CREATE TEMP TABLE t (x text)"), simple("SELECT x FROM t")}, all(run("DROP TABLE t"), run("SELECT x FROM t"), sync_),
		{simple("DISCARD ALL")}, {simple("SET search_path = closed; SELECT x FROM t")},
	},
	"renamed table": {
		{simple("BEGIN; ALTER SCHEMA open RENAME TO o2; ALTER SCHEMA closed RENAME TO open")},
		{simple("SELECT x FROM open.t"), simple("ROLLBACK")},
	},
}

func TestWhatRunsIsWhatWasDecided(t *testing.T) {
	g := start(t, withPolicy(closedPolicy), func(s *settings) { s.schema = twoPaths })
	for name, rounds := range renamings {
		t.Run(name, func(t *testing.T) {
			got := transcript(t, g.raw("agent-1"), rounds)
			if strings.Contains(got, "TOPSECRET") {
				t.Errorf("a closed table was read:\n%s", got)
			}
			if !strings.Contains(got, "error") {
				t.Errorf("nothing was refused:\n%s", got)
			}
		})
	}
}

// A prepared statement follows the catalogue, though nobody parses it again.
func TestPreparedStatementFollowsTheCatalogue(t *testing.T) {
	g := start(t, withPolicy(closedPolicy), func(s *settings) { s.schema = twoPaths })
	r, other := g.raw("agent-1"), g.raw("agent-2")
	r.do(parse("s", "SELECT x FROM open.t"), sync_)
	if got := r.do(bind("", "s"), execute("", 0), sync_); !mentions(got, `row "open"`) {
		t.Fatalf("%q", got)
	}
	g.owner("ALTER SCHEMA open RENAME TO o2; CREATE SCHEMA open; CREATE VIEW open.t AS SELECT x FROM closed.t")
	other.do(simple("CREATE TABLE public.of_another_agent ()"))
	if got := r.do(bind("", "s"), execute("", 0), sync_); mentions(got, "TOPSECRET") || !mentions(got, "42501") {
		t.Errorf("%q", got)
	}
}

// What a function may have changed does not stop prepared statements that it
// left alone.
func TestPreparedStatementsOutliveAFunction(t *testing.T) {
	g := start(t, withPolicy(closedPolicy), func(s *settings) { s.schema = twoPaths })
	r := g.raw("agent-1")
	r.do(parse("é", "SELECT 'kept' /* ü */"), sync_, simple("PREPARE a AS SELECT 'a'; PREPARE b AS SELECT 'b' FROM open.t"))
	r.do(run("PREPARE c AS SELECT 'c'")[0], bind("", ""), execute("", 0), sync_)
	r.do(simple("SELECT swap('x', 'SELECT 1')"), simple("SELECT x FROM open.t"))
	got := r.do(bind("", "é"), execute("", 0), sync_, simple("EXECUTE a; EXECUTE b"), simple("EXECUTE c"))
	for _, want := range []string{`"kept"`, `"a"`, `"b"`, `"c"`} {
		if !mentions(got, "row "+want) {
			t.Errorf("no %s in %q", want, got)
		}
	}
	if got := r.do(simple("EXECUTE x")); !mentions(got, "42501") {
		t.Errorf("a statement that a function has prepared: %q", got)
	}
}
