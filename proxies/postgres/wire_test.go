package postgres_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Masks hold whatever way a result is asked for.
func TestMasksOnTheWire(t *testing.T) {
	g := start(t, withPolicy(masked))
	binary := func(sql string) []pgproto3.FrontendMessage {
		return all(parse("", sql), &pgproto3.Bind{ResultFormatCodes: []int16{1}}, execute("", 0), sync_)
	}
	for name, rounds := range map[string][][]pgproto3.FrontendMessage{
		"no Describe":        {all(run("SELECT email, ssn FROM customers"), sync_)},
		"binary":             {binary("SELECT email, ssn, email || '' FROM customers")},
		"binary row":         {binary("SELECT c FROM customers c")},
		"binary array":       {binary("SELECT array_agg(email) FROM customers")},
		"suspended":          {{simple("BEGIN")}, all(parse("", "SELECT email FROM customers"), bind("p", ""), execute("p", 1), sync_), {execute("p", 1), sync_}, {execute("p", 0), sync_}},
		"cursor":             {{simple("BEGIN; DECLARE c CURSOR FOR SELECT email FROM customers")}, {simple("FETCH 1 FROM c")}, {execute("c", 1), sync_}, {parse("", "FETCH 1 FROM c"), bind("", ""), execute("", 0), sync_}},
		"binary cursor":      {{simple("BEGIN; DECLARE c BINARY CURSOR FOR SELECT email, c FROM customers c")}, {simple("FETCH ALL FROM c")}},
		"held cursor":        {{simple("BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT email FROM customers; COMMIT")}, {simple("FETCH ALL FROM c")}},
		"prepared":           {{simple("PREPARE q AS SELECT email FROM customers")}, {simple("EXECUTE q")}, {bind("", "q"), execute("", 0), sync_}, {simple("CREATE TEMP TABLE x AS EXECUTE q"), simple("SELECT * FROM x")}},
		"renamed columns":    {{simple("BEGIN")}, {parse("s", "SELECT name FROM customers"), describe('S', "s"), sync_}, {simple("ALTER TABLE customers RENAME name TO n2"), simple("ALTER TABLE customers RENAME email TO name"), bind("", "s"), execute("", 0), sync_}, {simple("SELECT name FROM customers"), simple("ROLLBACK")}},
		"copy text":          {{simple("COPY customers TO STDOUT")}},
		"copy csv":           {{simple("COPY customers (email, id) TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE *)")}},
		"copy binary":        {{simple("COPY customers TO STDOUT WITH (FORMAT binary)")}},
		"copy query":         {{simple("COPY (SELECT email || 'x', ssn FROM customers) TO STDOUT")}},
		"error":              {{simple("SELECT email::int FROM customers")}, all(run("SELECT email::int FROM customers"), sync_), all(run("UPDATE customers SET id = NULL WHERE id = 1"), sync_)},
		"notice":             {{simple("DO $$ DECLARE r record; BEGIN FOR r IN SELECT * FROM customers LOOP RAISE NOTICE '%', r.email; END LOOP; END $$")}},
		"temporary table":    {{simple("CREATE TEMP TABLE x AS SELECT email AS e FROM customers; SELECT e FROM x")}, {simple("SELECT e FROM x"), simple("SELECT upper(e) FROM x")}},
		"function call":      {{simple("CREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS 'SELECT email FROM public.customers LIMIT 1'"), simple("SELECT pg_temp.f()")}},
		"returning":          {{simple("BEGIN"), simple("UPDATE customers SET balance = 0 RETURNING email, *"), simple("ROLLBACK")}},
		"insert and select":  {{simple("BEGIN"), simple("CREATE TABLE y (e text)"), simple("INSERT INTO y SELECT email FROM customers RETURNING e"), simple("ROLLBACK")}},
		"explain":            {{simple("EXPLAIN (ANALYZE, VERBOSE) SELECT * FROM customers WHERE email = (SELECT max(email) FROM customers)")}},
		"fetch from portal":  {{simple("BEGIN"), parse("", "SELECT email FROM customers"), bind("p", ""), sync_}, {simple("FETCH ALL FROM p")}},
		"statement by SQL":   {{parse("z", "SELECT email FROM customers"), sync_}, {simple("EXECUTE z")}},
		"explain of execute": {{parse("z", "SELECT * FROM customers WHERE email > 'a'"), sync_}, {simple("EXPLAIN ANALYZE EXECUTE z")}},
	} {
		t.Run(name, func(t *testing.T) {
			got := transcript(t, g.raw("agent-1"), rounds)
			for _, secret := range []string{"example.com", "ann@", "11-22-33", "333-44-5555"} {
				if strings.Contains(strings.ToLower(got), secret) {
					t.Errorf("shows %q:\n%s", secret, got)
				}
			}
		})
	}
}

// A session gives the same answers however its bytes are cut into packets.
func TestEverySplit(t *testing.T) {
	g := start(t, withPolicy(masked))
	session := encode(t, all(
		parse("s", "SELECT id, email FROM customers WHERE id = $1"), describe('S', "s"), bind("", "s", "1"), execute("", 0), sync_,
		simple("SELECT 1"), simple("COPY orders (id) FROM STDIN"), &pgproto3.CopyData{Data: []byte("x\n")}, &pgproto3.CopyDone{}, closes('S', "s"), sync_)...)
	r := g.raw("agent-1")
	r.write(session)
	want := fmt.Sprint(r.until(4))
	if !strings.Contains(want, "[REDACTED]") || !strings.Contains(want, "22P02") {
		t.Fatal(want)
	}
	for i := 1; i < len(session); i++ {
		r.write(session[:i])
		time.Sleep(200 * time.Microsecond)
		r.write(session[i:])
		if got := fmt.Sprint(r.until(4)); got != want {
			t.Fatalf("split at %d: %s\nwant %s", i, got, want)
		}
	}
	for i := range session {
		r.write(session[i : i+1])
	}
	if got := fmt.Sprint(r.until(4)); got != want {
		t.Fatalf("byte by byte: %s\nwant %s", got, want)
	}
}

func message(typ byte, body string) []byte {
	n := len(body) + 4
	return append([]byte{typ, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

// What is not PostgreSQL's protocol ends the session with a clear error, or is
// refused, and is never forwarded.
func TestMalformed(t *testing.T) {
	g := start(t, withPolicy(permissive))
	big := strings.Repeat("x", 17<<20)
	for name, c := range map[string]struct {
		bytes []byte
		want  string
		goes  bool // the session goes on
	}{
		"unknown type":        {message('!', "abc"), "FATAL 08P01", false},
		"backend's type":      {message('Z', "I"), "FATAL 08P01", false},
		"password again":      {message('p', "x\x00"), "FATAL 08P01", false},
		"length 3":            {[]byte{'Q', 0, 0, 0, 3}, "FATAL 08P01", false},
		"length 4 GB":         {[]byte{'Q', 0xff, 0xff, 0xff, 0xff}, "FATAL 08P01", false},
		"too large":           {message('Q', big+"\x00"), "FATAL 54000", false},
		"too large, header":   {[]byte{'Q', 0x10, 0, 0, 0}, "FATAL 54000", false},
		"NUL in a query":      {message('Q', "SELECT 1\x00; DROP TABLE orders\x00"), "ERROR 08P01", true},
		"query without end":   {message('Q', "SELECT 1"), "ERROR 08P01", true},
		"invalid UTF-8":       {message('Q', "SELECT '\xff\xfe'\x00"), "ERROR 22021", true},
		"overlong UTF-8":      {message('Q', "SELECT '\xc0\xa7'\x00"), "ERROR 22021", true},
		"parse, cut":          {append(message('P', "a\x00SELECT 1\x00\x00\x05"), message('S', "")...), "ERROR 08P01", true},
		"parse, longer":       {append(message('P', "a\x00SELECT 1\x00\x00\x00zz"), message('S', "")...), "ERROR 08P01", true},
		"parse, NUL":          {append(message('P', "a\x00SELECT 1\x00; SELECT 2\x00\x00\x00"), message('S', "")...), "ERROR 08P01", true},
		"bind, many formats":  {append(append(message('P', "\x00SELECT 1\x00\x00\x00"), message('B', "\x00\x00\xff\xff")...), append(message('E', "\x00\x00\x00\x00\x00"), message('S', "")...)...), "ERROR", true},
		"describe, odd":       {append(message('D', "Xa\x00"), message('S', "")...), "ERROR 08P01", true},
		"close, odd":          {append(message('C', "Xa\x00"), message('S', "")...), "ERROR 08P01", true},
		"execute, cut":        {append(message('E', "a\x00\x00"), message('S', "")...), "ERROR 08P01", true},
		"function call, cut":  {message('F', "\x00\x00\x00\x01\x00\x09"), "ERROR 08P01", true},
		"function call, none": {message('F', ""), "ERROR 08P01", true},
	} {
		r := g.raw("agent-1")
		r.t = t
		go func() { _, _ = r.conn.Write(c.bytes) }()
		got := r.until(1)
		if !mentions(got, "error "+c.want) {
			t.Errorf("%s: %q", name, got)
		}
		if c.goes {
			if got := r.do(simple("SELECT 1")); !mentions(got, `row "1"`) {
				t.Errorf("%s, afterwards: %q", name, got)
			}
		} else if l := r.next(); l != "" {
			t.Errorf("%s, afterwards: %q", name, l)
		}
	}
	if v := g.value("SELECT count(*) FROM orders"); v != "2" {
		t.Errorf("%s orders", v)
	}
}

// Too much without a Sync is refused before memory is the limit.
func TestEndlessBatch(t *testing.T) {
	g := start(t, withPolicy(permissive))
	r := g.raw("agent-1")
	done := make(chan struct{})
	go func() {
		defer close(done)
		chunk := bytes.Repeat(encode(t, parse("", "SELECT 1 -- "+strings.Repeat("x", 1<<20))), 8)
		for {
			if _, err := r.conn.Write(chunk); err != nil {
				return
			}
		}
	}()
	if got := r.until(1); !mentions(got, "error FATAL 54000") || !mentions(got, "postgres/batch-too-large") {
		t.Errorf("%q", got)
	}
	_ = r.conn.Close()
	<-done
}

// Large writes and large answers at the same time do not lock each other.
func TestLargeBothWays(t *testing.T) {
	g := start(t, withPolicy(permissive))
	r := g.raw("agent-1")
	text := strings.Repeat("0123456789abcdef", 15<<16)
	var messages []pgproto3.FrontendMessage
	for range 3 {
		messages = append(messages, run("SELECT $1::text, length($1)", text)...)
	}
	r.send(append(messages, sync_)...)
	if got := r.until(1); strings.Count(strings.Join(got, "\n"), fmt.Sprintf("%q", fmt.Sprint(len(text)))) != 3 {
		t.Errorf("%d answers", len(got))
	}
	if got := r.do(simple("SELECT 1 /* " + strings.Repeat("x", 10<<20) + " */")); !mentions(got, "54000") || !mentions(got, "ready I") {
		t.Errorf("a query of 10 MB: %q", got)
	}
}
