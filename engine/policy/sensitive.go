package policy

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
)

// sensitivePath is where bundles say which fields are sensitive although nothing
// may be masking them: a list of names, as a mask's field has them.
var sensitivePath = []string{"regate", "settings", "sensitive", "fields"}

const codeSensitive = "regate_sensitive_error"

// sensitiveFields reads them. There may be none.
func sensitiveFields(data ast.Object) ([]string, ast.Errors) {
	var v ast.Value = data
	for _, key := range sensitivePath {
		obj, ok := v.(ast.Object)
		if !ok {
			return nil, notFields(v)
		}
		t := obj.Get(ast.StringTerm(key))
		if t == nil {
			return nil, nil
		}
		v = t.Value
	}
	list, ok := v.(*ast.Array)
	if !ok {
		return nil, notFields(v)
	}
	var out []string
	for i := range list.Len() {
		name, ok := list.Elem(i).Value.(ast.String)
		if !ok {
			return nil, notFields(list.Elem(i).Value)
		}
		out = append(out, string(name))
	}
	return out, nil
}

func notFields(v ast.Value) ast.Errors {
	return ast.Errors{ast.NewError(codeSensitive, nil, "data.regate.settings.sensitive.fields: %s, want a list of strings", fmt.Sprintf("there is %s", ast.ValueName(v)))}
}

// Sensitive returns the fields that the bundles in force call sensitive, as in
// data.regate.settings.sensitive.fields. The caller must not change them.
func (e *Engine) Sensitive() []string {
	if s := e.current.Load(); s != nil {
		return s.sensitive
	}
	return nil
}
