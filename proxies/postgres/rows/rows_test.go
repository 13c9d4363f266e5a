package rows

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/mask"
)

func keyring(t testing.TB) *mask.Keyring {
	t.Helper()
	k, err := mask.NewKeyring(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func detector(t testing.TB, kinds ...string) *mask.Detector {
	t.Helper()
	if len(kinds) == 0 {
		kinds = mask.Kinds()
	}
	d, err := mask.NewDetector(kinds)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func spec(method string) *mask.Spec { return &mask.Spec{Method: method} }

// row encodes the body of a DataRow; nil is NULL.
func row(values ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		if v == nil {
			b = append(b, 0xff, 0xff, 0xff, 0xff)
			continue
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return b
}

// values decodes one complete DataRow message.
func values(t testing.TB, message []byte) [][]byte {
	t.Helper()
	if len(message) < 7 || message[0] != 'D' || int(binary.BigEndian.Uint32(message[1:])) != len(message)-1 {
		t.Fatalf("not one DataRow: %q", message)
	}
	var list [][]byte
	b := message[7:]
	for range binary.BigEndian.Uint16(message[5:]) {
		n := int32(binary.BigEndian.Uint32(b))
		b = b[4:]
		if n < 0 {
			list = append(list, nil)
			continue
		}
		list, b = append(list, b[:n:n]), b[n:]
	}
	if len(b) > 0 {
		t.Fatalf("%d bytes too many", len(b))
	}
	return list
}

const null = "NULL"

func show(v []byte) string {
	if v == nil {
		return null
	}
	return string(v)
}

// one masks one value and shows what is sent.
func one(t testing.TB, c Column, v string) string {
	t.Helper()
	p := NewPlan(keyring(t), []Column{{}, c, {}})
	if p == nil {
		return v
	}
	out, err := p.DataRow([]byte("before"), row([]byte("left"), []byte(v), nil))
	if err != nil {
		t.Fatal(err)
	}
	list := values(t, bytes.TrimPrefix(out, []byte("before")))
	if show(list[0]) != "left" || show(list[2]) != null {
		t.Fatalf("the columns beside changed: %q", list)
	}
	return show(list[1])
}

func TestRules(t *testing.T) {
	const mail, card = "ann@example.com", "4111111111111111"
	all := Rule{Detect: detector(t)}
	partial := Rule{Spec: &mask.Spec{Method: mask.Partial, Keep: 4}}
	for _, c := range []struct {
		name string
		col  Column
		in   string
		want string
	}{
		{"text whole", Column{TypeOID: oidText, Rule: Rule{Whole: true}}, mail, Marker},
		{"text whole binary", Column{TypeOID: oidText, Binary: true, Rule: Rule{Whole: true}}, mail, Marker},
		{"text null", Column{TypeOID: oidText, Rule: Rule{Spec: spec(mask.Null)}}, mail, null},
		{"text redact", Column{TypeOID: oidVarchar, Rule: Rule{Spec: spec(mask.Redact)}}, mail, Marker},
		{"text unknown method", Column{TypeOID: oidVarchar, Rule: Rule{Spec: spec("?")}}, mail, Marker},
		{"whole wins", Column{TypeOID: oidText, Rule: Rule{Whole: true, Spec: partial.Spec}}, mail, Marker},
		{"text partial", Column{TypeOID: oidText, Rule: partial}, card, "***1111"},
		{"char(n) partial", Column{TypeOID: oidBPChar, Rule: partial}, card + "     ", "***1111"},
		{"char(n) of spaces", Column{TypeOID: oidBPChar, Rule: partial}, "     ", "***"},
		{"partial of found", Column{TypeOID: oidText, Rule: Rule{Spec: partial.Spec, Detect: all.Detect}}, "number " + card, "***ard]"},
		{"partial of what is found whole", Column{TypeOID: oidText, Rule: Rule{Spec: partial.Spec, Detect: all.Detect, DetectSpec: func(string) mask.Spec {
			return mask.Spec{Method: mask.Partial}
		}}}, card, "***1111"},
		{"stronger on what is found whole", Column{TypeOID: oidText, Rule: Rule{Spec: partial.Spec, Detect: all.Detect}}, card, Marker},
		{"citext", Column{TypeOID: 99999, Text: true, Rule: partial}, card, "***1111"},
		{"unknown type", Column{TypeOID: 99999, Rule: partial}, card, null},
		{"int partial", Column{TypeOID: oidInt8, Rule: partial}, card, null},
		{"int whole", Column{TypeOID: oidInt8, Rule: Rule{Whole: true}}, "1", null},
		{"uuid hash", Column{TypeOID: oidUUID, Rule: Rule{Spec: spec(mask.Hash)}}, "0000", null},
		{"\"char\"", Column{TypeOID: 18, Rule: Rule{Spec: spec(mask.Redact)}}, "x", null},
		{"json whole", Column{TypeOID: oidJSON, Rule: Rule{Whole: true}}, `{"a":1}`, `"[REDACTED]"`},
		{"jsonb whole binary", Column{TypeOID: oidJSONB, Binary: true, Rule: Rule{Whole: true}}, "\x01" + `{"a":1}`, "\x01" + `"[REDACTED]"`},
		{"json partial", Column{TypeOID: oidJSON, Rule: Rule{Spec: &mask.Spec{Method: mask.Partial, Keep: 3}}}, `{"a":"b c"}`, `"***c\"}"`},
		{"jsonb partial binary", Column{TypeOID: oidJSONB, Binary: true, Rule: Rule{Spec: &mask.Spec{Method: mask.Partial, Keep: 3}}}, "\x01" + `{"a":"b c"}`, "\x01" + `"***c\"}"`},
		{"json null", Column{TypeOID: oidJSON, Rule: Rule{Spec: spec(mask.Null)}}, `{}`, null},

		{"detect none", Column{TypeOID: oidText, Rule: all}, "hello", "hello"},
		{"detect text", Column{TypeOID: oidText, Rule: all}, "to " + mail + "!", "to [REDACTED:email]!"},
		{"detect with method", Column{TypeOID: oidText, Rule: Rule{Detect: all.Detect, DetectSpec: func(kind string) mask.Spec {
			return mask.Spec{Method: mask.Partial}
		}}}, "to " + mail, "to a***@example.com"},
		{"detect int8", Column{TypeOID: oidInt8, Rule: all}, card, null},
		{"detect int8 none", Column{TypeOID: oidInt8, Rule: all}, "12", "12"},
		{"detect numeric", Column{TypeOID: oidNumeric, Rule: all}, card, null},
		{"detect float8", Column{TypeOID: oidFloat8, Rule: all}, "4.111111111111111e+15", null},
		{"detect timestamp", Column{TypeOID: oidTimestamp, Rule: all}, "2026-11-23 12:00:00", "2026-11-23 12:00:00"},
		{"detect bytea hex", Column{TypeOID: oidBytea, Rule: all}, `\x20616e6e406578616d706c652e636f6d`, null},
		{"detect bytea escape", Column{TypeOID: oidBytea, Rule: all}, `ann\100example.com\000`, null},
		{"detect bytea none", Column{TypeOID: oidBytea, Rule: all}, `\x00ff`, `\x00ff`},
		{"detect text[]", Column{TypeOID: 1009, Rule: all}, "{a," + mail + "}", null},
		{"detect bytea[]", Column{TypeOID: 1001, Rule: all}, `{"\\x616e6e406578616d706c652e636f6d"}`, null},
		{"detect record", Column{TypeOID: oidRecord, Rule: all}, "(1," + mail + ")", null},
		{"detect enum", Column{TypeOID: 99999, Rule: all}, "red", "red"},

		{"detect json", Column{TypeOID: oidJSON, Rule: all}, `{"m": "` + mail + `", "n": 1}`, `{"m": "[REDACTED:email]", "n": 1}`},
		{"detect json number", Column{TypeOID: oidJSON, Rule: all}, `{"m": ` + card + `}`, `"[REDACTED]"`},
		{"detect json none", Column{TypeOID: oidJSON, Rule: all}, `{"m":  "a\/b \u0041 \ud83d\ude00"}`, `{"m":  "a\/b \u0041 \ud83d\ude00"}`},
		{"detect json escaped", Column{TypeOID: oidJSON, Rule: all}, `{"m": "ann\u0040example.com \" \\ \u0022"}`, `{"m": "[REDACTED:email] \" \\ \""}`},
		{"detect json newline", Column{TypeOID: oidJSONB, Rule: all}, `{"m": "card:\n` + card + `\nx"}`, `{"m": "card:\n[REDACTED:credit_card]\nx"}`},
		{"detect json key", Column{TypeOID: oidJSONB, Binary: true, Rule: all}, "\x01" + `{"` + mail + `": 1}`, "\x01" + `{"[REDACTED:email]": 1}`},
		{"detect jsonb none", Column{TypeOID: oidJSONB, Binary: true, Rule: all}, "\x01" + `{"a": "b\n"}`, "\x01" + `{"a": "b\n"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := one(t, c.col, c.in); got != c.want {
				t.Errorf("%s\n got %s\nwant %s", c.in, got, c.want)
			}
		})
	}
}

func TestEqualValuesHashEqually(t *testing.T) {
	rule := Rule{Spec: spec(mask.Hash), Field: "public.users.email"}
	a := one(t, Column{TypeOID: oidText, Rule: rule}, "ann")
	if b := one(t, Column{TypeOID: oidBPChar, Binary: true, Rule: rule}, "ann   "); a != b {
		t.Errorf("%s, but padded %s", a, b)
	}
	if c := one(t, Column{TypeOID: oidText, Rule: rule}, "bob"); a == c {
		t.Error("different values hash equally")
	}
}

func TestNothingToDo(t *testing.T) {
	k := keyring(t)
	if NewPlan(k, nil) != nil || NewPlan(k, []Column{{}, {TypeOID: oidText}}) != nil {
		t.Error("a plan without rules")
	}
	if NewPlan(k, []Column{{TypeOID: oidDate, Rule: Rule{Detect: detector(t)}}}) != nil {
		t.Error("a plan that looks for e-mail addresses in dates")
	}
	if NewPlan(k, []Column{{TypeOID: oidDate, Rule: Rule{Whole: true}}}) == nil {
		t.Error("no plan for a masked date")
	}
}

func TestMalformedRows(t *testing.T) {
	p := NewPlan(keyring(t), []Column{{}, {TypeOID: oidText, Rule: Rule{Whole: true}}})
	good := row([]byte("a"), []byte("secret"))
	for i := range good {
		if out, err := p.DataRow([]byte("x"), good[:i]); err == nil || string(out) != "x" {
			t.Errorf("%d bytes of %d: %q, %v", i, len(good), out, err)
		}
	}
	for name, body := range map[string][]byte{
		"fewer columns":   row([]byte("a")),
		"more columns":    row([]byte("a"), []byte("b"), []byte("c")),
		"bytes after":     append(bytes.Clone(good), 0),
		"length -2":       append(row()[:0], 0, 2, 0xff, 0xff, 0xff, 0xfe, 0xff, 0xff, 0xff, 0xff),
		"length too long": append(row()[:0], 0, 2, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff),
	} {
		if out, err := p.DataRow([]byte("x"), body); err == nil || string(out) != "x" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// testColumns is one column of each kind of rule and type.
func testColumns(t testing.TB) []Column {
	d := detector(t, mask.KindEmail, mask.KindCard)
	return []Column{
		{TypeOID: oidText},
		{TypeOID: oidText, Rule: Rule{Spec: spec(mask.Hash), Field: "f"}},
		{TypeOID: oidJSONB, Binary: true, Rule: Rule{Spec: &mask.Spec{Method: mask.Partial, Keep: 2}}},
		{TypeOID: oidText, Rule: Rule{Detect: d}},
		{TypeOID: oidJSON, Rule: Rule{Detect: d}},
		{TypeOID: oidInt8, Binary: true, Rule: Rule{Detect: d}},
		{TypeOID: 1009, Binary: true, Rule: Rule{Spec: spec(mask.Redact)}},
		{TypeOID: oidInt4},
	}
}

func TestDataRowDoesNotAllocate(t *testing.T) {
	p := NewPlan(keyring(t), testColumns(t))
	body := row([]byte("pass"), []byte("ann@example.com"), []byte("\x01{}"), []byte("write to ann@example.com today"),
		[]byte(`{"a\n": "no"}`), binary.BigEndian.AppendUint64(nil, 42), []byte("x"), nil)
	var dst []byte
	if n := testing.AllocsPerRun(1000, func() {
		var err error
		if dst, err = p.DataRow(dst[:0], body); err != nil {
			t.Fatal(err)
		}
	}); n != 0 && !raceDetector {
		t.Errorf("%v allocations a row", n)
	}
}

func FuzzDataRow(f *testing.F) {
	const secret = "4111111111111111"
	f.Add(row(nil, nil, nil, nil, nil, nil, nil, nil), "a", "b")
	f.Add([]byte{0, 8, 0, 0}, "\\u00", `"\`)
	p := NewPlan(keyring(f), testColumns(f))
	f.Fuzz(func(t *testing.T, body []byte, before, after string) {
		if out, err := p.DataRow(nil, body); err == nil {
			in := values(t, frame(body))
			got := values(t, out)
			for _, i := range []int{0, 7} {
				if !bytes.Equal(in[i], got[i]) {
					t.Fatalf("column %d: %q became %q", i, in[i], got[i])
				}
			}
		}
		v := []byte(before + secret + after)
		out, err := p.DataRow(nil, row(v, v, v, []byte("x "+secret+" y"), []byte(`{"a":"`+secret+`"}`), nil, v, v))
		if err != nil {
			t.Fatal(err)
		}
		got := values(t, out)
		if !bytes.Equal(got[0], v) || !bytes.Equal(got[7], v) {
			t.Fatalf("columns without a rule changed: %q", got)
		}
		for i, v := range got[1:7] {
			if strings.Contains(string(v), secret) {
				t.Fatalf("column %d shows the secret: %q", i+1, v)
			}
		}
	})
}

// frame makes a DataRow message of a body.
func frame(body []byte) []byte {
	out := append([]byte{'D', 0, 0, 0, 0}, body...)
	putLength(out[1:], len(out)-1)
	return out
}

func BenchmarkDataRow(b *testing.B) {
	d := detector(b, mask.KindEmail, mask.KindCard)
	body := row([]byte("1234567"), []byte("Ann Example"), []byte("ann@example.com"), []byte("2026-11-23 12:00:00+00"))
	columns := func(r Rule) []Column {
		return []Column{{TypeOID: oidInt4}, {TypeOID: oidText}, {TypeOID: oidText, Rule: r}, {TypeOID: oidTimestampTZ}}
	}
	for _, c := range []struct {
		name string
		rule Rule
	}{
		{"redact", Rule{Spec: spec(mask.Redact)}},
		{"partial", Rule{Spec: spec(mask.Partial)}},
		{"hash", Rule{Spec: spec(mask.Hash), Field: "public.users.email"}},
		{"tokenise", Rule{Spec: spec(mask.Tokenise)}},
		{"detect", Rule{Detect: d}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p := NewPlan(keyring(b), columns(c.rule))
			var dst []byte
			b.SetBytes(int64(len(body) + 5))
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if dst, err = p.DataRow(dst[:0], body); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds()/1e6, "Mrows/s")
		})
	}
}
