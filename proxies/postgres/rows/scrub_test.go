package rows

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// scrubbed decodes what ScrubError made.
func scrubbed(t testing.TB, kind byte, message []byte) map[byte]string {
	t.Helper()
	if len(message) < 6 || message[0] != kind || int(binary.BigEndian.Uint32(message[1:])) != len(message)-1 || message[len(message)-1] != 0 {
		t.Fatalf("not one message: %q", message)
	}
	fields := map[byte]string{}
	for b := message[5 : len(message)-1]; len(b) > 0; {
		end := bytes.IndexByte(b, 0)
		if end < 1 {
			t.Fatalf("not one message: %q", message)
		}
		if _, twice := fields[b[0]]; twice {
			t.Fatalf("field %c twice: %q", b[0], message)
		}
		fields[b[0]], b = string(b[1:end]), b[end+1:]
	}
	return fields
}

// TestScrubRealErrors provokes errors whose every field a statement can fill
// with the value of a column, on a real server.
func TestScrubRealErrors(t *testing.T) {
	db := pgtest.Shared(t)
	ctx := t.Context()
	if err := db.Run(ctx, `
		CREATE TABLE people(id int PRIMARY KEY, mail text UNIQUE, CONSTRAINT short CHECK (length(mail) < 30));
		INSERT INTO people VALUES (1, 'ann@example.com')`); err != nil {
		t.Fatal(err)
	}
	config, err := pgx.ParseConfig(db.URL())
	if err != nil {
		t.Fatal(err)
	}
	var tap tap
	config.BuildFrontend = tap.frontend
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	const withheld = " (" + Withheld + ")"
	for _, c := range []struct {
		sql  string
		want map[byte]string // fields; "" must not be there
	}{
		{`SELECT mail::int FROM people`, map[byte]string{'C': "22P02", 'M': "invalid_text_representation" + withheld, 'S': "ERROR", 'V': "ERROR", 'R': "pg_strtoint32"}},
		{`INSERT INTO people VALUES (2, 'ann@example.com')`, map[byte]string{'C': "23505", 'M': "unique_violation" + withheld, 's': "public", 't': "people", 'n': "people_mail_key", 'D': ""}},
		{`UPDATE people SET id = NULL`, map[byte]string{'C': "23502", 't': "people", 'c': "id", 'D': ""}},
		{`UPDATE people SET mail = mail || 'ann@example.com'`, map[byte]string{'C': "23514", 'n': "short", 'D': ""}},
		{`SELECT mail::regclass FROM people`, map[byte]string{'C': "3F000", 'M': "invalid_schema_name" + withheld}},
		{`SELECT ('ann'||id||'@example.com')::regtype FROM people`, map[byte]string{'C': "42601"}},
		{`SELECT query_to_xml('select ' || mail, true, true, '') FROM people`, map[byte]string{'W': "", 'q': "", 'p': ""}},
		{`DO $$ BEGIN EXECUTE 'select ' || (SELECT mail FROM people); END $$`, map[byte]string{'W': "", 'q': "", 'p': ""}},
		{`DO $$ BEGIN RAISE EXCEPTION '%', (SELECT mail FROM people); END $$`, map[byte]string{'C': "P0001", 'M': "raise_exception" + withheld}},
		{`DO $$ BEGIN RAISE NOTICE '%', (SELECT mail FROM people); END $$`, map[byte]string{'C': "00000", 'S': "NOTICE"}},
		{`DO $$ BEGIN RAISE WARNING USING MESSAGE = 'x', DETAIL = (SELECT mail FROM people); END $$`, map[byte]string{'C': "01000", 'M': "warning" + withheld}},
		{`DO $$ DECLARE m text := (SELECT mail FROM people); BEGIN RAISE EXCEPTION USING MESSAGE = m, DETAIL = m, HINT = m,
			SCHEMA = m, TABLE = m, COLUMN = m, DATATYPE = m, CONSTRAINT = m, ERRCODE = 'ANN12'; END $$`,
			map[byte]string{'C': "P0001", 's': "", 't': "", 'c': "", 'd': "", 'n': "", 'F': "pl_exec.c"}},
		{`DO $$ DECLARE m text := (SELECT mail FROM people); BEGIN RAISE undefined_column USING MESSAGE = m; END $$`,
			map[byte]string{'C': "42703", 'M': "undefined_column" + withheld}},
		{`SELECT emial FROM people`, map[byte]string{'C': "42703", 'M': `column "emial" does not exist`, 'H': "", 'P': ""}},
		{`SELEC 1`, map[byte]string{'C': "42601", 'M': `syntax error at or near "SELEC"`}},
		{`SELECT * FROM nothing`, map[byte]string{'C': "42P01", 'M': `relation "nothing" does not exist`}},
	} {
		tap.Reset()
		_, err := conn.PgConn().Exec(ctx, c.sql).ReadAll()
		if err == nil && c.want['S'] != "NOTICE" && c.want['C'] != "01000" {
			t.Errorf("%s: no error", c.sql)
		}
		message := tap.find(t, c.sql)
		out, ok := ScrubError(nil, message[5:], message[0])
		if !ok {
			t.Errorf("%s: malformed", c.sql)
		}
		if strings.Contains(string(out), "example") {
			t.Errorf("%s shows the value: %q", c.sql, out)
		}
		fields := scrubbed(t, message[0], out)
		for f, want := range c.want {
			if fields[f] != want {
				t.Errorf("%s: field %c is %q, want %q", c.sql, f, fields[f], want)
			}
		}
		var response pgproto3.ErrorResponse
		if err := response.Decode(out[5:]); err != nil || response.Code == "" || response.Severity == "" || response.Message == "" {
			t.Errorf("%s: %+v, %v", c.sql, response, err)
		}
	}
}

func TestScrubMalformed(t *testing.T) {
	for _, body := range []string{"", "\x00", "SERROR\x00C22P02\x00Mann", "SERROR\x00C22P02\x00Mann\x00", "Mann\x00\x00",
		"SERROR\x00SERROR\x00C22P02\x00Mann\x00\x00", "SERROR\x00C22P02\x00Mann\x00\x00x"} {
		out, ok := ScrubError([]byte("x"), []byte(body), ErrorResponse)
		fields := scrubbed(t, 'E', out[1:])
		if ok || fields['C'] != "XX000" || strings.Contains(string(out), "ann") {
			t.Errorf("%q: %q, %v", body, out, ok)
		}
	}
}

func FuzzScrubError(f *testing.F) {
	f.Add(false, []byte("SERROR\x00VERROR\x00C22P02\x00Mx\x00Fnumutils.c\x00L1\x00Rx\x00\x00"), "scan.l", true)
	f.Add(true, []byte("SNOTICE\x00C\x00M\x00\x00"), "pl_exec.c", false)
	f.Fuzz(func(t *testing.T, notice bool, body []byte, file string, position bool) {
		kind := byte(ErrorResponse)
		if notice {
			kind = NoticeResponse
		}
		out, _ := ScrubError(nil, body, kind)
		scrubbed(t, kind, out)
		if strings.ContainsRune(file, 0) {
			return
		}
		var b strings.Builder
		for _, f := range "DHWqp" {
			b.WriteString(string(f) + secret + "\x00")
		}
		if position {
			b.WriteString("P1\x00")
		}
		out, ok := ScrubError(nil, []byte("SERROR\x00C42601\x00M"+secret+"\x00"+b.String()+"F"+file+"\x00\x00"), kind)
		if !ok {
			t.Fatal("malformed")
		}
		if fields := scrubbed(t, kind, out); strings.Contains(fields['M'], secret) || fields['D']+fields['H']+fields['W']+fields['q']+fields['p'] != "" {
			t.Fatalf("%q", fields)
		}
	})
}

// tap keeps what the server sends.
type tap struct{ bytes.Buffer }

// find returns the first error or notice.
func (p *tap) find(t *testing.T, sql string) []byte {
	t.Helper()
	for b := p.Bytes(); len(b) >= 5; {
		n := 1 + int(binary.BigEndian.Uint32(b[1:]))
		if b[0] == ErrorResponse || b[0] == NoticeResponse {
			return bytes.Clone(b[:n])
		}
		b = b[n:]
	}
	t.Fatalf("%s: neither an error nor a notice", sql)
	return nil
}

func (p *tap) frontend(r io.Reader, w io.Writer) *pgproto3.Frontend {
	return pgproto3.NewFrontend(io.TeeReader(r, p), w)
}
