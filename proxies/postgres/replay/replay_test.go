package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with testdata/name.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; got:\n%s\nwant:\n%s", path, got, want)
	}
}

// render shows data, written in pieces of size bytes.
func render(t testing.TB, o Options, data []byte, size int) (string, error) {
	t.Helper()
	var b strings.Builder
	r := New(&b, o)
	for len(data) > 0 {
		n := min(size, len(data))
		if err := r.Write(data[:n]); err != nil {
			return b.String(), err
		}
		data = data[n:]
	}
	err := r.Flush()
	return b.String(), err
}

// tap keeps what the server sends.
type tap struct{ bytes.Buffer }

func (p *tap) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(io.TeeReader(r, p), w)
}

// record runs work on a real connection and returns what the server sent.
func record(t *testing.T, work func(ctx context.Context, c *pgconn.PgConn)) []byte {
	t.Helper()
	config, err := pgx.ParseConfig(pgtest.Shared(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	var p tap
	config.BuildFrontend = p.frontend
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	p.Reset()
	work(t.Context(), conn.PgConn())
	return p.Bytes()
}

// session is a session with everything that a replay shows.
func session(t *testing.T) []byte {
	return record(t, func(ctx context.Context, c *pgconn.PgConn) {
		simple := func(sql string) {
			t.Helper()
			_, err := c.Exec(ctx, sql).ReadAll()
			var refused *pgconn.PgError
			if err != nil && !errors.As(err, &refused) {
				t.Fatalf("%s: %v", sql, err)
			}
		}
		extended := func(sql string, format int16) {
			t.Helper()
			r := c.ExecParams(ctx, sql, nil, nil, nil, []int16{format}).Read()
			if r.Err != nil {
				t.Fatalf("%s: %v", sql, r.Err)
			}
		}
		simple(`SET TimeZone = 'Europe/Vienna'`)
		simple(`CREATE TABLE customers(id int, name text, mail text, plan jsonb)`)
		simple(`INSERT INTO customers VALUES (1, 'Ann Example', 'a***@example.com', '{"plan": "pro"}'), (20, 'Żółć 漢字 🦊', NULL, NULL), (300, '', 'NULL', '[]')`)
		simple(`SELECT * FROM customers; UPDATE customers SET id = id + 1 RETURNING id; SELECT 1 AS one WHERE false; SELECT`)
		simple(`SELECT repeat('x', 100) AS wide, 'second' AS b, NULL AS c`)
		simple(`SELECT 1/0`)
		simple(`DO $$ BEGIN RAISE NOTICE E'two\nlines' USING HINT = 'a hint', DETAIL = 'a detail'; END $$`)
		simple(`INSERT INTO customers SELECT * FROM nothing`)
		simple(``)
		simple(`LISTEN news; NOTIFY news, 'paper'`)
		for _, format := range []int16{0, 1} {
			extended(`SELECT 42::int8 AS n, 1.50::numeric AS price, true AS yes, 'text' AS t, '{"a": 1}'::jsonb AS j, '\x00ff'::bytea AS b,
				'2026-11-23'::date AS d, ARRAY[1,NULL,3] AS list, '0123abcd-0000-0000-0000-000000000000'::uuid AS id, NULL::int4 AS none,
				'1 day'::interval AS span, point(1,2) AS p, int4range(1, 5) AS r, '10.0.0.0/8'::cidr AS net`, format)
		}
		if _, err := c.CopyTo(ctx, io.Discard, `COPY (SELECT id, name FROM customers ORDER BY id) TO STDOUT`); err != nil {
			t.Fatal(err)
		}
		if _, err := c.CopyTo(ctx, io.Discard, `COPY customers TO STDOUT (FORMAT binary)`); err != nil {
			t.Fatal(err)
		}
		if _, err := c.CopyFrom(ctx, strings.NewReader("7\tBob\t\\N\t\\N\n"), `COPY customers FROM STDIN`); err != nil {
			t.Fatal(err)
		}
	})
}

func TestGolden(t *testing.T) {
	data := session(t)
	for name, o := range map[string]Options{
		"session.txt":        {Width: 100},
		"session-colour.txt": {Width: 200, Color: true},
		"session-rows.txt":   {MaxRows: 1},
	} {
		got, err := render(t, o, data, len(data))
		if err != nil {
			t.Fatal(err)
		}
		golden(t, name, got)
		for _, size := range []int{1, 2, 3, 7, 100} {
			if again, err := render(t, o, data, size); err != nil || again != got {
				t.Errorf("%s: written in pieces of %d: %v\n%s", name, size, err, again)
			}
		}
	}
	results, err := Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.MarshalIndent(results, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "session.json", string(text)+"\n")
}

// encode makes the bytes of messages.
func encode(t testing.TB, messages ...pgproto3.BackendMessage) []byte {
	t.Helper()
	var data []byte
	for _, m := range messages {
		var err error
		if data, err = m.Encode(data); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func row(values ...string) *pgproto3.DataRow {
	r := &pgproto3.DataRow{}
	for _, v := range values {
		r.Values = append(r.Values, []byte(v))
	}
	return r
}

func described(names ...string) *pgproto3.RowDescription {
	d := &pgproto3.RowDescription{}
	for _, name := range names {
		d.Fields = append(d.Fields, pgproto3.FieldDescription{Name: []byte(name), DataTypeOID: 25})
	}
	return d
}

// injections are what terminals take as commands, and text that lies about
// itself.
var injections = []string{
	"\x1b]0;title\x07", "\x1b[2J\x1b[H", "\x9b31m", "\u009b31m", "\r overwritten", "\b\b\b", "\x7f", "\u202egnp.exe", "\u200b", "\u2028", "\ufeff", "\x00", "\xff\xfe", "\x1bP+q\x1b\\",
}

func TestNothingReachesTheTerminal(t *testing.T) {
	for _, bad := range injections {
		name := strings.ReplaceAll(bad, "\x00", "")
		data := encode(t,
			described(name, "b"), row(bad, "x"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1" + name)},
			&pgproto3.ErrorResponse{Severity: name, Code: name, Message: name + "\n" + name, Detail: name, Hint: name, Where: name, ConstraintName: name, TableName: name},
			&pgproto3.NoticeResponse{Severity: name, Message: name},
			&pgproto3.ParameterStatus{Name: name, Value: name},
			&pgproto3.NotificationResponse{Channel: name, Payload: name},
			&pgproto3.FunctionCallResponse{Result: []byte(bad)},
			&pgproto3.CopyOutResponse{}, &pgproto3.CopyData{Data: []byte(bad + "\n" + bad)}, &pgproto3.CopyDone{},
			&pgproto3.CommandComplete{CommandTag: []byte(name)},
		)
		for _, width := range []int{0, 1} {
			out, err := render(t, Options{Width: width}, data, len(data))
			if err != nil {
				t.Fatal(err)
			}
			if r, found := unsafe(out); found {
				t.Errorf("%q: %U in %q", bad, r, out)
			}
		}
	}
}

// unsafe finds what must not reach a terminal.
func unsafe(out string) (rune, bool) {
	for i, r := range out {
		if r == unicode.ReplacementChar && !strings.HasPrefix(out[i:], "\ufffd") || r != '\n' && !unicode.IsPrint(r) {
			return r, true
		}
	}
	return 0, false
}

func TestWithoutDescription(t *testing.T) {
	data := encode(t, &pgproto3.BindComplete{}, row("text", "\x00\x00\x00\x07"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")})
	out, err := render(t, Options{}, data, len(data))
	want := "  ?1  |     ?2\n------+------------\n text | \\x00000007\n(1 row)\n"
	if err != nil || strings.ReplaceAll(out, " \n", "\n") != want {
		t.Errorf("%v\n%s\nwant\n%s", err, out, want)
	}
}

// TestFormatsThatAreNotKnown: a statement's description does not tell the
// formats that Bind will ask for.
func TestFormatsThatAreNotKnown(t *testing.T) {
	d := &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("n"), DataTypeOID: 23}, {Name: []byte("t"), DataTypeOID: 25}}}
	data := encode(t, &pgproto3.ParameterDescription{}, d, row("\x00\x00\x00\x07", "seven"), row("8", "eight"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 2")})
	results, err := Decode(data)
	if err != nil || len(results) != 1 || *results[0].Rows[0][0] != "7" || *results[0].Rows[1][0] != "8" {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestSuspendedPortalGoesOn(t *testing.T) {
	data := encode(t, &pgproto3.BindComplete{}, described("a"), row("1"), &pgproto3.PortalSuspended{}, &pgproto3.ReadyForQuery{TxStatus: 'T'},
		row("2"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}, &pgproto3.ReadyForQuery{TxStatus: 'T'})
	results, err := Decode(data)
	if err != nil || len(results) != 2 || !results[0].Suspended || results[1].Columns[0].Name != "a" || *results[1].Rows[0][0] != "2" {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestDamaged(t *testing.T) {
	good := encode(t, described("a"), row("1"))
	for name, data := range map[string][]byte{
		"cut":          good[:len(good)-1],
		"length 3":     {'D', 0, 0, 0, 3},
		"length 2^31":  {'D', 0x80, 0, 0, 0},
		"short row":    {'D', 0, 0, 0, 6, 0, 1},
		"length -2":    {'D', 0, 0, 0, 10, 0, 1, 0xff, 0xff, 0xff, 0xfe},
		"short error":  {'E', 0, 0, 0, 6, 'M', 'x'},
		"short column": {'T', 0, 0, 0, 8, 0, 1, 'a', 0},
		"short tag":    {'C', 0, 0, 0, 5, 'x'},
	} {
		if out, err := render(t, Options{}, data, len(data)); err == nil {
			t.Errorf("%s: no error; %q", name, out)
		}
		if _, err := Decode(data); err == nil {
			t.Errorf("%s: decoded without an error", name)
		}
	}
}

// TestManyRows shows more rows than are held at a time, and counts those that
// are not shown.
func TestManyRows(t *testing.T) {
	data := encode(t, described("a", "b"))
	for range 3 * batchRows {
		data = append(data, encode(t, row("1", "2"))...)
	}
	data = append(data, encode(t, &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1500")})...)
	all, err := render(t, Options{}, data, 1000)
	if err != nil || strings.Count(all, "1 | 2") != 3*batchRows || strings.Count(all, "a | b") != 1 || !strings.HasSuffix(all, "(1500 rows)\n") {
		t.Errorf("%v\n%s", err, all)
	}
	few, err := render(t, Options{MaxRows: 2}, data, 1000)
	if err != nil || strings.Count(few, "1 | 2") != 2 || !strings.HasSuffix(few, "(1500 rows, 1498 not shown)\n") {
		t.Errorf("%v\n%s", err, few)
	}
}

func TestOtherFormats(t *testing.T) {
	var b strings.Builder
	r := New(&b, Options{})
	if err := errors.Join(r.Write(encode(t, &pgproto3.CopyInResponse{})), r.WriteFormat(CopyIn, []byte("1\tAnn\x1b\n2")), r.WriteFormat(CopyIn, []byte("\tBob\n")),
		r.WriteFormat("else", []byte("123")), r.Write(encode(t, &pgproto3.CommandComplete{CommandTag: []byte("COPY 2")})), r.Flush()); err != nil {
		t.Fatal(err)
	}
	want := "COPY from stdin:\n> 1\\tAnn\\x1b\n> 2\\tBob\n(3 bytes of else)\n(2 lines, 13 bytes)\nCOPY 2\n"
	if b.String() != want {
		t.Errorf("%s\nwant\n%s", b.String(), want)
	}
}

func TestCopyInAlone(t *testing.T) {
	var b strings.Builder
	r := NewCopyIn(&b, Options{MaxRows: 1})
	if err := errors.Join(r.Write([]byte("1\tA")), r.Write([]byte("nn\n2\tBob")), r.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := "> 1\\tAnn\n(2 lines, 11 bytes, 1 not shown)\n"; b.String() != want {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func FuzzRenderer(f *testing.F) {
	f.Add(encode(f, described("a", "b"), row("1", "\x1b"), &pgproto3.CommandComplete{CommandTag: []byte("SELECT 1")}), uint8(3), true)
	f.Add(encode(f, &pgproto3.CopyOutResponse{}, &pgproto3.CopyData{Data: []byte("a\nb")}), uint8(0), false)
	f.Add(encode(f, &pgproto3.ErrorResponse{Severity: "ERROR", Code: "42501", Message: "a\nb"}), uint8(80), false)
	f.Add(encode(f, &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("n"), DataTypeOID: 1231, Format: 1}}}, row("\x00\x00\x00\x01\x00\x00\x00\x00")), uint8(80), false)
	f.Fuzz(func(t *testing.T, data []byte, width uint8, whole bool) {
		size := 1
		if whole {
			size = max(len(data), 1)
		}
		out, _ := render(t, Options{Width: int(width), MaxRows: int(width % 3)}, data, size)
		if r, found := unsafe(out); found {
			t.Fatalf("%U in %q", r, out)
		}
		_, _ = Decode(data)
	})
}
