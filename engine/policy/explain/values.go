package explain

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
)

// maxValue bounds the JSON of a value that is shown, in bytes.
const maxValue = 400

// show describes a condition that does not hold, with what it saw of the input.
func (x *explainer) show(c condition, solved []topdown.QueryResult) Condition {
	out := Condition{Values: []Value{}}
	out.File, out.Line, out.Text = text(c)
	add := func(v Value) {
		if !slices.ContainsFunc(out.Values, func(w Value) bool { return w.Name == v.Name && string(w.Value) == string(v.Value) }) {
			out.Values = append(out.Values, v)
		}
	}
	for _, e := range c {
		ast.WalkRefs(e, func(ref ast.Ref) bool {
			if !ref[0].Equal(ast.InputRootDocument) {
				return false
			}
			for _, s := range solved {
				path := keysOf(ref, s)
				if len(path) == 0 {
					continue
				}
				v := Value{Name: pathName(path), Value: json.RawMessage("null")}
				if t := at(x.doc, path); t == nil {
					v.Undefined = true
				} else {
					v.Value = asJSON(t)
				}
				add(v)
			}
			return false
		})
		ast.WalkVars(e, func(v ast.Var) bool {
			name, ok := x.Set.Compiler().RewrittenVars[v]
			if !ok || name.IsGenerated() || name.IsWildcard() {
				return false
			}
			for _, s := range solved {
				// A value that is not of the input may be of the bundles' data.
				if t := s[v]; t != nil && holds(x.doc, t) {
					add(Value{Name: string(name), Value: asJSON(t)})
				}
			}
			return false
		})
	}
	return out
}

// keysOf are the keys of a reference into the input, up to the first that is not
// known.
func keysOf(ref ast.Ref, s topdown.QueryResult) []*ast.Term {
	var out []*ast.Term
	for _, t := range ref[1:] {
		if v, ok := t.Value.(ast.Var); ok {
			t = s[v]
		}
		if t == nil || !scalar(t.Value) {
			break
		}
		out = append(out, t)
	}
	return out
}

// holds reports whether t is the document, or something in it.
func holds(doc ast.Value, t *ast.Term) bool {
	found := false
	whole := ast.NewTerm(doc)
	ast.WalkTerms(whole, func(u *ast.Term) bool {
		found = found || u != whole && u.Equal(t)
		return found
	})
	return found
}

// at returns what is at a path, nil where there is nothing.
func at(v ast.Value, path []*ast.Term) *ast.Term {
	t := ast.NewTerm(v)
	for _, key := range path {
		switch x := t.Value.(type) {
		case ast.Object:
			t = x.Get(key)
		case *ast.Array:
			t = x.Get(key)
		default:
			return nil
		}
		if t == nil {
			return nil
		}
	}
	return t
}

// replaced is a copy of doc with t at a path of object keys.
func replaced(doc ast.Object, path []*ast.Term, t *ast.Term) ast.Object {
	out := ast.NewObject()
	inner := ast.NewObject()
	doc.Foreach(func(k, v *ast.Term) {
		if !k.Equal(path[0]) {
			out.Insert(k, v)
		} else if o, ok := v.Value.(ast.Object); ok {
			inner = o
		}
	})
	if len(path) > 1 {
		t = ast.NewTerm(replaced(inner, path[1:], t))
	}
	out.Insert(path[0], t)
	return out
}

func stringAt(v ast.Value, keys ...string) (string, bool) {
	path := make([]*ast.Term, len(keys))
	for i, k := range keys {
		path[i] = ast.StringTerm(k)
	}
	t := at(v, path)
	if t == nil {
		return "", false
	}
	s, ok := t.Value.(ast.String)
	return string(s), ok
}

func scalar(v ast.Value) bool {
	switch v.(type) {
	case ast.String, ast.Number, ast.Boolean, ast.Null:
		return true
	}
	return false
}

// asJSON renders a value. What is too long becomes a string that says so.
func asJSON(t *ast.Term) json.RawMessage {
	v, err := ast.JSON(t.Value)
	var raw []byte
	if err == nil {
		raw, err = json.Marshal(v)
	}
	if err != nil {
		return json.RawMessage("null")
	}
	if len(raw) > maxValue {
		cut := strings.ToValidUTF8(string(raw[:maxValue]), "")
		raw, _ = json.Marshal(cut + "… (" + strconv.Itoa(len(raw)) + " bytes)")
	}
	return raw
}

// pathName writes a path as Rego does.
func pathName(path []*ast.Term) string {
	ref := append(ast.Ref{ast.InputRootDocument}, path...)
	return ref.String()
}
