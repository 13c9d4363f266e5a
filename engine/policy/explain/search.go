package explain

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"

	"github.com/regate-dev/regate/engine/policy"
)

const (
	maxPerPath   = 2    // changes told of one path
	maxConstants = 300  // values that are tried where nothing says which belong to a path
	maxElements  = 100  // of a list, each of which is tried to be left out
	maxConstant  = 2000 // bytes
)

// fixed are what a document is, and not what it says: another stage would be
// another question.
var fixed = []string{"schema", "protocol", "stage", "enforcer", "approvals", "request", "time"}

// candidate is one change to try.
type candidate struct {
	path []*ast.Term
	to   *ast.Term
}

// search tries single changes of the input and notes those that change the
// effect: first of what failing conditions of near rules saw, then of what else
// the policies read.
func (x *explainer) search(ctx context.Context, now *policy.Ruling, near []Rule, out *Explanation) {
	seen := map[string]bool{}
	told := map[string]int{}
	out.Exhausted = true
	for c := range x.candidates(near) {
		name := pathName(c.path)
		key := name + "\x00" + c.to.String()
		if seen[key] || told[name] >= maxPerPath {
			continue
		}
		if out.Tried >= x.MaxTries || len(out.Changes) >= x.MaxChanges || ctx.Err() != nil {
			out.Exhausted = false
			break
		}
		seen[key] = true
		out.Tried++
		r := x.Set.Decide(ctx, x.in, ast.NewTerm(replaced(x.doc, c.path, c.to)))
		if r.Effect == now.Effect || len(r.Errors) > 0 {
			continue // a change that breaks the evaluation explains nothing
		}
		told[name]++
		change := Change{Path: name, From: asJSON(ast.NullTerm()), To: asJSON(c.to), Effect: r.Effect, Reasons: []string{}}
		if was := at(x.doc, c.path); was != nil {
			change.From = asJSON(was)
		}
		for _, reason := range r.Reasons {
			change.Reasons = append(change.Reasons, reason.ID)
		}
		out.Changes = append(out.Changes, change)
	}
	// What would have allowed, or held, tells more than another denial.
	slices.SortStableFunc(out.Changes, func(a, b Change) int { return int(b.Effect) - int(a.Effect) })
}

// candidates yields changes, the likely ones first.
func (x *explainer) candidates(near []Rule) func(yield func(candidate) bool) {
	return func(yield func(candidate) bool) {
		places := x.places(near)
		for _, p := range places { // what the policies compare it with
			for _, to := range x.values(p.path, p.constants) {
				if !yield(candidate{p.path, to}) {
					return
				}
			}
		}
		pool := x.pool()
		for _, p := range places { // and whatever constant there is
			if t := at(x.doc, p.path); t != nil {
				if _, ok := t.Value.(*ast.Array); !ok && len(p.constants) > 0 {
					continue
				}
			}
			for _, to := range x.values(p.path, pool) {
				if !yield(candidate{p.path, to}) {
					return
				}
			}
		}
	}
}

// place is a value of the input that the policies read.
type place struct {
	path      []*ast.Term
	constants []*ast.Term // that they compare it with
	near      bool        // a failing condition of a near rule saw it
}

// places are all such values: those of near rules first.
func (x *explainer) places(near []Rule) []*place {
	var order []*place
	byName := map[string]*place{}
	get := func(path []*ast.Term) *place {
		name := pathName(path)
		p := byName[name]
		if p == nil {
			p = &place{path: path}
			byName[name] = p
			order = append(order, p)
		}
		return p
	}
	for _, m := range x.Set.Compiler().Modules {
		ast.WalkRules(m, func(r *ast.Rule) bool {
			aliases := map[ast.Var][][]*ast.Term{}
			for _, c := range split(r.Body) {
				paths, constants := x.compared(c, aliases)
				for _, path := range paths {
					p := get(path)
					p.constants = append(p.constants, constants...)
				}
			}
			return false
		})
	}
	var mark func(conditions []Condition)
	mark = func(conditions []Condition) {
		for _, c := range conditions {
			for _, v := range c.Values {
				if p := byName[v.Name]; p != nil {
					p.near = true
				}
			}
			mark(c.Inside)
		}
	}
	for _, r := range near[:min(len(near), 4*x.MaxNear)] {
		mark(r.Failing)
	}
	slices.SortFunc(order, func(a, b *place) int {
		if a.near != b.near {
			if a.near {
				return -1
			}
			return 1
		}
		return strings.Compare(pathName(a.path), pathName(b.path))
	})
	for _, p := range order {
		slices.SortFunc(p.constants, func(a, b *ast.Term) int { return a.Value.Compare(b.Value) })
		p.constants = slices.CompactFunc(p.constants, (*ast.Term).Equal)
	}
	return order
}

// compared are the paths of the input and the constants of one condition. A
// variable that stands for a path of the input is followed.
func (x *explainer) compared(c condition, aliases map[ast.Var][][]*ast.Term) (paths [][]*ast.Term, constants []*ast.Term) {
	var vars []ast.Var
	for _, e := range c {
		ast.WalkRefs(e, func(ref ast.Ref) bool {
			if !ref[0].Equal(ast.InputRootDocument) {
				return false
			}
			var path []*ast.Term
			for _, t := range ref[1:] {
				if _, ok := t.Value.(ast.String); !ok {
					break
				}
				path = append(path, t)
			}
			if len(path) == 0 || slices.ContainsFunc(fixed, func(k string) bool { return path[0].Value.Compare(ast.String(k)) == 0 }) {
				return false
			}
			paths = append(paths, path)
			return false
		})
		ast.WalkVars(e, func(v ast.Var) bool {
			vars = append(vars, v)
			return false
		})
		constants = append(constants, constantsOf(e)...)
	}
	for _, v := range vars {
		paths = append(paths, aliases[v]...)
	}
	for _, v := range vars {
		if len(aliases[v]) == 0 && len(paths) < 8 {
			aliases[v] = paths
		}
	}
	return paths, constants
}

// constantsOf are the scalars that an expression is written with, but for the
// keys of references and the names of functions.
func constantsOf(node any) []*ast.Term {
	var out []*ast.Term
	visitor := ast.NewGenericVisitor(func(n any) bool {
		switch v := n.(type) {
		case ast.Ref:
			return true
		case *ast.Term:
			if scalar(v.Value) && len(v.String()) <= maxConstant {
				out = append(out, v)
			}
		}
		return false
	})
	visitor.Walk(node)
	return out
}

// pool are the constants of all policies, and where it is allowed those of their
// data.
func (x *explainer) pool() []*ast.Term {
	var out []*ast.Term
	for _, m := range x.Set.Compiler().Modules {
		ast.WalkRules(m, func(r *ast.Rule) bool {
			for _, e := range r.Body {
				out = append(out, constantsOf(e)...)
			}
			return false
		})
	}
	if x.Data {
		if v, err := x.eval.store.Read(context.Background(), x.eval.txn, storage.RootPath); err == nil {
			if data, err := ast.InterfaceToValue(v); err == nil {
				out = append(out, constantsOf(ast.NewTerm(data))...)
			}
		}
	}
	slices.SortFunc(out, func(a, b *ast.Term) int { return a.Value.Compare(b.Value) })
	out = slices.CompactFunc(out, (*ast.Term).Equal)
	return out[:min(len(out), maxConstants)]
}

// values are what may stand at a path instead: of the same kind as what is there,
// and allowed by the schema where it lists what there may be.
func (x *explainer) values(path []*ast.Term, constants []*ast.Term) []*ast.Term {
	var out []*ast.Term
	add := func(t *ast.Term) { out = append(out, t) }
	var now ast.Value = ast.Null{}
	t := at(x.doc, path)
	if t != nil {
		now = t.Value
	}
	allowed := x.enum(path)
	fits := func(c *ast.Term) bool {
		return len(allowed) == 0 || slices.ContainsFunc(allowed, func(s string) bool { return c.Value.Compare(ast.String(s)) == 0 })
	}
	switch v := now.(type) {
	case ast.Boolean:
		add(ast.BooleanTerm(!bool(v)))
	case ast.String:
		for _, c := range constants {
			if _, ok := c.Value.(ast.String); ok && fits(c) {
				add(c)
			}
		}
		for _, s := range allowed {
			add(ast.StringTerm(s))
		}
	case ast.Number:
		x.numbers(constants, add)
	case *ast.Array:
		for _, c := range constants {
			if _, ok := c.Value.(ast.String); ok && !contains(v, c) {
				add(ast.NewTerm(v.Append(c)))
			}
		}
		for i := range min(v.Len(), maxElements) {
			var rest []*ast.Term
			for j := range v.Len() {
				if j != i {
					rest = append(rest, v.Elem(j))
				}
			}
			add(ast.ArrayTerm(rest...))
		}
		if v.Len() > 1 {
			add(ast.ArrayTerm())
		}
	case ast.Null:
		if t == nil && len(path) > 2 {
			return nil // below something that is not there
		}
		kinds := x.kinds(path)
		if slices.Contains(kinds, "boolean") {
			add(ast.BooleanTerm(true))
			add(ast.BooleanTerm(false))
		}
		if slices.Contains(kinds, "integer") || slices.Contains(kinds, "number") {
			x.numbers(constants, add)
		}
		if slices.Contains(kinds, "string") {
			for _, c := range constants {
				if _, ok := c.Value.(ast.String); ok && fits(c) {
					add(c)
				}
			}
		}
	}
	return slices.DeleteFunc(out, func(c *ast.Term) bool { return c.Value.Compare(now) == 0 })
}

// numbers are the constants and their neighbours.
func (x *explainer) numbers(constants []*ast.Term, add func(*ast.Term)) {
	for _, c := range constants {
		n, ok := c.Value.(ast.Number)
		if !ok {
			continue
		}
		add(c)
		if i, ok := n.Int(); ok {
			add(ast.IntNumberTerm(i - 1))
			add(ast.IntNumberTerm(i + 1))
		}
	}
}

func contains(a *ast.Array, t *ast.Term) bool {
	for i := range a.Len() {
		if a.Elem(i).Equal(t) {
			return true
		}
	}
	return false
}
