package policy

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// deepReads computes, for tools, the whole paths of the input that packages
// read. readSet, which the cache needs, stops at two keys.
type deepReads struct {
	own map[*ast.Rule][][]string
}

func newDeepReads(compiler *ast.Compiler) *deepReads {
	d := &deepReads{own: map[*ast.Rule][][]string{}}
	for _, m := range compiler.Modules {
		ast.WalkRules(m, func(r *ast.Rule) bool {
			d.own[r] = deepOwn(r)
			return false
		})
	}
	return d
}

// deepOwn collects the paths of one rule. A path ends where the value goes on
// as a whole: into a variable, a call or a comparison.
func deepOwn(r *ast.Rule) [][]string {
	var out [][]string
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Var:
			if x == ast.InputRootDocument.Value {
				out = append(out, []string{})
			}
		case ast.Ref:
			if len(x) == 0 || !x[0].Equal(ast.InputRootDocument) {
				return false
			}
			path := make([]string, 0, len(x)-1)
			for _, t := range x[1:] {
				key := "*"
				if s, ok := t.Value.(ast.String); ok {
					key = string(s)
				}
				path = append(path, key)
				visitor.Walk(t) // a key may be a ref itself
			}
			out = append(out, path)
			return true
		}
		return false
	})
	visitor.Walk(r)
	return out
}

func (d *deepReads) of(compiler *ast.Compiler, p *pkg) [][]string {
	var out [][]string
	eachRuleOf(compiler, p, func(r *ast.Rule) { out = append(out, d.own[r]...) })
	slices.SortFunc(out, slices.Compare[[]string])
	out = slices.CompactFunc(out, slices.Equal[[]string])
	// Where a path and something below it are read, the path says it all.
	all := slices.Clone(out)
	return slices.DeleteFunc(out, func(path []string) bool {
		return slices.ContainsFunc(all, func(o []string) bool {
			return len(o) < len(path) && slices.Equal(o, path[:len(o)])
		})
	})
}
