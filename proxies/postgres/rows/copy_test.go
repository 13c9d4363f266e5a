package rows

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

const secret = "4111111111111111"

// nasty values of the unmasked columns; each row's masked column holds the
// secret within one of them.
var nasty = []string{
	"", " ", "plain", "a\tb", "a,b", `a"b`, `"`, `""`, "a\nb", "\n", "\r", "a\r\nb", `\`, `\\`, `a\`, `\.`, `\N`, `\n`,
	"NULL", "null", "x", "'", "''", "|", "a|b|", "é ü 漢字 🦊 \u200b", "\b\f\v\x01\x7f", `\x41`, `\101`, "~", "~~a~", "%", "a%%b%",
	strings.Repeat("long \\ \n\t,\"|~%", 70_000),
}

func TestCopyRoundTrip(t *testing.T) {
	db := pgtest.Shared(t)
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, db.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	exec(`CREATE TABLE a(id int, v text, secret text, j jsonb, tail text); CREATE TABLE b(LIKE a)`)
	for i, v := range nasty {
		exec(`INSERT INTO a VALUES ($1, $2, $3, jsonb_build_object('v', $2::text, 'n', $3::text), $2)`, i, v, v+" card "+secret)
	}
	exec(`INSERT INTO a VALUES (1000, NULL, NULL, NULL, NULL), (1001, '', NULL, NULL, ''), (1002, NULL, '', NULL, NULL)`)
	exec(`CREATE TABLE source AS TABLE a`)

	names := []string{"id", "v", "secret", "j", "tail"}
	oids := []uint32{oidInt4, oidText, oidText, oidJSONB, oidText}
	columns := func(r Rule) []Column {
		var list []Column
		for i, oid := range oids {
			list = append(list, Column{Name: names[i], TypeOID: oid})
		}
		list[2].Rule, list[3].Rule = r, r
		return list
	}
	for _, c := range []struct {
		with string
		o    CopyOptions
	}{
		{"FORMAT text", CopyOptions{}},
		{"FORMAT text, HEADER", CopyOptions{Format: "text", Header: true}},
		{"DELIMITER '|', NULL 'x'", CopyOptions{Delimiter: '|', Null: "x", NullSet: true}},
		{"DELIMITER ',', NULL ''", CopyOptions{Delimiter: ',', Null: "", NullSet: true}},
		{"DELIMITER 'A', NULL '*N*'", CopyOptions{Delimiter: 'A', Null: "*N*", NullSet: true}},
		{"FORMAT csv", CopyOptions{Format: "csv"}},
		{"FORMAT csv, HEADER", CopyOptions{Format: "csv", Header: true}},
		{"FORMAT csv, FORCE_QUOTE *", CopyOptions{Format: "csv"}},
		{"FORMAT csv, DELIMITER '|', NULL 'NULL'", CopyOptions{Format: "csv", Delimiter: '|', Null: "NULL", NullSet: true}},
		{`FORMAT csv, QUOTE '~', ESCAPE '%', DELIMITER E'\t', NULL '\N'`, CopyOptions{Format: "csv", Quote: '~', Escape: '%', Delimiter: '\t', Null: `\N`, NullSet: true}},
		{`FORMAT csv, ESCAPE '\'`, CopyOptions{Format: "csv", Escape: '\\'}},
		{"FORMAT binary", CopyOptions{Format: "binary"}},
	} {
		for method, rule := range map[string]Rule{
			"redact": {Spec: spec(mask.Redact)},
			"null":   {Spec: spec(mask.Null)},
			"detect": {Detect: detector(t, mask.KindCard)},
		} {
			t.Run(c.with+"/"+method, func(t *testing.T) {
				exec("TRUNCATE a")
				exec("INSERT INTO a TABLE source")
				if method != "redact" { // a value of 1 MB is slow to search
					exec("DELETE FROM a WHERE length(v) > 1000")
				}
				var raw chunks
				if _, err := conn.PgConn().CopyTo(ctx, &raw, "COPY (SELECT * FROM a ORDER BY id) TO STDOUT WITH ("+c.with+")"); err != nil {
					t.Fatal(err)
				}
				masked, err := rewrite(NewPlan(keyring(t), columns(rule)), c.o, raw)
				if err != nil {
					t.Fatal(err)
				}
				exec("TRUNCATE b")
				in := strings.NewReplacer(", FORCE_QUOTE *", "").Replace(c.with)
				if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(masked), "COPY b FROM STDIN WITH ("+in+")"); err != nil {
					t.Fatal(err)
				}
				same(ctx, t, conn, c.o)
				want := map[string]string{
					"redact": "masked.secret IS DISTINCT FROM '[REDACTED]' OR masked.j IS DISTINCT FROM '\"[REDACTED]\"'",
					"null":   "masked.secret IS NOT NULL OR masked.j IS NOT NULL",
					"detect": "masked.secret IS DISTINCT FROM replace(a.secret, '" + secret + "', '[REDACTED:credit_card]') OR" +
						" masked.j IS DISTINCT FROM replace(a.j::text, '" + secret + "', '[REDACTED:credit_card]')::jsonb",
				}[method]
				if method == "redact" && c.o.Null == "*N*" {
					// A NULL that looks like a value is masked like one.
					want = strings.Replace(want, "masked.secret", "coalesce(masked.secret, '[REDACTED]')", 1)
				}
				report(ctx, t, conn, "SELECT masked.id, left(masked.secret, 80), left(masked.j::text, 80) FROM b masked JOIN a USING (id) WHERE id < 1000 AND ("+want+")")
				report(ctx, t, conn, "SELECT id FROM b WHERE b::text LIKE '%"+secret+"%'")
			})
		}
	}
}

// same compares every column that has no mask.
func same(ctx context.Context, t *testing.T, conn *pgx.Conn, o CopyOptions) {
	t.Helper()
	equal := "%[1]s.v IS NOT DISTINCT FROM %[2]s.v AND %[1]s.tail IS NOT DISTINCT FROM %[2]s.tail"
	if o.Format != "csv" && o.NullSet {
		// In text format the server writes a value that equals the NULL string
		// as it is: it comes back as NULL, with or without a mask.
		equal = fmt.Sprintf("nullif(%%[1]s.v, '%[1]s') IS NOT DISTINCT FROM nullif(%%[2]s.v, '%[1]s') AND nullif(%%[1]s.tail, '%[1]s') IS NOT DISTINCT FROM nullif(%%[2]s.tail, '%[1]s')", o.Null)
	}
	report(ctx, t, conn, "SELECT a.id, b.id, left(a.v, 40), left(b.v, 40) FROM a FULL JOIN b USING (id) WHERE (a.id IS NULL) OR (b.id IS NULL) OR NOT ("+fmt.Sprintf(equal, "a", "b")+")")
}

// report fails with every row of a query.
func report(ctx context.Context, t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		v, err := rows.Values()
		t.Errorf("unexpected: %q %v", v, err)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// chunks keeps the payload of every CopyData.
type chunks [][]byte

func (c *chunks) Write(b []byte) (int, error) {
	*c = append(*c, bytes.Clone(b))
	return len(b), nil
}

// rewrite masks the data of a COPY.
func rewrite(p *Plan, o CopyOptions, raw [][]byte) ([]byte, error) {
	c, err := NewCopy(p, o)
	if err != nil {
		return nil, err
	}
	var out []byte
	for _, data := range raw {
		if out, err = c.Data(out, data); err != nil {
			return out, err
		}
	}
	return c.Finish(out)
}

var splitCases = []struct {
	o  CopyOptions
	in string
}{
	{CopyOptions{}, "1\tann\tx\n2\t\\N\ty\\\\\n3\ta\\tb\\n" + secret + "\t\\N\n"},
	{CopyOptions{Header: true}, "a\tb\tc\n1\tann\tx\n"},
	{CopyOptions{Format: "csv"}, "1,\"a\"\"b\n,\",x\n2,,\"\"\n3,\"\",\n"},
	{CopyOptions{Format: "csv", Header: true, Escape: '\\'}, "a,b,c\n1,\"a\\\"b\n,\\\\\",x\n2,,\"\"\n"},
	{CopyOptions{Format: "binary"}, string(binaryCopy(row([]byte("1"), []byte(secret), []byte("x")), row(nil, nil, nil), row([]byte{}, []byte{}, []byte{})))},
}

func binaryCopy(rows ...[]byte) []byte {
	b := append([]byte(copySignature), 0, 0, 0, 0, 0, 0, 0, 3, 'e', 'x', 't')
	return append(append(b, bytes.Join(rows, nil)...), 0xff, 0xff)
}

func splitPlan(t testing.TB) *Plan {
	return NewPlan(keyring(t), []Column{{Name: "a"}, {Name: "b", TypeOID: oidText, Rule: Rule{Spec: spec(mask.Hash), Field: "f"}}, {Name: "c"}})
}

func TestCopySplitAnywhere(t *testing.T) {
	p := splitPlan(t)
	for _, c := range splitCases {
		want, err := rewrite(p, c.o, [][]byte{[]byte(c.in)})
		if err != nil {
			t.Fatalf("%q: %v", c.in, err)
		}
		if bytes.Contains(want, []byte(secret)) {
			t.Errorf("%q shows the secret: %q", c.in, want)
		}
		for i := range len(c.in) + 1 {
			for j := i; j <= len(c.in); j++ {
				got, err := rewrite(p, c.o, [][]byte{[]byte(c.in[:i]), []byte(c.in[i:j]), []byte(c.in[j:])})
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%q split at %d and %d: %q, %v; whole: %q", c.in, i, j, got, err, want)
				}
			}
		}
		bytewise := make([][]byte, len(c.in))
		for i := range c.in {
			bytewise[i] = []byte{c.in[i]}
		}
		if got, err := rewrite(p, c.o, bytewise); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%q byte by byte: %q, %v; whole: %q", c.in, got, err, want)
		}
		for i := 1; i < len(c.in); i++ {
			if c.o.Format != "binary" && c.in[i-1] == '\n' {
				continue
			}
			if _, err := rewrite(p, c.o, [][]byte{[]byte(c.in[:i])}); err == nil {
				t.Errorf("%q ended at %d without an error", c.in, i)
			}
		}
	}
}

func TestCopyMalformed(t *testing.T) {
	p := splitPlan(t)
	for _, c := range []struct {
		o  CopyOptions
		in string
	}{
		{CopyOptions{}, "1\t2\n"},
		{CopyOptions{}, "1\t2\t3\t4\n"},
		{CopyOptions{}, "\n"},
		{CopyOptions{}, "1\t2\\\n\t3\n"},
		{CopyOptions{}, "1\t\\x41\t3\n"},
		{CopyOptions{}, "1\t\\101\t3\n"},
		{CopyOptions{}, "1\t2\t3\\"},
		{CopyOptions{Header: true}, "a\tc\tb\n"},
		{CopyOptions{Header: true, Format: "csv"}, "a,c,b\n"},
		{CopyOptions{Format: "csv"}, "1,2\n"},
		{CopyOptions{Format: "csv"}, "1,2,3,4\n"},
		{CopyOptions{Format: "csv"}, "\n"},
		{CopyOptions{Format: "csv"}, "1,\"2\"x,3\n"},
		{CopyOptions{Format: "csv"}, "1,x\"2\",3\n"},
		{CopyOptions{Format: "csv"}, "1,2,\"3\n"},
		{CopyOptions{Format: "csv", Escape: '\\'}, "1,2,\"\\\"\n"},
		{CopyOptions{Format: "binary"}, "PGCOPY\n\xff\n\n\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff"},
		{CopyOptions{Format: "binary"}, copySignature + "\x00\x01\x00\x00\x00\x00\x00\x00\xff\xff"},
		{CopyOptions{Format: "binary"}, copySignature + "\x00\x00\x00\x00\x7f\x00\x00\x00\xff\xff"},
		{CopyOptions{Format: "binary"}, string(binaryCopy()) + "x"},
		{CopyOptions{Format: "binary"}, string(binaryCopy(row(nil, nil)))},
		{CopyOptions{Format: "binary"}, string(binaryCopy([]byte{0xff, 0xfe}))},
	} {
		out, err := rewrite(p, c.o, [][]byte{[]byte(c.in)})
		if err == nil {
			t.Errorf("%s %q: %q without an error", c.o.Format, c.in, out)
		}
	}
}

func TestCopyErrorIsFinal(t *testing.T) {
	c, err := NewCopy(splitPlan(t), CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Message(nil, []byte("1\tann\t3\n1\t2\n"))
	if !errors.Is(err, ErrMalformed) || len(out) != 0 {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := c.Data(nil, []byte("1\tann\t3\n")); err == nil || len(out) != 0 {
		t.Errorf("%q, %v after an error", out, err)
	}
	if _, err := c.Finish(nil); err == nil {
		t.Error("a finish after an error")
	}
}

func TestCopyRowBound(t *testing.T) {
	for _, o := range []CopyOptions{{}, {Format: "csv"}, {Format: "binary"}} {
		o.MaxRow = 1000
		c, err := NewCopy(splitPlan(t), o)
		if err != nil {
			t.Fatal(err)
		}
		first := []byte("\"")
		if o.Format == "binary" {
			first = binaryCopy()
			first = append(first[:len(first)-2], 0, 3, 0x10, 0, 0, 0)
		}
		_, err = c.Data(nil, first)
		for i := 0; i < 20 && err == nil; i++ {
			_, err = c.Data(nil, bytes.Repeat([]byte("x"), 100))
		}
		if err == nil || !strings.Contains(err.Error(), "longer") {
			t.Errorf("%q: %v", o.Format, err)
		}
	}
}

func TestCopyMessage(t *testing.T) {
	c, err := NewCopy(splitPlan(t), CopyOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.Message(nil, []byte("1\t\\N"))
	if err != nil || len(out) != 0 {
		t.Fatalf("%q, %v", out, err)
	}
	out, err = c.Message(out, []byte("\t3\n1"))
	if err != nil || string(out) != "d\x00\x00\x00\x0b1\t\\N\t3\n" {
		t.Fatalf("%q, %v", out, err)
	}
}

func TestCopyOptions(t *testing.T) {
	p := splitPlan(t)
	for _, o := range []CopyOptions{
		{Format: "xml"}, {Delimiter: '\n'}, {Delimiter: 'n'}, {Delimiter: '\\'}, {Delimiter: 0xe9}, {Null: "x\n", NullSet: true}, {Encoding: "LATIN1"},
		{Format: "csv", Quote: ','}, {Format: "csv", Null: ",", NullSet: true}, {Format: "csv", Quote: '\n'}, {Format: "csv", Escape: '\n'}, {Format: "binary", Header: true},
	} {
		if _, err := NewCopy(p, o); err == nil {
			t.Errorf("%+v was taken", o)
		}
	}
	if _, err := NewCopy(p, CopyOptions{Encoding: "utf-8"}); err != nil {
		t.Error(err)
	}
	if _, err := NewCopy(nil, CopyOptions{}); err == nil {
		t.Error("no plan was taken")
	}
}

// TestNullStringIsNoOracle: an agent that guesses a value and asks for it as
// the NULL string must not see which rows hold it.
func TestNullStringIsNoOracle(t *testing.T) {
	guess := "ann@example.com"
	for _, o := range []CopyOptions{{Null: guess, NullSet: true}, {Format: "csv", Null: guess, NullSet: true}} {
		in := "1\t" + guess + "\t3\n"
		if o.Format == "csv" {
			in = "1,\"" + guess + "\",3\n"
		}
		out, err := rewrite(splitPlan(t), o, [][]byte{[]byte(in)})
		if err != nil || bytes.Contains(out, []byte(guess)) {
			t.Errorf("%q: %q, %v", in, out, err)
		}
	}
}

func FuzzCopy(f *testing.F) {
	for i, c := range splitCases {
		f.Add(uint8(i), []byte(c.in), uint16(3))
	}
	p := splitPlan(f)
	f.Fuzz(func(t *testing.T, n uint8, data []byte, at uint16) {
		o := splitCases[int(n)%len(splitCases)].o
		o.Header = false
		cut := min(int(at), len(data))
		whole, err1 := rewrite(p, o, [][]byte{data})
		split, err2 := rewrite(p, o, [][]byte{data[:cut], data[cut:]})
		if (err1 == nil) != (err2 == nil) || (err1 == nil && !bytes.Equal(whole, split)) {
			t.Fatalf("split at %d: %q, %v; whole: %q, %v", cut, split, err2, whole, err1)
		}
		if err1 != nil {
			return
		}
		// Without the masked column, what comes out is what went in.
		again, err := rewrite(NewPlan(keyring(t), []Column{{}, {TypeOID: oidText, Rule: Rule{Spec: spec(mask.Null)}}, {}}), o, [][]byte{whole})
		if err != nil {
			t.Fatalf("the output %q is malformed: %v", whole, err)
		}
		plain, err := rewrite(NewPlan(keyring(t), []Column{{}, {TypeOID: oidText, Rule: Rule{Spec: spec(mask.Null)}}, {}}), o, [][]byte{data})
		if err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("other columns changed: %q, %q, %v", again, plain, err)
		}
	})
}

func BenchmarkCopy(b *testing.B) {
	for _, c := range []struct {
		o    CopyOptions
		line []byte
	}{
		{CopyOptions{Format: "text"}, []byte("1234567\tann@example.com\tAnn Example of some length\n")},
		{CopyOptions{Format: "csv"}, []byte("1234567,ann@example.com,Ann Example of some length\n")},
		{CopyOptions{Format: "binary"}, row([]byte("1234"), []byte("ann@example.com"), []byte("Ann Example of some length"))},
	} {
		b.Run(c.o.Format, func(b *testing.B) {
			p := NewPlan(keyring(b), []Column{{}, {TypeOID: oidText, Rule: Rule{Spec: spec(mask.Redact)}}, {}})
			cp, err := NewCopy(p, c.o)
			if err != nil {
				b.Fatal(err)
			}
			if c.o.Format == "binary" {
				if _, err := cp.Data(nil, binary.BigEndian.AppendUint64([]byte(copySignature), 0)); err != nil {
					b.Fatal(err)
				}
			}
			var dst []byte
			b.SetBytes(int64(len(c.line)))
			b.ReportAllocs()
			for b.Loop() {
				if dst, err = cp.Message(dst[:0], c.line); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
