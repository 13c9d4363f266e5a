package request

import (
	"maps"
	"slices"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/regate-dev/regate/engine/input"
)

// Bounds of a GraphQL request.
const (
	maxGraphQLTokens = 10_000
	maxGraphQLFields = 5_000 // fragments expanded
	maxGraphQLDepth  = 50
	maxGraphQLBatch  = 50
)

func badGraphQL(format string, args ...any) error {
	return refuse(ReasonGraphQL, "", "the GraphQL request cannot be read: "+format, args...)
}

// readGraphQL reads what a GraphQL server takes from the JSON value of a body,
// or from the parameters of a URL: one operation, or a batch of them.
func readGraphQL(v any) ([]input.HTTPGraphQL, error) {
	entries, batch := v.([]any)
	if !batch {
		entries = []any{v}
	}
	if len(entries) == 0 || len(entries) > maxGraphQLBatch {
		return nil, badGraphQL("a batch of %d operations", len(entries))
	}
	var out []input.HTTPGraphQL
	for _, e := range entries {
		object, ok := e.(map[string]any)
		if !ok {
			return nil, badGraphQL("an operation is no object")
		}
		query, ok := object["query"].(string)
		if !ok || strings.TrimSpace(query) == "" {
			if _, extended := object["extensions"]; extended || object["id"] != nil || object["documentId"] != nil || object["queryId"] != nil {
				return nil, refuse(ReasonPersisted, "Send the whole query.", "the request names a stored GraphQL query and does not have its text")
			}
			return nil, badGraphQL("an operation has no query")
		}
		name, ok := object["operationName"].(string)
		if !ok && object["operationName"] != nil {
			return nil, badGraphQL("operationName is no string")
		}
		variables, ok := object["variables"].(map[string]any)
		if !ok && object["variables"] != nil {
			return nil, badGraphQL("variables are no object")
		}
		one, err := readOperation(query, name, variables)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func readOperation(query, name string, variables map[string]any) (input.HTTPGraphQL, error) {
	none := input.HTTPGraphQL{}
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: query}, maxGraphQLTokens)
	if err != nil {
		return none, badGraphQL("%s", clip(err.Error()))
	}
	var op *ast.OperationDefinition
	seen := map[string]bool{}
	for _, o := range doc.Operations {
		if seen[o.Name] {
			return none, badGraphQL("two operations have one name")
		}
		seen[o.Name] = true
		if o.Name == name || name == "" && len(doc.Operations) == 1 {
			op = o
		}
	}
	if op == nil || name == "" && len(doc.Operations) > 1 {
		return none, badGraphQL("operationName does not say which of %d operations is meant", len(doc.Operations))
	}
	w := &graphWalk{
		fragments: map[string]*ast.FragmentDefinition{}, variables: map[string]any{},
		paths: map[string]bool{}, top: map[string]bool{}, directives: map[string]bool{}, arguments: map[string]any{},
	}
	for _, f := range doc.Fragments {
		if w.fragments[f.Name] != nil {
			return none, badGraphQL("two fragments have one name")
		}
		w.fragments[f.Name] = f
	}
	for _, v := range op.VariableDefinitions {
		if given, ok := variables[v.Variable]; ok {
			w.variables[v.Variable] = given
		} else if v.DefaultValue != nil {
			value, err := w.value(v.DefaultValue)
			if err != nil {
				return none, err
			}
			w.variables[v.Variable] = value
		}
	}
	for _, d := range op.Directives {
		w.directives[d.Name] = true
	}
	if err := w.set(op.SelectionSet, "", 1); err != nil {
		return none, err
	}
	out := input.HTTPGraphQL{
		Operation: string(op.Operation), Name: op.Name, Fields: sorted(w.top), Paths: sorted(w.paths), Arguments: w.arguments,
		Directives: sorted(w.directives), Depth: w.depth, Size: w.size, Introspection: w.top["__schema"] || w.top["__type"], Text: query,
	}
	if variables != nil {
		out.Variables = variables
	}
	return out, nil
}

// graphWalk collects what an operation selects.
type graphWalk struct {
	fragments  map[string]*ast.FragmentDefinition
	open       []string // fragments being expanded
	variables  map[string]any
	paths      map[string]bool
	top        map[string]bool
	directives map[string]bool
	arguments  map[string]any
	depth      int
	size       int
}

func (w *graphWalk) set(set ast.SelectionSet, at string, depth int) error {
	if depth > maxGraphQLDepth {
		return badGraphQL("it is nested deeper than %d", maxGraphQLDepth)
	}
	for _, s := range set {
		if w.size++; w.size > maxGraphQLFields {
			return badGraphQL("it selects more than %d fields", maxGraphQLFields)
		}
		switch s := s.(type) {
		case *ast.Field:
			w.depth = max(w.depth, depth)
			w.note(s.Directives)
			path := s.Name
			if at != "" {
				path = at + "." + s.Name
			} else {
				w.top[s.Name] = true
			}
			w.paths[path] = true
			if err := w.argumentsOf(path, s.Arguments); err != nil {
				return err
			}
			if err := w.set(s.SelectionSet, path, depth+1); err != nil {
				return err
			}
		case *ast.InlineFragment:
			w.note(s.Directives)
			if err := w.set(s.SelectionSet, at, depth+1); err != nil {
				return err
			}
		case *ast.FragmentSpread:
			w.note(s.Directives)
			f := w.fragments[s.Name]
			if f == nil || slices.Contains(w.open, s.Name) {
				return badGraphQL("the fragment %s is missing or holds itself", clip(s.Name))
			}
			w.note(f.Directives)
			w.open = append(w.open, s.Name)
			if err := w.set(f.SelectionSet, at, depth+1); err != nil {
				return err
			}
			w.open = w.open[:len(w.open)-1]
		}
	}
	return nil
}

func (w *graphWalk) note(list ast.DirectiveList) {
	for _, d := range list {
		w.directives[d.Name] = true
	}
}

// argumentsOf keeps the arguments of the field at path. A field that is
// selected twice with other arguments, by an alias, has a list of them.
func (w *graphWalk) argumentsOf(path string, list ast.ArgumentList) error {
	if len(list) == 0 {
		return nil
	}
	args := map[string]any{}
	for _, a := range list {
		v, err := w.value(a.Value)
		if err != nil {
			return err
		}
		if _, twice := args[a.Name]; twice {
			return badGraphQL("an argument is there twice")
		}
		args[a.Name] = v
	}
	calls, _ := w.arguments[path].([]any)
	w.arguments[path] = append(calls, args)
	return nil
}

// value resolves a value with its variables.
func (w *graphWalk) value(v *ast.Value) (any, error) {
	switch v.Kind {
	case ast.Variable:
		return w.variables[v.Raw], nil
	case ast.IntValue, ast.FloatValue:
		if n, ok := exactNumber(v.Raw); ok {
			return n, nil
		}
		return v.Raw, nil
	case ast.BooleanValue:
		return v.Raw == "true", nil
	case ast.NullValue:
		return nil, nil
	case ast.ListValue:
		list := []any{}
		for _, c := range v.Children {
			item, err := w.value(c.Value)
			if err != nil {
				return nil, err
			}
			list = append(list, item)
		}
		return list, nil
	case ast.ObjectValue:
		object := map[string]any{}
		for _, c := range v.Children {
			item, err := w.value(c.Value)
			if err != nil {
				return nil, err
			}
			if _, twice := object[c.Name]; twice {
				return nil, badGraphQL("an input object has a field twice")
			}
			object[c.Name] = item
		}
		return object, nil
	}
	return v.Raw, nil // strings and enums
}

func sorted(set map[string]bool) []string {
	list := slices.AppendSeq([]string{}, maps.Keys(set))
	slices.Sort(list)
	return list
}
