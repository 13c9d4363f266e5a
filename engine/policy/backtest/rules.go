package backtest

import (
	"cmp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/policy"
)

// entryNames are the rules that a policy package speaks through.
var entryNames = []string{"allow", "deny", "require_approval", "mask", "limit", "record", "label"}

// rule is one rule of an enforced package that says something: other rules are
// helpers.
type rule struct {
	id      string // as its element says; the rule's path where that is not constant
	entry   string
	pkg     policy.PackageInfo
	file    string
	line    int
	who     bool // it reads who asks, itself or by what it uses
	pointer *ast.Rule
}

// rulesOf finds the rules of a Set, in the order of their places.
func rulesOf(set *policy.Set) []rule {
	var out []rule
	compiler := set.Compiler()
	for _, info := range set.Packages() {
		if info.Mode != "enforce" {
			continue
		}
		for _, m := range compiler.Modules {
			if m.Package.Path.String() != info.Path {
				continue
			}
			for _, r := range m.Rules {
				ref := r.Head.Ref()
				if len(ref) == 0 {
					continue
				}
				entry := strings.Trim(ref[0].String(), `"`)
				if !slices.Contains(entryNames, entry) || r.Default {
					continue
				}
				one := rule{id: constantID(r), entry: entry, pkg: info, who: readsIdentity(compiler, r), pointer: r}
				if one.id == "" {
					one.id = strings.TrimPrefix(info.Path, "data.") + "." + entry
				}
				if r.Location != nil {
					one.file, one.line = r.Location.File, r.Location.Row
				}
				out = append(out, one)
			}
		}
	}
	slices.SortFunc(out, func(a, b rule) int {
		return cmp.Or(strings.Compare(a.pkg.Name, b.pkg.Name), strings.Compare(a.file, b.file), cmp.Compare(a.line, b.line), strings.Compare(a.id, b.id))
	})
	return out
}

// constantID is the id in a rule's element, "" where it is made up.
func constantID(r *ast.Rule) string {
	if r.Head.Key == nil {
		return ""
	}
	idOf := func(v ast.Value) string {
		obj, ok := v.(ast.Object)
		if !ok {
			return ""
		}
		if t := obj.Get(ast.StringTerm("id")); t != nil {
			if s, ok := t.Value.(ast.String); ok {
				return string(s)
			}
		}
		return ""
	}
	if id := idOf(r.Head.Key.Value); id != "" {
		return id
	}
	// The compiler moves an element that is not constant into the body.
	id := ""
	ast.WalkExprs(r.Body, func(e *ast.Expr) bool {
		if !e.IsEquality() || len(e.Operands()) != 2 {
			return false
		}
		a, b := e.Operand(0), e.Operand(1)
		if a.Equal(r.Head.Key) {
			id = idOf(b.Value)
		} else if b.Equal(r.Head.Key) {
			id = idOf(a.Value)
		}
		return id != ""
	})
	return id
}

// readsIdentity reports whether a rule, or anything that it uses, reads who
// asks.
func readsIdentity(compiler *ast.Compiler, from *ast.Rule) bool {
	seen := map[*ast.Rule]bool{}
	var visit func(r *ast.Rule) bool
	visit = func(r *ast.Rule) bool {
		if seen[r] {
			return false
		}
		seen[r] = true
		found := false
		ast.WalkRefs(r, func(ref ast.Ref) bool {
			if len(ref) > 1 && ref[0].Equal(ast.InputRootDocument) {
				key, ok := ref[1].Value.(ast.String)
				found = found || !ok || key == "subject" || key == "actor"
			}
			return found
		})
		if found {
			return true
		}
		for dep := range compiler.Graph.Dependencies(r) {
			if next, ok := dep.(*ast.Rule); ok && visit(next) {
				return true
			}
		}
		return r.Else != nil && visit(r.Else)
	}
	return visit(from)
}

// hitTracer notes which rules hold in one evaluation.
type hitTracer struct {
	numbers map[*ast.Rule]int32
	hit     map[int32]bool
}

// Enabled implements topdown.QueryTracer.
func (t *hitTracer) Enabled() bool { return true }

// Config implements topdown.QueryTracer.
func (t *hitTracer) Config() topdown.TraceConfig { return topdown.TraceConfig{} }

// TraceEvent implements topdown.QueryTracer.
func (t *hitTracer) TraceEvent(e topdown.Event) {
	if e.Op != topdown.ExitOp {
		return
	}
	if r, ok := e.Node.(*ast.Rule); ok {
		if n, ok := t.numbers[r]; ok {
			t.hit[n] = true
		}
	}
}

func (t *hitTracer) list() []int32 {
	out := make([]int32, 0, len(t.hit))
	for n := range t.hit {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
