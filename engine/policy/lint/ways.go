package lint

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// op is what a condition asks.
type op int

const (
	opOther   op = iota // not understood; reads says what it looks at
	opIn                // the value is one of lits
	opNotIn             // the value is none of lits, or there is none
	opTruthy            // the value is there and not false
	opFalsy             // the value is false, or there is none
	opCompare           // the value is a number so related to limit
	opNever             // never holds
	opDefined           // the value is there
	opEvery             // holds for every element of the path
)

// cond is one condition of a way.
type cond struct {
	op    op
	path  path
	lits  []*ast.Term
	rel   string // opCompare: gt, gte, lt, lte
	limit float64
	reads reads
	expr  *ast.Expr // of the rule that the way belongs to
}

// way is one conjunction under which a rule holds, with its helpers put in.
type way []cond

// maxWays bounds how many are followed; beyond it one that is not understood
// stands for all.
const maxWays = 48

// maxSteps bounds how many helpers are unfolded for one rule, over all its ways:
// helpers that call two helpers each would be without end.
const maxSteps = 300

// waysOf returns the ways in which a rule holds.
func (c *checker) waysOf(r *ast.Rule) []way {
	if w, ok := c.memo.ways[r]; ok {
		return w
	}
	if c.memo.ways == nil {
		c.memo.ways = map[*ast.Rule][]way{}
	}
	c.memo.ways[r] = []way{{{op: opOther}}}
	c.memo.steps = maxSteps
	w := c.bodyWays(r.Body, c.envOf(r, 0), 0)
	c.memo.ways[r] = w
	return w
}

func (c *checker) bodyWays(body ast.Body, e *env, depth int) []way {
	out := []way{{}}
	for _, expr := range body {
		alternatives := c.exprWays(expr, e, depth)
		if len(alternatives) == 1 && len(alternatives[0]) == 0 {
			continue
		}
		if len(out)*len(alternatives) > maxWays {
			alternatives = []way{{{op: opOther, reads: readsOfWays(alternatives)}}}
		}
		next := make([]way, 0, len(out)*len(alternatives))
		for _, w := range out {
			for _, a := range alternatives {
				joined := make(way, 0, len(w)+len(a))
				joined = append(joined, w...)
				for _, one := range a {
					one.expr = expr
					joined = append(joined, one)
				}
				next = append(next, joined)
			}
		}
		out = next
	}
	return out
}

func readsOfWays(ways []way) reads {
	var out reads
	seen := map[string]bool{}
	for _, w := range ways {
		for _, p := range w.reads() {
			if !seen[p.key()] {
				seen[p.key()] = true
				out = append(out, p)
			}
		}
	}
	return out
}

func (w way) reads() reads {
	var out reads
	for _, c := range w {
		out = append(out, c.reads...)
		if c.path != nil {
			out = append(out, c.path)
		}
	}
	return out
}

func single(conds ...cond) []way { return []way{conds} }

// exprWays returns the alternatives of one expression.
func (c *checker) exprWays(expr *ast.Expr, e *env, depth int) []way {
	other := func() []way { return single(cond{op: opOther, reads: c.readsOf(expr, e)}) }
	if len(expr.With) > 0 || depth > maxDepth {
		return other()
	}
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		return c.termWays(expr, terms, e, depth, other)
	case []*ast.Term:
		return c.callWays(expr, terms, e, depth, other)
	case *ast.Every:
		conds := []cond{{op: opOther, reads: c.readsOf(terms.Body, e)}}
		if domain := c.eval(terms.Domain, e, depth); domain.isPath {
			conds = append(conds, cond{op: opEvery, path: domain.path})
		} else {
			conds[0].reads = append(conds[0].reads, domain.reads...)
		}
		return single(conds...)
	case *ast.LogicalAnd:
		if expr.Negated {
			return other()
		}
		return c.bodyWays(append(append(ast.Body{}, terms.Lhs...), terms.Rhs...), c.bind(terms.Rhs, c.bind(terms.Lhs, newEnv(e), depth), depth), depth+1)
	case *ast.LogicalOr:
		if expr.Negated {
			return other()
		}
		return append(c.bodyWays(terms.Lhs, c.bind(terms.Lhs, newEnv(e), depth), depth+1),
			c.bodyWays(terms.Rhs, c.bind(terms.Rhs, newEnv(e), depth), depth+1)...)
	}
	return other()
}

// termWays: a bare term holds when it is defined and not false.
func (c *checker) termWays(expr *ast.Expr, t *ast.Term, e *env, depth int, other func() []way) []way {
	if b, ok := t.Value.(ast.Boolean); ok {
		if bool(b) == expr.Negated {
			return single(cond{op: opNever})
		}
		return []way{{}}
	}
	if ref, ok := t.Value.(ast.Ref); ok && ref[0].Equal(ast.DefaultRootDocument) {
		rules, rest := c.rulesOf(ref)
		if expr.Negated || len(rules) == 0 || len(rest) > 0 {
			return other()
		}
		return c.ruleWays(rules, nil, e, depth)
	}
	val := c.eval(t, e, depth)
	switch {
	case val.isPath && expr.Negated:
		return single(cond{op: opFalsy, path: val.path})
	case val.isPath:
		return single(cond{op: opTruthy, path: val.path})
	}
	return other()
}

// ruleWays are the ways in which any of a helper's rules holds.
func (c *checker) ruleWays(rules []*rule, args []*ast.Term, e *env, depth int) []way {
	var out []way
	if c.memo.steps--; c.memo.steps < 0 {
		return single(cond{op: opOther, reads: c.callReads(rules, args, e)})
	}
	for _, r := range rules {
		refused := false // an earlier branch gives false
		for one := r.ast; one != nil; one = one.Else {
			isFalse := one.Head.Value != nil && one.Head.Value.Equal(ast.BooleanTerm(false))
			if one.Default && isFalse {
				continue // what it gives when nothing else holds is no way to hold
			}
			if one.Default || one.Head.RuleKind() == ast.MultiValue {
				return single(cond{op: opOther, reads: c.callReads(rules, args, e)})
			}
			if isFalse {
				refused = true
				continue
			}
			var extra []cond
			if refused {
				extra = append(extra, cond{op: opOther, reads: c.ruleReads(r.ast)})
			}
			if v := one.Head.Value.Value; !ast.IsScalar(v) {
				extra = append(extra, cond{op: opOther, reads: c.ruleReads(r.ast)})
			}
			inner := c.envOf(one, depth)
			if args != nil {
				inner = c.callEnv(one, args, e, depth)
				for i, a := range one.Head.Args {
					if _, isVar := a.Value.(ast.Var); !isVar && i < len(args) {
						extra = append(extra, c.equal(c.eval(args[i], e, depth), c.eval(a, inner, depth), nil)...)
					}
				}
			}
			for _, w := range c.bodyWays(one.Body, inner, depth+1) {
				out = append(out, append(append(way{}, w...), extra...))
			}
			if len(out) > maxWays {
				return single(cond{op: opOther, reads: readsOfWays(out)})
			}
		}
	}
	if out == nil {
		return single(cond{op: opNever})
	}
	return out
}

// helperIs returns the rules of `helper == true`.
func (c *checker) helperIs(args []*ast.Term) []*rule {
	for i, a := range args {
		ref, ok := a.Value.(ast.Ref)
		if !ok || !args[1-i].Equal(ast.BooleanTerm(true)) {
			continue
		}
		if rules, rest := c.rulesOf(ref); len(rules) > 0 && len(rest) == 0 {
			return rules
		}
	}
	return nil
}

// callReads are the paths that a call depends on.
func (c *checker) callReads(rules []*rule, args []*ast.Term, e *env) reads {
	var out reads
	for _, a := range args {
		out = append(out, c.readsOf(a, e)...)
	}
	for _, r := range rules {
		out = append(out, c.ruleReads(r.ast)...)
	}
	return out
}

// callWays: an equality, a comparison, a membership, a call of a helper.
func (c *checker) callWays(expr *ast.Expr, terms []*ast.Term, e *env, depth int, other func() []way) []way {
	op := expr.Operator()
	args := terms[1:]
	if !isBuiltin(op) {
		rules, _ := c.rulesOf(op)
		if expr.Negated || len(rules) == 0 || len(rules[0].ast.Head.Args) != len(args) {
			return other()
		}
		return c.ruleWays(rules, args, e, depth)
	}
	name := op.String()
	switch {
	case (expr.IsEquality() || expr.IsAssignment() || name == "equal") && len(args) == 2:
		if from := e.binder(expr); from != nil {
			return c.definedWays(from, e, depth)
		}
		if rules := c.helperIs(args); rules != nil && !expr.Negated {
			return c.ruleWays(rules, nil, e, depth)
		}
		conds := c.equal(c.eval(args[0], e, depth), c.eval(args[1], e, depth), other)
		return single(negate(conds, expr.Negated, len(conds) == 1 && len(conds[0].lits) == 1, other)...)
	case name == "neq" && len(args) == 2:
		a, b := c.eval(args[0], e, depth), c.eval(args[1], e, depth)
		if !b.isPath {
			a, b = b, a
		}
		if b.isPath && len(a.terms) == 1 && !expr.Negated { // one of several may differ
			return single(cond{op: opNotIn, path: b.path, lits: a.terms})
		}
	case name == "internal.member_2" && len(args) == 2:
		coll := c.eval(args[1], e, depth)
		conds := c.equal(c.eval(args[0], e, depth), c.elements(coll, depth), other)
		return single(negate(conds, expr.Negated, len(coll.terms) == 1 && coll.terms[0].IsGround(), other)...)
	case (name == "gt" || name == "gte" || name == "lt" || name == "lte") && len(args) == 2 && !expr.Negated:
		a, b := c.eval(args[0], e, depth), c.eval(args[1], e, depth)
		rel := name
		if b.isPath {
			a, b = b, a
			rel = map[string]string{"gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte"}[name]
		}
		if a.isPath && len(b.terms) == 1 {
			if n, ok := b.terms[0].Value.(ast.Number); ok {
				if f, ok := n.Float64(); ok {
					return single(cond{op: opCompare, path: a.path, rel: rel, limit: f})
				}
			}
		}
	}
	return other()
}

// definedWays: something is bound to a term, so the term must be there.
func (c *checker) definedWays(t *ast.Term, e *env, depth int) []way {
	if ref, ok := t.Value.(ast.Ref); ok && ref[0].Equal(ast.DefaultRootDocument) {
		return single(cond{op: opOther, reads: c.readsOf(t, e)})
	}
	val := c.eval(t, e, depth)
	if val.isPath {
		return single(cond{op: opDefined, path: val.path})
	}
	if val.literals() {
		return []way{{}}
	}
	return single(cond{op: opOther, reads: c.readsOf(t, e)})
}

// equal is the condition that two values are one.
func (c *checker) equal(a, b value, other func() []way) []cond {
	if !a.isPath {
		a, b = b, a
	}
	switch {
	case a.isPath && b.literals() && allScalar(b.terms):
		conds := []cond{{op: opIn, path: a.path, lits: b.terms}}
		if b.loose {
			conds = append(conds, cond{op: opOther, reads: b.reads})
		}
		return conds
	case a.literals() && b.literals() && allScalar(a.terms) && allScalar(b.terms):
		for _, x := range a.terms {
			for _, y := range b.terms {
				if x.Equal(y) {
					if len(a.terms) == 1 && len(b.terms) == 1 {
						return nil
					}
					if other != nil {
						return other()[0]
					}
					return []cond{{op: opOther, reads: append(slices.Clone(a.reads), b.reads...)}}
				}
			}
		}
		return []cond{{op: opNever}}
	}
	if other != nil {
		return other()[0]
	}
	var r reads
	for _, v := range []value{a, b} {
		if v.isPath {
			r = append(r, v.path)
		}
		r = append(r, v.reads...)
	}
	return []cond{{op: opOther, reads: r}}
}

func allScalar(terms []*ast.Term) bool {
	for _, t := range terms {
		if !ast.IsScalar(t.Value) {
			return false
		}
	}
	return true
}

// negate turns a condition around where that can be said: where it is known to
// be about all of its literals, and not about one that some variable picks.
func negate(conds []cond, negated, all bool, other func() []way) []cond {
	if !negated {
		return conds
	}
	if all && len(conds) == 1 && conds[0].op == opIn {
		conds[0].op = opNotIn
		return conds
	}
	return other()[0]
}
