package postgres_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// sequences are messages to which the gateway must answer as the target does.
// Each runs in a session of its own and leaves nothing behind.
var sequences = map[string][][]pgproto3.FrontendMessage{
	"all in order": {
		{parse("s", "SELECT id, name FROM customers WHERE id = $1::int"), describe('S', "s"), sync_},
		{bind("p", "s", "1"), describe('P', "p"), execute("p", 0), sync_},
		{bind("p", "s", "2"), execute("p", 0), closes('P', "p"), closes('S', "s"), sync_},
		{bind("p", "s", "2"), execute("p", 0), sync_},
	},
	"error skips to sync": {
		all(run("SELECT 1/0"), run("SELECT 2"), sync_, run("SELECT 3"), sync_),
	},
	"error at parse": {all(parse("", "SELECT nope FROM customers"), bind("", ""), execute("", 0), sync_, run("SELECT 1"), sync_)},
	"two syncs":      {{sync_, sync_}, all(run("SELECT 1"), sync_, sync_)},
	"query between": {
		all(parse("a", "SELECT 1"), simple("SELECT 2"), bind("", "a"), execute("", 0), sync_),
	},
	"query ends the unnamed statement": {
		all(parse("", "SELECT 1"), sync_, simple("SELECT 2"), bind("", ""), execute("", 0), sync_),
	},
	"suspended across sync": {
		{simple("BEGIN")},
		all(parse("", "SELECT i FROM generate_series(1, 5) i"), bind("p", ""), execute("p", 2), sync_),
		{execute("p", 2), sync_}, {simple("SELECT 9")}, {execute("p", 0), sync_}, {execute("p", 0), sync_},
		{simple("ROLLBACK")},
	},
	"portal dies with its transaction": {
		all(parse("", "SELECT i FROM generate_series(1, 5) i"), bind("p", ""), execute("p", 2), sync_),
		{execute("p", 2), sync_},
	},
	"cursors": {
		{simple("BEGIN"), simple("DECLARE c CURSOR FOR SELECT id, name FROM customers ORDER BY id")},
		{describe('P', "c"), execute("c", 1), sync_}, {simple("FETCH 1 FROM c")}, {simple("MOVE 1 IN c; CLOSE c; COMMIT")},
		{simple("FETCH 1 FROM c")},
	},
	"fetch from a portal": {
		{simple("BEGIN")},
		{parse("", "SELECT id FROM customers ORDER BY id"), bind("p", ""), sync_},
		{simple("FETCH 1 FROM p"), simple("CLOSE p"), simple("FETCH 1 FROM p"), simple("ROLLBACK")},
	},
	"sql prepared, bound": {
		{simple("PREPARE q (int) AS SELECT name FROM customers WHERE id = $1")},
		{bind("", "q", "1"), execute("", 0), sync_}, {simple("EXECUTE q(2)")},
		{simple("DEALLOCATE q")}, {simple("EXECUTE q(2)")}, {bind("", "q", "1"), execute("", 0), sync_},
	},
	"odd names": {
		{parse(`a "b'; DROP TABLE x --`, "SELECT 1"), bind(`p "'é`, `a "b'; DROP TABLE x --`), describe('P', `p "'é`), execute(`p "'é`, 0), sync_},
		{simple(`EXECUTE "a ""b'; DROP TABLE x --"`)},
		{simple(`PREPARE "as AS select" AS SELECT 5 AS "as"; EXECUTE "as AS select"`)},
	},
	"protocol statement by SQL": {{parse("z", "SELECT 7"), sync_}, {simple("EXECUTE z")}, {simple("DEALLOCATE ALL")}, {bind("", "z"), execute("", 0), sync_}},
	"same name": {
		{parse("a", "SELECT 1"), closes('S', "a"), parse("a", "SELECT 2"), bind("", "a"), execute("", 0), sync_},
		{parse("a", "SELECT 3"), bind("", "a"), execute("", 0), sync_}, {bind("", "a"), execute("", 0), sync_},
	},
	"unnamed again": {
		all(run("SELECT 1"), run("SELECT 2"), parse("", "SELECT 3"), sync_),
		{bind("", ""), execute("", 0), sync_},
	},
	"binary": {
		{parse("", "SELECT id, name, balance FROM customers WHERE id = $1", 23),
			&pgproto3.Bind{ParameterFormatCodes: []int16{1}, Parameters: [][]byte{{0, 0, 0, 2}}, ResultFormatCodes: []int16{1, 0, 1}}, execute("", 0), sync_},
	},
	"empty":            {{simple("")}, {simple(" ; ;")}, {simple("-- nothing")}, all(parse("", "-- nothing"), bind("", ""), describe('P', ""), execute("", 0), sync_)},
	"empty while open": {{parse("", "SELECT 1"), flush, simple(""), bind("", ""), execute("", 0), sync_}},
	"multi":            {{simple("SELECT 1; SELECT 2; SELECT 1/0; SELECT 3")}, {simple("BEGIN; SELECT 1")}, {simple("SELECT 1/0")}, {simple("SELECT 1")}, {simple("COMMIT")}},
	"implicit rollback": {
		all(run("INSERT INTO orders VALUES (77, 1, 1, 'x')"), run("SELECT 1/0"), sync_),
		{simple("SELECT count(*) FROM orders")},
		all(run("INSERT INTO orders VALUES (78, 1, 1, 'x')"), simple("SELECT 1/0")),
		{simple("SELECT count(*) FROM orders")},
	},
	"describe nothing":  {{describe('S', "none"), sync_}, {describe('P', "none"), sync_}, {execute("none", 0), sync_}, {bind("", "none"), sync_}, {closes('S', "none"), closes('P', "none"), sync_}},
	"describe, no rows": {{parse("", "INSERT INTO orders SELECT 1, 1, 1 WHERE false"), describe('S', ""), bind("", ""), describe('P', ""), execute("", 0), sync_}},
	"flush":             {all(run("SELECT 1"), flush, run("SELECT 2"), flush, sync_)},
	"transaction":       {all(run("BEGIN"), run("SELECT 1"), run("COMMIT"), sync_), all(run("BEGIN"), sync_, run("SELECT 1/0"), sync_, run("SELECT 1"), sync_, run("ROLLBACK"), sync_)},
	"savepoints":        {{simple("BEGIN"), simple("SAVEPOINT a"), simple("SELECT 1/0"), simple("ROLLBACK TO a"), simple("SELECT 1"), simple("RELEASE a"), simple("COMMIT")}},
	"portal and savepoint": {
		{simple("BEGIN"), parse("", "SELECT i FROM generate_series(1, 3) i"), bind("p", ""), sync_, simple("SAVEPOINT a")},
		{parse("x", "SELECT nope"), describe('P', "p"), sync_}, {simple("ROLLBACK TO a")}, {execute("p", 0), sync_}, {simple("COMMIT")},
	},
	"limited unnamed":   {all(parse("", "SELECT i FROM generate_series(1, 3) i"), bind("", ""), describe('P', ""), execute("", 1), execute("", 1), execute("", 9), execute("", 9), sync_)},
	"copy out":          {{simple("COPY customers (id, name) TO STDOUT; SELECT 1")}, all(run("COPY customers (id) TO STDOUT"), sync_)},
	"copy data outside": {{&pgproto3.CopyData{Data: []byte("x")}, &pgproto3.CopyDone{}, &pgproto3.CopyFail{Message: "x"}, simple("SELECT 1")}},
	"copy in, failed by the client": {
		{simple("BEGIN")},
		all(simple("COPY orders FROM STDIN"), &pgproto3.CopyData{Data: []byte("80\t1\t1\tx\n")}, &pgproto3.CopyFail{Message: "no"}),
		{simple("ROLLBACK")},
	},
	"copy in among others": {
		all(simple("BEGIN; COPY orders FROM STDIN; SELECT count(*) FROM orders; COPY orders (id) FROM STDIN; ROLLBACK"),
			&pgproto3.CopyData{Data: []byte("80\t1\t1\tx\n")}, &pgproto3.CopyDone{}, &pgproto3.CopyData{Data: []byte("81\n")}, &pgproto3.CopyDone{}),
		{simple("SELECT count(*) FROM orders")},
	},
	"copy in, extended": {
		{simple("BEGIN")},
		all(run("COPY orders FROM STDIN"), &pgproto3.CopyData{Data: []byte("80\t1\t1\tx\n")}, &pgproto3.CopyDone{}, sync_),
		{simple("SELECT count(*) FROM orders"), simple("ROLLBACK")},
	},
	"function call":         {{&pgproto3.FunctionCall{Function: 1317, ArgFormatCodes: []uint16{0}, Arguments: [][]byte{[]byte("abc")}}, simple("SELECT 1")}},
	"listen":                {{simple("LISTEN a; NOTIFY a, 'x'; UNLISTEN a")}},
	"settings":              {{simple("SET application_name = 'x'; SHOW application_name"), simple("BEGIN; SET LOCAL search_path = pg_catalog; SHOW search_path; COMMIT; SHOW search_path")}},
	"two commands in parse": {all(parse("", "SELECT 1; SELECT 2"), sync_)},
	"temporary tables": {
		{simple("CREATE TEMP TABLE t AS SELECT id, name FROM customers"), simple("SELECT * FROM t ORDER BY id"), simple("DROP TABLE t"), simple("SELECT * FROM t")},
	},
}

// TestAsDirect sends the same messages to the target and to a gateway that
// allows everything, and compares the answers.
func TestAsDirect(t *testing.T) {
	g := start(t, withPolicy(permissive))
	for name, rounds := range sequences {
		t.Run(name, func(t *testing.T) {
			want := transcript(t, g.direct(), rounds)
			got := transcript(t, g.raw("agent-1"), rounds)
			if got != want {
				t.Errorf("direct:\n%s\nthrough the gateway:\n%s", want, got)
			}
		})
	}
}

func transcript(t *testing.T, r *raw, rounds [][]pgproto3.FrontendMessage) string {
	t.Helper()
	r.t = t
	defer r.conn.Close() // with its transaction and the locks of it
	var out strings.Builder
	for i, messages := range rounds {
		fmt.Fprintf(&out, "-- %d\n", i)
		for _, l := range r.do(messages...) {
			// What the gateway refuses itself has its own words.
			if strings.HasPrefix(l, "error") {
				l = strings.Join(strings.Fields(l)[:3], " ")
			}
			fmt.Fprintln(&out, l)
		}
	}
	return out.String()
}
