package lint

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// checkQuantifiers finds "some" where "every" was meant, and "every" that holds
// for nothing at all.
func (c *checker) checkQuantifiers() {
	for _, r := range c.rules {
		if r.entry == "allow" && !r.ast.Default {
			c.oneIsEnough(r)
		}
		if r.uses&(grants|restricts) == 0 {
			continue
		}
		for one := r.ast; one != nil; one = one.Else {
			e := c.envOf(one, 0)
			for _, expr := range one.Body {
				c.someNotEqual(r, one, expr, e)
				if every, ok := expr.Terms.(*ast.Every); ok && !expr.Negated && r.uses&grants != 0 {
					c.everyOfNone(r, expr, every, e)
				}
			}
		}
	}
}

// plurals are the lists of which a request has as many as it likes: one of them
// being harmless says nothing of the others.
var plurals = []path{{"resource"}, {"action", "verbs"}, {"response", "fields"}, {"sql", "statement"}}

func (c *checker) oneIsEnough(r *rule) {
	for _, w := range c.waysOf(r.ast) {
		if c.contradiction(r, w) != nil {
			continue
		}
		for _, one := range w {
			if one.op != opIn || !one.path.plural() || one.path[len(one.path)-1] != anyKey ||
				!slices.ContainsFunc(plurals, func(p path) bool { return one.path.under(p...) }) {
				continue
			}
			list := one.path[:len(one.path)-1]
			if list.plural() || boundedElsewhere(w, one, list) {
				continue
			}
			var loc *ast.Location
			if one.expr != nil {
				loc = one.expr.Location
			}
			c.at(idOneIsEnough, r, loc, "every x in "+list.String()+" { x in {"+termList(one.lits)+"} }",
				"one element of %s is enough for this allow: the others may be anything", list)
		}
	}
}

// boundedElsewhere reports whether another condition looks at the whole list,
// or at what says the same.
func boundedElsewhere(w way, but cond, list path) bool {
	for _, one := range w {
		if one.op == but.op && one.path.key() == but.path.key() && one.expr == but.expr {
			continue
		}
		if one.op == opEvery && slices.Equal(one.path, list) || one.op == opOther && one.reads.any(list...) {
			return true
		}
		if list.is("action", "verbs") && (one.path.is("action", "verb") || one.path.is("action", "writes")) {
			return true
		}
		if list.under("resource") && (one.op == opEvery || one.op == opOther) && (one.path.under("resource") || one.reads.any("resource")) {
			return true
		}
	}
	return false
}

// someNotEqual: `list[_] != x` holds as soon as some element is another.
func (c *checker) someNotEqual(r *rule, one *ast.Rule, expr *ast.Expr, e *env) {
	terms, ok := expr.Terms.([]*ast.Term)
	if !ok || expr.Negated || len(terms) != 3 || expr.Operator().String() != "neq" {
		return
	}
	a, b := terms[1], terms[2]
	if !c.eval(a, e, 0).isPath {
		a, b = b, a
	}
	val := c.eval(a, e, 0)
	if !val.isPath || len(val.path) == 0 || val.path[len(val.path)-1] != anyKey || !c.eval(b, e, 0).literals() {
		return
	}
	v, ok := a.Value.(ast.Var)
	if !ok || uses2(one, v) > 2 {
		return // the element is looked at in other ways, too
	}
	list := val.path[:len(val.path)-1]
	c.at(idSomeNotEqual, r, expr.Location, "not "+b.String()+" in "+list.String(), "this holds as soon as one element of %s is another than %s", list, b)
}

// uses2 counts how often a rule names a variable: where it is bound, and where
// it is looked at.
func uses2(r *ast.Rule, v ast.Var) int {
	n := 0
	count := func(x any) {
		ast.WalkVars(x, func(other ast.Var) bool {
			if other == v {
				n++
			}
			return false
		})
	}
	count(r.Body)
	for _, t := range []*ast.Term{r.Head.Key, r.Head.Value} {
		if t != nil {
			count(t)
		}
	}
	return n
}

func (c *checker) everyOfNone(r *rule, expr *ast.Expr, every *ast.Every, e *env) {
	domain := c.eval(every.Domain, e, 0)
	if !domain.isPath || domain.path.plural() {
		return
	}
	// Somebody counts it, or asks for one of it.
	for _, other := range r.pkg.rules {
		env := c.envOf(other.ast, 0)
		for _, x := range other.ast.Body {
			terms, ok := x.Terms.([]*ast.Term)
			if !ok || x == expr {
				continue
			}
			name := x.Operator().String()
			for _, t := range terms[1:] {
				val := c.eval(t, env, 0)
				if val.isPath && (name == "count" && val.path.key() == domain.path.key() ||
					(name == "neq" || name == "internal.member_2") && val.path.key() == domain.path.key()) {
					return
				}
			}
		}
	}
	c.at(idEveryNone, r, expr.Location, "count("+domain.path.String()+") > 0", "this also holds when %s is empty", domain.path)
}
