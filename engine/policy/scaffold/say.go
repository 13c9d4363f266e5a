package scaffold

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/regate-dev/regate/engine/policy"
)

// Say asks one package what it says of an input document: the ids in each of
// its sets, for a TestCase. A set whose elements have no id, such as a boolean
// allow, is left out. pkg is as in TestModule, and must be in the set.
func Say(ctx context.Context, set *policy.Set, pkg string, doc []byte) (map[string][]string, error) {
	if err := checkPackage(pkg); err != nil {
		return nil, err
	}
	known := false
	for _, p := range set.Packages() {
		known = known || p.Path == "data."+pkg
	}
	if !known {
		return nil, fmt.Errorf("package %s is not among the policies", pkg)
	}
	parsed, err := ast.ValueFromReader(bytes.NewReader(doc))
	if err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	out := map[string][]string{}
	for _, name := range surface {
		result, err := rego.New(
			rego.Query("data."+pkg+"."+name), rego.Compiler(set.Compiler()), rego.Store(set.Store()),
			rego.ParsedInput(parsed), rego.StrictBuiltinErrors(true),
		).Eval(ctx)
		if err != nil {
			return nil, fmt.Errorf("evaluate %s: %w", name, err)
		}
		if len(result) == 0 {
			continue // the package has no such set
		}
		if ids, err := idsOf(result[0].Expressions[0].Value); err == nil {
			out[name] = ids
		}
	}
	return out, nil
}

var errNoID = errors.New("an element has no id")

func idsOf(value any) ([]string, error) {
	elements, ok := value.([]any)
	if !ok {
		return nil, errNoID
	}
	var ids []string
	for _, e := range elements {
		object, _ := e.(map[string]any)
		id, ok := object["id"].(string)
		if !ok {
			return nil, errNoID
		}
		ids = append(ids, id)
	}
	return ids, nil
}
