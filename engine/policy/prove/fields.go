package prove

import (
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Kind is what is done to a field.
type Kind string

// The kinds of mutation. The last five give the field another type.
const (
	Missing Kind = "missing"
	Null    Kind = "null"
	String  Kind = "a string"
	Number  Kind = "a number"
	Boolean Kind = "a boolean"
	Array   Kind = "an array"
	Object  Kind = "an object"
)

// instead are the values that a kind puts in a field's place.
var instead = []mutation{
	{Missing, nil},
	{Null, ast.NullTerm()},
	{String, ast.StringTerm("")},
	{Number, ast.IntNumberTerm(0)},
	{Boolean, ast.BooleanTerm(true)},
	{Array, ast.ArrayTerm()},
	{Object, ast.ObjectTerm()},
}

// kindOf is the kind of mutation that would leave a value's type as it is.
func kindOf(v ast.Value) Kind {
	switch v.(type) {
	case ast.Null:
		return Null
	case ast.String:
		return String
	case ast.Number:
		return Number
	case ast.Boolean:
		return Boolean
	case *ast.Array:
		return Array
	case ast.Object:
		return Object
	}
	return ""
}

// given are keys that are not mutated: by them the gateway chooses which
// packages and rules are asked at all, so a policy sees no document without.
var given = []string{"schema", "protocol", "stage"}

// maxElements bounds how many elements of a list or a map are looked into: one
// like the other.
const maxElements = 4

// field is one field of one document that policies read.
type field struct {
	path   []string // concrete: keys and positions
	value  *ast.Term
	schema *schemaNode // nil: not known
	deep   bool        // in a value that goes on as a whole: whether it is read is not known
}

// mutation is what is put in a field's place; a nil term takes the field away.
type mutation struct {
	kind Kind
	term *ast.Term
}

// mutations lists what is tried with the field. What the schema lets stand
// there is left out, but for null: with it the document says something else that
// may be true: that is what a note is. Of the types that are wrong, one does for a field that may not be
// read at all.
func (f field) mutations() []mutation {
	own := kindOf(f.value.Value)
	var out []mutation
	for _, m := range instead {
		if m.kind == own || f.schema.allows(m.kind) && (m.kind != Null || f.schema.Type == nil) {
			continue
		}
		out = append(out, m)
		if f.deep && m.kind != Missing && m.kind != Null {
			break
		}
	}
	return out
}

// name writes the field as authors do; positions and keys of maps are [_].
func (f field) name(schema *schemaNode) string {
	var b strings.Builder
	b.WriteString("input")
	at := schema
	for _, key := range f.path {
		if at.is("array") || at.isMap() || isPosition(key) {
			b.WriteString("[_]")
		} else {
			b.WriteString("." + key)
		}
		if at.is("array") {
			at = at.Items
		} else {
			at = at.property(key)
		}
	}
	return b.String()
}

func isPosition(key string) bool {
	_, err := strconv.Atoi(key)
	return err == nil
}

// finder collects the fields of one document.
type finder struct {
	known bool // there is a schema: what it says nothing of is data, and no field
	seen  map[string]bool
	found []field
}

// fieldsOf returns what policies that read these paths read of the document.
// Elements of lists, and entries of maps whose keys are data, are no fields:
// without one the document says something else that is as true. What is in them
// is looked into.
func fieldsOf(doc ast.Object, schema *schemaNode, reads [][]string) []field {
	f := &finder{known: schema != nil, seen: map[string]bool{}}
	for _, path := range reads {
		if len(path) == 0 {
			f.below(ast.NewTerm(doc), schema, nil)
			continue
		}
		f.follow(ast.NewTerm(doc), schema, nil, path)
	}
	return f.found
}

func (f *finder) add(path []string, value *ast.Term, schema *schemaNode, deep bool) {
	if len(path) == 0 || len(path) == 1 && slices.Contains(given, path[0]) || f.known && schema == nil {
		return
	}
	key := strings.Join(path, "\x00")
	if !f.seen[key] {
		f.seen[key] = true
		f.found = append(f.found, field{slices.Clone(path), value, schema, deep})
	}
}

// follow goes along a path that is read.
func (f *finder) follow(at *ast.Term, schema *schemaNode, path, reads []string) {
	key := reads[0]
	switch v := at.Value.(type) {
	case ast.Object:
		if key == "*" || schema.isMap() {
			f.add(path, at, schema, false)
			f.elements(at, schema, func(next *ast.Term, s *schemaNode, name string) {
				if key != "*" && key != name {
					return
				}
				f.onward(next, s, append(path, name), reads[1:], false)
			})
			return
		}
		if next := v.Get(ast.StringTerm(key)); next != nil {
			f.onward(next, schema.property(key), append(path, key), reads[1:], true)
		}
	case *ast.Array:
		f.add(path, at, schema, false)
		f.elements(at, schema, func(next *ast.Term, s *schemaNode, name string) {
			f.onward(next, s, append(path, name), reads[1:], false)
		})
	}
}

// onward is the step after a key. isField says that the value is a field and no
// element.
func (f *finder) onward(at *ast.Term, schema *schemaNode, path, reads []string, isField bool) {
	if len(reads) > 0 {
		if isField && schema.is("null") { // what may be null must be null safely
			f.add(path, at, schema, false)
		}
		f.follow(at, schema, path, reads)
		return
	}
	if isField {
		f.add(path, at, schema, false)
	}
	f.below(at, schema, path)
}

// below adds every field in a value that goes on as a whole.
func (f *finder) below(at *ast.Term, schema *schemaNode, path []string) {
	obj, ok := at.Value.(ast.Object)
	if !ok || schema.isMap() {
		f.elements(at, schema, func(next *ast.Term, s *schemaNode, name string) { f.below(next, s, append(path, name)) })
		return
	}
	obj.Foreach(func(k, v *ast.Term) {
		key, ok := k.Value.(ast.String)
		if !ok {
			return
		}
		here := append(slices.Clone(path), string(key))
		f.add(here, v, schema.property(string(key)), true)
		f.below(v, schema.property(string(key)), here)
	})
}

// elements calls each for some elements of a list or a map.
func (f *finder) elements(at *ast.Term, schema *schemaNode, each func(*ast.Term, *schemaNode, string)) {
	n := 0
	switch v := at.Value.(type) {
	case *ast.Array:
		var items *schemaNode
		if schema != nil {
			items = schema.Items
		}
		for i := range min(v.Len(), maxElements) {
			each(v.Elem(i), items, strconv.Itoa(i))
		}
	case ast.Object:
		v.Foreach(func(k, t *ast.Term) {
			if key, ok := k.Value.(ast.String); ok && n < maxElements {
				n++
				each(t, schema.property(string(key)), string(key))
			}
		})
	}
}

// replace returns a copy of doc with term at path, or without it where term is
// nil.
func replace(doc *ast.Term, path []string, term *ast.Term) *ast.Term {
	if len(path) == 0 {
		return term
	}
	switch v := doc.Value.(type) {
	case ast.Object:
		key := ast.StringTerm(path[0])
		out := ast.NewObject()
		v.Foreach(func(k, old *ast.Term) {
			if !k.Equal(key) {
				out.Insert(k, old)
				return
			}
			if next := replace(old, path[1:], term); next != nil {
				out.Insert(k, next)
			}
		})
		return ast.NewTerm(out)
	case *ast.Array:
		at, err := strconv.Atoi(path[0])
		if err != nil {
			return doc
		}
		elems := make([]*ast.Term, 0, v.Len())
		for i := range v.Len() {
			e := v.Elem(i)
			if i == at {
				if e = replace(e, path[1:], term); e == nil {
					continue
				}
			}
			elems = append(elems, e)
		}
		return ast.ArrayTerm(elems...)
	}
	return doc
}
