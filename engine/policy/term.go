package policy

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gowebpki/jcs"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// terms turns Go values into the evaluator's terms without a detour through
// JSON, which costs seven times as much. A value's term is the term of its
// canonical JSON: a test holds the two equal, so a replay from the record sees
// what the live evaluation saw.
type terms struct {
	plans sync.Map // reflect.Type → termFunc

	building sync.Mutex
	open     map[reflect.Type]bool // being built under the mutex
}

type termFunc func(reflect.Value) (*ast.Term, error)

var (
	nullTerm  = ast.NullTerm()
	emptyTerm = ast.ArrayTerm()
)

// partTerm is what a Part's memo holds.
type partTerm struct {
	term *ast.Term
	err  error
}

// part returns the part's term, made once for the part's lifetime.
func (t *terms) part(p *input.Part, whenNil *ast.Term) (*ast.Term, error) {
	if p == nil {
		return whenNil, nil
	}
	memo, ok := p.Memo(func([]byte) any {
		term, err := t.of(p.Value())
		return partTerm{term, err}
	}).(partTerm)
	if !ok {
		return nil, errors.New("part has no term: it did not marshal")
	}
	return memo.term, memo.err
}

// documentKeys are the keys of a document but for the protocol's own, and their
// terms.
var documentKeys = func() map[string]*ast.Term {
	out := map[string]*ast.Term{}
	for _, k := range strings.Fields("action actor approvals asserted complete enforcer parameters protocol request resource response schema session stage subject target time unknown usage") {
		out[k] = ast.StringTerm(k)
	}
	return out
}()

var schemaTerm = ast.StringTerm(input.Schema)

// document returns the input, of which only what r reads is made: what no
// policy can read need not be there, and most of the cost of an evaluation that
// is not cached would be making it.
func (t *terms) document(d *input.Document, r readSet) (*ast.Term, error) {
	pairs := make([][2]*ast.Term, 0, 20)
	var failed error
	add := func(key string, term *ast.Term, err error) {
		k := documentKeys[key]
		if k == nil {
			k = ast.InternedTerm(key)
		}
		pairs = append(pairs, [2]*ast.Term{k, term})
		if err != nil && failed == nil {
			failed = fmt.Errorf("%s: %w", key, err)
		}
	}
	part := func(key string, p *input.Part, whenNil *ast.Term) {
		if r.readsKey(key) {
			term, err := t.part(p, whenNil)
			add(key, term, err)
		}
	}
	part("action", d.Action, nullTerm)
	part("actor", d.Actor, nullTerm)
	if r.readsKey("approvals") {
		term, err := t.of(nonNil(d.Approvals))
		add("approvals", term, err)
	}
	part("asserted", d.Asserted, nullTerm)
	if r.readsKey("complete") {
		add("complete", ast.InternedTerm(d.Complete), nil)
	}
	part("enforcer", d.Enforcer, nullTerm)
	part("parameters", d.Parameters, emptyTerm)
	if r.readsKey("protocol") {
		add("protocol", ast.InternedTerm(string(d.Protocol)), nil)
	}
	if r.readsKey("request") {
		term, err := t.of(d.Request)
		add("request", term, err)
	}
	part("resource", d.Resource, nullTerm)
	part("response", d.Response, nullTerm)
	if r.readsKey("schema") {
		add("schema", schemaTerm, nil)
	}
	if r.readsKey("session") {
		session := d.Session
		session.Labels = nonNil(session.Labels)
		term, err := t.of(session)
		add("session", term, err)
	}
	part(d.Protocol.DetailKey(), d.Detail, nullTerm)
	if r.readsKey("stage") {
		add("stage", ast.InternedTerm(string(d.Stage)), nil)
	}
	part("subject", d.Subject, nullTerm)
	part("target", d.Target, nullTerm)
	if r.readsKey("time") {
		add("time", ast.StringTerm(d.Time.UTC().Format(time.RFC3339Nano)), nil)
	}
	part("unknown", d.Unknown, emptyTerm)
	if r.readsKey("usage") {
		term := nullTerm
		var err error
		if d.Usage != nil {
			term, err = t.of(*d.Usage)
		}
		add("usage", term, err)
	}
	if failed != nil {
		return nil, failed
	}
	return ast.ObjectTerm(pairs...), nil
}

// of returns v's term.
func (t *terms) of(v any) (*ast.Term, error) {
	if v == nil {
		return nullTerm, nil
	}
	rv := reflect.ValueOf(v)
	return t.plan(rv.Type())(rv)
}

func (t *terms) plan(typ reflect.Type) termFunc {
	if f, ok := t.plans.Load(typ); ok {
		return f.(termFunc)
	}
	t.building.Lock()
	defer t.building.Unlock()
	if t.open == nil {
		t.open = map[reflect.Type]bool{}
	}
	return t.inner(typ)
}

// inner is plan for the types inside a type; the mutex is held.
func (t *terms) inner(typ reflect.Type) termFunc {
	if f, ok := t.plans.Load(typ); ok {
		return f.(termFunc)
	}
	if t.open[typ] { // a type that holds itself
		return func(v reflect.Value) (*ast.Term, error) { return t.plan(typ)(v) }
	}
	t.open[typ] = true
	f := t.build(typ)
	delete(t.open, typ)
	t.plans.Store(typ, f)
	return f
}

var (
	marshaler     = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
	jsonNumber    = reflect.TypeFor[json.Number]()
)

func (t *terms) build(typ reflect.Type) termFunc {
	if typ == jsonNumber {
		return func(v reflect.Value) (*ast.Term, error) {
			f, err := json.Number(v.String()).Float64()
			if err != nil {
				return nil, fmt.Errorf("number %q: %w", v.String(), err)
			}
			return floatTerm(f)
		}
	}
	if typ.Implements(marshaler) || typ.Implements(textMarshaler) ||
		reflect.PointerTo(typ).Implements(marshaler) || reflect.PointerTo(typ).Implements(textMarshaler) {
		return t.viaJSON
	}
	switch typ.Kind() {
	case reflect.Bool:
		return func(v reflect.Value) (*ast.Term, error) { return ast.InternedTerm(v.Bool()), nil }
	case reflect.String:
		return t.stringTerm
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(v reflect.Value) (*ast.Term, error) { return intTerm(v.Int()) }
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return func(v reflect.Value) (*ast.Term, error) { return intTerm(int64(v.Uint())) }
	case reflect.Float64:
		return func(v reflect.Value) (*ast.Term, error) { return floatTerm(v.Float()) }
	case reflect.Interface, reflect.Pointer:
		return func(v reflect.Value) (*ast.Term, error) {
			if v.IsNil() {
				return nullTerm, nil
			}
			v = v.Elem()
			return t.plan(v.Type())(v)
		}
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Uint8 {
			return t.viaJSON // base64
		}
		return t.sliceTerm
	case reflect.Map:
		if typ.Key().Kind() != reflect.String || typ.Key().Implements(textMarshaler) {
			return t.viaJSON
		}
		return t.mapTerm
	case reflect.Struct:
		return t.structPlan(typ)
	}
	return t.viaJSON
}

func (t *terms) stringTerm(v reflect.Value) (*ast.Term, error) {
	s := v.String()
	if !utf8.ValidString(s) {
		return t.viaJSON(v) // which replaces what is not UTF-8
	}
	return ast.InternedTerm(s), nil
}

func (t *terms) sliceTerm(v reflect.Value) (*ast.Term, error) {
	if v.IsNil() {
		return nullTerm, nil
	}
	n := v.Len()
	if n == 0 {
		return emptyTerm, nil
	}
	elems := make([]*ast.Term, n)
	f := t.plan(v.Type().Elem())
	for i := range n {
		term, err := f(v.Index(i))
		if err != nil {
			return nil, err
		}
		elems[i] = term
	}
	return ast.ArrayTerm(elems...), nil
}

func (t *terms) mapTerm(v reflect.Value) (*ast.Term, error) {
	if v.IsNil() {
		return nullTerm, nil
	}
	pairs := make([][2]*ast.Term, 0, v.Len())
	f := t.plan(v.Type().Elem())
	for it := v.MapRange(); it.Next(); {
		key := it.Key().String()
		if !utf8.ValidString(key) {
			return t.viaJSON(v)
		}
		term, err := f(it.Value())
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]*ast.Term{ast.InternedTerm(key), term})
	}
	return ast.ObjectTerm(pairs...), nil
}

func (t *terms) structPlan(typ reflect.Type) termFunc {
	type field struct {
		index int
		key   *ast.Term
		f     termFunc
	}
	var fields []field
	for i := range typ.NumField() {
		sf := typ.Field(i)
		tag, tagged := sf.Tag.Lookup("json")
		if !sf.IsExported() && !sf.Anonymous || tag == "-" {
			continue
		}
		if sf.Anonymous || !tagged || tag == "" || strings.Contains(tag, ",") {
			return t.viaJSON // options and promotion: leave them to encoding/json
		}
		fields = append(fields, field{i, ast.StringTerm(tag), t.inner(sf.Type)})
	}
	return func(v reflect.Value) (*ast.Term, error) {
		pairs := make([][2]*ast.Term, len(fields))
		for i := range fields {
			term, err := fields[i].f(v.Field(fields[i].index))
			if err != nil {
				return nil, err
			}
			pairs[i] = [2]*ast.Term{fields[i].key, term}
		}
		return ast.ObjectTerm(pairs...), nil
	}
}

// viaJSON takes the slow way: canonical JSON, and its term.
func (t *terms) viaJSON(v reflect.Value) (*ast.Term, error) {
	raw, err := json.Marshal(v.Interface())
	if err == nil {
		// An array makes a lone value a JSON text that jcs takes.
		raw, err = jcs.Transform(append(append([]byte{'['}, raw...), ']'))
	}
	if err != nil {
		return nil, fmt.Errorf("%s does not marshal: %w", v.Type(), err)
	}
	return jsonTerm(raw[1 : len(raw)-1])
}

// jsonTerm returns the term of canonical JSON.
func jsonTerm(raw []byte) (*ast.Term, error) {
	value, err := ast.ValueFromReader(strings.NewReader(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("read JSON: %w", err)
	}
	return ast.NewTerm(value), nil
}

// exactInt bounds the integers that canonical JSON, whose numbers are IEEE
// doubles, writes exactly.
const exactInt = 1 << 53

func intTerm(i int64) (*ast.Term, error) {
	if i > exactInt || i < -exactInt {
		return floatTerm(float64(i))
	}
	return ast.InternedTerm(int(i)), nil
}

func floatTerm(f float64) (*ast.Term, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%v is not a JSON number", f)
	}
	text, err := jcs.NumberToJSON(f)
	if err != nil {
		return nil, fmt.Errorf("number %v: %w", f, err)
	}
	return ast.NumberTerm(json.Number(text)), nil
}
