package body

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
)

// masks are fields and kinds, each with a method.
type masks struct {
	fields  map[string]mask.Spec
	detect  *mask.Detector
	methods map[string]mask.Spec
}

func (m masks) Fields() []string {
	var out []string
	for f := range m.fields {
		out = append(out, f)
	}
	return out
}

func (m masks) Rule(reached ...string) engine.FieldRule {
	r := engine.FieldRule{}
	if m.detect != nil {
		r.Detect, r.DetectSpec = m.detect, func(kind string) mask.Spec { return m.methods[kind] }
	}
	for _, f := range reached {
		spec := m.fields[f]
		if r.Spec != nil {
			spec = mask.Join(*r.Spec, spec)
		}
		r.Spec, r.Field = &spec, f
	}
	return r
}

func rulesFor(t testing.TB, fields map[string]mask.Spec, kinds ...string) *Rules {
	t.Helper()
	keyring, err := mask.NewKeyring(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	m := masks{fields: fields, methods: map[string]mask.Spec{}}
	if len(kinds) > 0 {
		if m.detect, err = mask.NewDetector(kinds); err != nil {
			t.Fatal(err)
		}
		for _, k := range kinds {
			m.methods[k] = mask.Spec{Method: mask.Redact}
		}
	}
	return NewRules(keyring, m)
}

func run(f func(io.Reader, func([]byte) error, func() error) error, in io.Reader) (string, error) {
	var out bytes.Buffer
	err := f(in, func(p []byte) error { out.Write(p); return nil }, func() error { return nil })
	return out.String(), err
}

func TestJSON(t *testing.T) {
	redact, null, partial := mask.Spec{Method: mask.Redact}, mask.Spec{Method: mask.Null}, mask.Spec{Method: mask.Partial, Keep: 2}
	for name, c := range map[string]struct {
		fields   map[string]mask.Spec
		kinds    []string
		in, want string
	}{
		"untouched bytes are equal": {map[string]mask.Spec{"/x": redact}, nil, " { \"a\" : [ 1.50 , \"\\u0041\\/\" ] ,\n\"b\":{}}\n", " { \"a\" : [ 1.50 , \"\\u0041\\/\" ] ,\n\"b\":{}}\n"},
		"path through lists":        {map[string]mask.Spec{"/items/email": redact}, nil, `{"items":[{"email":"a","id":1},[{"email":"b"}]],"email":"c"}`, `{"items":[{"email":"[REDACTED]","id":1},[{"email":"[REDACTED]"}]],"email":"c"}`},
		"list at the top":           {map[string]mask.Spec{"/email": redact}, nil, `[{"email":"a"},{"x":{"email":"b"}}]`, `[{"email":"[REDACTED]"},{"x":{"email":"b"}}]`},
		"name anywhere, any case":   {map[string]mask.Spec{"email": redact}, nil, `{"Email":"a","x":[{"EMAIL":"b","emails":"c"}]}`, `{"Email":"[REDACTED]","x":[{"EMAIL":"[REDACTED]","emails":"c"}]}`},
		"escaped name":              {map[string]mask.Spec{"/email": redact}, nil, `{"em\u0061il":"a"}`, `{"em\u0061il":"[REDACTED]"}`},
		"null, number, bool":        {map[string]mask.Spec{"/a": null, "/b": partial, "/c": redact, "/d": redact}, nil, `{"a":"x","b":123456,"c":true,"d":null}`, `{"a":null,"b":"***56","c":"[REDACTED]","d":null}`},
		"object as a whole":         {map[string]mask.Spec{"/a": redact, "/b": null}, nil, `{"a":{"x":[1,{"y":2}]},"b":[1, 2],"c":3}`, `{"a":"[REDACTED]","b":null,"c":3}`},
		"two fields on one value":   {map[string]mask.Spec{"/a": partial, "a": null}, nil, `{"a":"x"}`, `{"a":null}`},
		"same name twice":           {map[string]mask.Spec{"/a": redact}, nil, `{"a":"x","a":"y"}`, `{"a":"[REDACTED]","a":"[REDACTED]"}`},
		"detected in strings":       {nil, []string{"email"}, `{"t":"to jane@example.com now","u":["j\u0061ne@example.com"]}`, `{"t":"to [REDACTED:email] now","u":["[REDACTED:email]"]}`},
		"detected in names":         {nil, []string{"email"}, `{"jane@example.com":1,"joe@example.com":2}`, `{"[REDACTED:email]~1":1,"[REDACTED:email]~2":2}`},
		"detected in numbers":       {nil, []string{"credit_card"}, `{"card":4111111111111111,"n":17}`, `{"card":"[REDACTED:credit_card]","n":17}`},
		"lines":                     {map[string]mask.Spec{"/a": redact}, nil, "{\"a\":1}\n{\"a\":2}\n\n{\"b\":3}\n", "{\"a\":\"[REDACTED]\"}\n{\"a\":\"[REDACTED]\"}\n\n{\"b\":3}\n"},
		"scalar at the top":         {nil, []string{"email"}, `"jane@example.com"`, `"[REDACTED:email]"`},
		"empty":                     {nil, []string{"email"}, ``, ``},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				got, err := run(rulesFor(t, c.fields, c.kinds...).JSON, in)
				if err != nil || got != c.want {
					t.Errorf("got  %s\nwant %s\n(%v)", got, c.want, err)
				}
			}
		})
	}
	for _, in := range []string{`{"a":1`, `{"a":}`, `[1,2`, `{"a":"x}`, `{]`, "\xef\xbb\xbf{}", `{"a":"` + "\xff" + `"}`, strings.Repeat("[", 2000), `{"a":"jane@example.com`} {
		got, err := run(rulesFor(t, nil, "email").JSON, strings.NewReader(in))
		if err == nil {
			t.Errorf("%.20q is taken for JSON", in)
		}
		if strings.Contains(got, "jane@") {
			t.Errorf("%q shows what it could not mask", got)
		}
	}
}

// endless is a list without end, of n bytes.
type endless struct{ left int }

func (e *endless) Read(p []byte) (int, error) {
	if e.left <= 0 {
		return 0, io.EOF
	}
	const item = `{"id":1,"email":"jane@example.com","note":"hello"},`
	n := 0
	for n+len(item) <= len(p) && e.left > 0 {
		n += copy(p[n:], item)
		e.left -= len(item)
	}
	return n, nil
}

func TestJSONTakesConstantMemory(t *testing.T) {
	r := rulesFor(t, map[string]mask.Spec{"/id": {Method: mask.Redact}}, "email")
	in := io.MultiReader(strings.NewReader("["), &endless{left: 20 << 20}, strings.NewReader("0]"))
	w := &window{r: in}
	err := r.walk(w, func([]byte) error { return nil }, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	largest := cap(w.buf)
	if largest > 1<<20 {
		t.Errorf("%d bytes are kept", largest)
	}
	_, err = run(r.JSON, io.MultiReader(strings.NewReader(`"`), io.LimitReader(zeros{}, 64<<20), strings.NewReader(`"`)))
	if !errors.Is(err, ErrTooLarge) {
		t.Errorf("a string of 64 MiB: %v", err)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestEvents(t *testing.T) {
	for name, c := range map[string]struct {
		fields   map[string]mask.Spec
		kinds    []string
		in, want string
	}{
		"untouched":               {nil, []string{"email"}, ": hi\n\nevent: a\r\nid: 7\r\ndata: {\"x\": 1}\r\n\r\ndata:x\rdata: y\r\r", ": hi\n\nevent: a\r\nid: 7\r\ndata: {\"x\": 1}\r\n\r\ndata:x\rdata: y\r\r"},
		"json":                    {map[string]mask.Spec{"/email": {Method: mask.Redact}}, nil, "event: a\ndata: {\"email\":\ndata:  \"x\"}\nid: 3\n\n", "event: a\ndata: {\"email\":\ndata:  \"[REDACTED]\"}\nid: 3\n\n"},
		"text":                    {nil, []string{"email"}, "data: mail jane@example.com\ndata: now\n\n", "data: mail [REDACTED:email]\ndata: now\n\n"},
		"text under a field mask": {map[string]mask.Spec{"/email": {Method: mask.Redact}}, nil, "data: hello\n\ndata: [DONE]\n\n", "data: [REDACTED]\n\ndata: [DONE]\n\n"},
		"broken off":              {nil, []string{"email"}, "data: a\n\ndata: jane@exam", "data: a\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				got, err := run(rulesFor(t, c.fields, c.kinds...).Events, in)
				if err != nil || got != c.want {
					t.Errorf("got  %q\nwant %q\n(%v)", got, c.want, err)
				}
			}
		})
	}
}

// A secret that a model tells piece by piece is masked at every way to split
// it, and what is around it arrives.
func TestEventsCarryPieces(t *testing.T) {
	text := "Write to jane.roe@example.com, please. " + strings.Repeat("And then some more words. ", 60)
	openai := func(piece string) any {
		return map[string]any{"id": "x", "choices": []any{map[string]any{"index": 0, "delta": map[string]any{"content": piece}}}}
	}
	anthropic := func(piece string) any {
		return map[string]any{"type": "content_block_delta", "index": 1, "delta": map[string]any{"type": "text_delta", "text": piece}}
	}
	responses := func(piece string) any {
		return map[string]any{"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "delta": piece}
	}
	for name, event := range map[string]func(string) any{"openai": openai, "anthropic": anthropic, "responses": responses} {
		for _, cut := range []int{1, 2, 3, 7, 13, 20, 21, 64} {
			var in strings.Builder
			for rest := text; rest != ""; {
				n := min(cut, len(rest))
				data, err := json.Marshal(event(rest[:n]))
				if err != nil {
					t.Fatal(err)
				}
				in.WriteString("data: " + string(data) + "\n\n")
				rest = rest[n:]
			}
			in.WriteString("data: [DONE]\n\n")
			got, err := run(rulesFor(t, nil, "email").Events, strings.NewReader(in.String()))
			if err != nil {
				t.Fatal(err)
			}
			var heard strings.Builder
			events := NewEventReader(strings.NewReader(got))
			for {
				e, err := events.Next()
				if err != nil {
					break
				}
				var v any
				if json.Unmarshal(e.Data, &v) == nil {
					for _, p := range pieces(v) {
						piece, _ := get(v, p).(string)
						heard.WriteString(piece)
					}
				}
			}
			if want := strings.Replace(text, "jane.roe@example.com", "[REDACTED:email]", 1); heard.String() != want {
				t.Fatalf("%s cut at %d: %.120q", name, cut, heard.String())
			}
			if !strings.HasSuffix(got, "data: [DONE]\n\n") {
				t.Fatalf("%s: [DONE] is not the last", name)
			}
		}
	}
}

func FuzzJSON(f *testing.F) {
	f.Add(`{"email":"secret-value","a":[{"email":1},"secret-value jane@example.com"]}`)
	f.Add(`[[["x"]],{"e\u006dail":{"a":"secret-value"}}] 1 "2"`)
	f.Fuzz(func(t *testing.T, in string) {
		r := rulesFor(t, map[string]mask.Spec{"email": {Method: mask.Redact}, "/a/b": {Method: mask.Null}}, "email", "credit_card")
		got, err := run(r.JSON, strings.NewReader(in))
		again, err2 := run(r.JSON, iotest.OneByteReader(strings.NewReader(in)))
		if (err == nil) != (err2 == nil) || err == nil && got != again {
			t.Fatalf("read at once and byte by byte differ: %q %v, %q %v", got, err, again, err2)
		}
		if err != nil {
			return
		}
		// It parses, and no member called email has a value.
		d := jsontext.NewDecoder(strings.NewReader(got), jsontext.AllowDuplicateNames(true))
		for {
			v, err := d.ReadValue()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%q became %q: %v", in, got, err)
			}
			walkEmail(t, v)
		}
		// What is masked once stays as it is.
		if twice, err := run(r.JSON, strings.NewReader(got)); err != nil || !strings.Contains(in, "@") && !strings.ContainsAny(in, "0123456789") && twice != got {
			t.Errorf("%q becomes %q, then %q (%v)", in, got, twice, err)
		}
		// Without rules every byte is as it was.
		if plain, err := run(rulesFor(t, map[string]mask.Spec{"/\x00": {}}).JSON, strings.NewReader(in)); err != nil || plain != in && !strings.Contains(in, `\u0000`) {
			t.Errorf("%q becomes %q (%v)", in, plain, err)
		}
	})
}

func walkEmail(t *testing.T, v jsontext.Value) {
	t.Helper()
	d := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true))
	var walk func()
	walk = func() {
		switch d.PeekKind() {
		case '{':
			_, _ = d.ReadToken()
			for d.PeekKind() != '}' {
				name, err := d.ReadToken()
				if err != nil {
					t.Fatal(err)
				}
				if strings.EqualFold(name.String(), "email") && d.PeekKind() != 'n' {
					got, _ := d.ReadValue()
					if string(got) != `"[REDACTED]"` {
						t.Fatalf("email is %s", got)
					}
					continue
				}
				walk()
			}
			_, _ = d.ReadToken()
		case '[':
			_, _ = d.ReadToken()
			for d.PeekKind() != ']' {
				walk()
			}
			_, _ = d.ReadToken()
		default:
			_, _ = d.ReadValue()
		}
	}
	walk()
}

func FuzzEvents(f *testing.F) {
	f.Add("data: {\"email\":\"x\"}\n\n", 3)
	f.Add("event: x\r\ndata: a\r\rdata: b\n\n: c\n\ndata", 1)
	f.Fuzz(func(t *testing.T, in string, cut int) {
		if cut < 0 || cut > len(in) {
			return
		}
		r := func() *Rules { return rulesFor(t, map[string]mask.Spec{"email": {Method: mask.Redact}}, "email") }
		whole, err1 := run(r().Events, strings.NewReader(in))
		split, err2 := run(r().Events, io.MultiReader(strings.NewReader(in[:cut]), strings.NewReader(in[cut:])))
		if (err1 == nil) != (err2 == nil) {
			t.Fatalf("%v, split %v", err1, err2)
		}
		if err1 != nil {
			return
		}
		if a, b := datas(whole), datas(split); a != b {
			t.Errorf("%q, split at %d %q", a, cut, b)
		}
	})
}

// datas are the events' data: a CR and an LF that arrive apart end one line and
// an empty one, which changes bytes and no data.
func datas(s string) string {
	var out strings.Builder
	r := NewEventReader(strings.NewReader(s))
	for {
		e, err := r.Next()
		if err != nil {
			return out.String()
		}
		if e.lines > 0 {
			out.Write(e.Data)
			out.WriteByte(0)
		}
	}
}

func BenchmarkJSON(b *testing.B) {
	var in bytes.Buffer
	in.WriteString("[")
	for in.Len() < 10<<20 {
		in.WriteString(`{"id":12345,"email":"jane@example.com","name":"Jane Roe","tags":["a","b"],"price":12.5,"note":"some words about it"},`)
	}
	in.WriteString("0]")
	for name, r := range map[string]*Rules{
		"field":  rulesFor(b, map[string]mask.Spec{"/email": {Method: mask.Partial}}),
		"detect": rulesFor(b, map[string]mask.Spec{"/email": {Method: mask.Partial}}, "email", "credit_card"),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(in.Len()))
			b.ReportAllocs()
			for b.Loop() {
				if err := r.JSON(bytes.NewReader(in.Bytes()), func([]byte) error { return nil }, func() error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
