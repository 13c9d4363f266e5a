package policy

import (
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// ModulesWithTests returns all modules, tests included, parsed anew, for a
// compiler of the caller's own. The module names are those of Compiler.
func (s *Set) ModulesWithTests() (map[string]*ast.Module, error) {
	out := make(map[string]*ast.Module, len(s.sources)+len(s.tests))
	for _, id := range slices.Sorted(maps.Keys(s.sources)) {
		m, err := ast.ParseModuleWithOpts(id, string(s.sources[id]), ast.ParserOptions{ProcessAnnotation: true, RegoVersion: ast.RegoV1})
		if err != nil { // it was parsed before
			return nil, fmt.Errorf("parse %s: %w", id, err)
		}
		if m != nil {
			out[id] = m
		}
	}
	for id, m := range s.tests {
		out[id] = m.Copy()
	}
	return out, nil
}

// NewTestCompiler is StrictCompiler for modules of which some are tests: it is not
// strict, and has extra built-in functions that a tool adds.
func NewTestCompiler(extra ...*ast.Builtin) (*ast.Compiler, error) {
	c, err := StrictCompiler()
	if err != nil {
		return nil, err
	}
	caps := capabilities()
	caps.Builtins = append(caps.Builtins, extra...)
	return c.WithStrict(false).WithCapabilities(caps), nil
}
