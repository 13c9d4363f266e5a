package policy

import (
	"bytes"
	"encoding/json"
	"testing"

	"pgregory.net/rapid"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// same asserts that a value's term is the term of its canonical JSON.
func sameTerm(t interface{ Fatalf(string, ...any) }, terms *terms, v any) {
	got, err := terms.of(v)
	if err != nil {
		t.Fatalf("%#v: %v", v, err)
	}
	want, err := jsonTerm(input.NewPart(v).JSON())
	if err != nil {
		t.Fatalf("%#v: %v", v, err)
	}
	if got.Value.Compare(want.Value) != 0 || got.String() != want.String() {
		t.Fatalf("%#v\n got %s\nwant %s", v, got, want)
	}
}

func TestTermsAreThoseOfTheJSON(t *testing.T) {
	terms := &terms{}
	type tree struct {
		Name string  `json:"name"`
		Next *tree   `json:"next"`
		All  []*tree `json:"all"`
	}
	type odd struct {
		A string `json:"a,omitempty"`
		B []byte
	}
	for _, v := range []any{
		[]string(nil), []string{}, map[string]int(nil), (*input.Principal)(nil), input.Principal{}, &input.Principal{ID: "x"},
		[]any{nil, true, "x\xff\xfe", 1, int64(1 << 60), -3, 1.5, 1e300, 1e21, 0.1, json.Number("12.50"), json.Number("1e3"), json.RawMessage(`{"b":1,"a":[1.0]}`)},
		map[string]any{"\xff": 1, "z": map[string]any{}, "é": "<&>"},
		tree{Name: "a", Next: &tree{Name: "b"}, All: []*tree{{Name: "c"}, nil}},
		odd{A: "", B: []byte("hello")}, noon, map[int]string{3: "x"}, uint16(7), uint64(1 << 63), float32(1.25), [2]bool{true, false},
	} {
		sameTerm(t, terms, []any{v})
		sameTerm(t, terms, map[string]any{"v": v})
	}
	if _, err := terms.of(make(chan int)); err == nil {
		t.Error("a channel has a term")
	}
}

func TestTermsOfAnyValue(t *testing.T) {
	terms := &terms{}
	scalar := rapid.OneOf(
		rapid.Just[any](nil), rapid.Map(rapid.Bool(), func(b bool) any { return b }), rapid.Map(rapid.String(), func(s string) any { return s }),
		rapid.Map(rapid.Int64(), func(i int64) any { return i }), rapid.Map(rapid.Float64(), func(f float64) any { return f }),
	)
	value := rapid.Deferred(func() *rapid.Generator[any] { return scalar })
	for range 3 {
		inner := value
		value = rapid.OneOf(scalar,
			rapid.Map(rapid.SliceOfN(inner, 0, 3), func(s []any) any { return s }),
			rapid.Map(rapid.MapOfN(rapid.String(), inner, 0, 3), func(m map[string]any) any { return m }))
	}
	rapid.Check(t, func(t *rapid.T) {
		sameTerm(t, terms, map[string]any{"v": value.Draw(t, "value")})
	})
}

func TestTermOfTheWholeDocument(t *testing.T) {
	terms := &terms{}
	for _, d := range []*input.Document{selectDoc(), {Protocol: input.Postgres, Stage: input.StageSession, Time: noon}} {
		got, err := terms.document(d, everythingRead())
		if err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(d)
		if err != nil {
			t.Fatal(err)
		}
		want, err := ast.ValueFromReader(bytes.NewReader(raw))
		if err != nil {
			t.Fatal(err)
		}
		if got.Value.Compare(want) != 0 {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}
