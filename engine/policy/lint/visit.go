package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// comparison is one place where a path of the input meets a literal.
type comparison struct {
	rule *rule
	path path
	lit  *ast.Term
	how  string // "", "startswith", "endswith", "contains"
	loc  *ast.Location
}

// visitor goes through all that a rule says, nested bodies too, and into the
// helper functions that it calls, with the values that it calls them with.
type visitor struct {
	c         *checker
	root      *rule // whose protocols count
	protocols []input.Protocol
	report    func(comparison)
}

func (v *visitor) rule(r *ast.Rule, e *env, depth int) {
	v.body(r.Body, e, depth)
	for _, t := range []*ast.Term{r.Head.Key, r.Head.Value} {
		if t != nil {
			v.nested(t, e, depth)
		}
	}
}

func (v *visitor) body(body ast.Body, e *env, depth int) {
	for _, expr := range body {
		v.expr(expr, e, depth)
	}
}

func (v *visitor) expr(expr *ast.Expr, e *env, depth int) {
	v.nested(expr, e, depth)
	switch terms := expr.Terms.(type) {
	case *ast.Every:
		inner := newEnv(e)
		if key, ok := terms.Value.Value.(ast.Var); ok {
			inner.set(key, v.c.elements(v.c.eval(terms.Domain, e, depth), depth))
		}
		v.body(terms.Body, v.c.bind(terms.Body, inner, depth), depth)
	case *ast.LogicalAnd:
		v.body(terms.Lhs, v.c.bind(terms.Lhs, newEnv(e), depth), depth)
		v.body(terms.Rhs, v.c.bind(terms.Rhs, newEnv(e), depth), depth)
	case *ast.LogicalOr:
		v.body(terms.Lhs, v.c.bind(terms.Lhs, newEnv(e), depth), depth)
		v.body(terms.Rhs, v.c.bind(terms.Rhs, newEnv(e), depth), depth)
	case []*ast.Term:
		v.call(expr, terms, e, depth)
	}
}

func (v *visitor) call(expr *ast.Expr, terms []*ast.Term, e *env, depth int) {
	c, op, args := v.c, expr.Operator(), terms[1:]
	if op == nil {
		return
	}
	if !isBuiltin(op) {
		v.enter(op, args, e, depth)
		return
	}
	if len(args) < 2 {
		return
	}
	switch name := op.String(); name {
	case "eq", "assign", "equal", "neq":
		if e.binder(expr) == nil {
			v.meet(c.eval(args[0], e, depth), c.eval(args[1], e, depth), expr, "")
		}
	case "internal.member_2":
		v.meet(c.eval(args[0], e, depth), c.elements(c.eval(args[1], e, depth), depth), expr, "")
		v.mixed(c.eval(args[0], e, depth), c.eval(args[1], e, depth), expr, depth)
	case "internal.member_3":
		if len(args) > 2 {
			v.meet(c.eval(args[1], e, depth), c.elements(c.eval(args[2], e, depth), depth), expr, "")
		}
	case "startswith", "endswith", "contains":
		if len(args) == 2 || len(args) == 3 {
			a, b := c.eval(args[0], e, depth), c.eval(args[1], e, depth)
			if a.isPath && b.literals() {
				v.meet(a, b, expr, name)
			}
		}
	}
}

// mixed compares with the literals of a set that holds other things too.
func (v *visitor) mixed(a, coll value, expr *ast.Expr, depth int) {
	if !a.isPath {
		return
	}
	if coll.isSet {
		for _, one := range coll.elems {
			if len(coll.elems) > 1 && one.literals() {
				v.meet(a, one, expr, "")
			}
		}
	}
	for _, t := range coll.terms {
		each := func(x *ast.Term) {
			if one := v.c.eval(x, coll.env, depth+1); one.literals() && !t.IsGround() {
				v.meet(a, one, expr, "")
			}
		}
		switch coll := t.Value.(type) {
		case ast.Set:
			coll.Foreach(each)
		case *ast.Array:
			coll.Foreach(each)
		}
	}
}

// enter follows a call into a helper function.
func (v *visitor) enter(op ast.Ref, args []*ast.Term, e *env, depth int) {
	if depth >= maxDepth/2 {
		return
	}
	rules, _ := v.c.rulesOf(op)
	for _, r := range rules {
		for one := r.ast; one != nil; one = one.Else {
			if len(one.Head.Args) > len(args) {
				continue
			}
			var key strings.Builder
			fmt.Fprintf(&key, "%p %v", one, v.protocols)
			known := false
			for i := range one.Head.Args {
				val := v.c.eval(args[i], e, depth)
				known = known || val.isPath || val.literals()
				fmt.Fprintf(&key, "|%v %v", val.path, val.terms)
			}
			if !known || v.c.memo.seen[key.String()] {
				continue
			}
			if v.c.memo.seen == nil {
				v.c.memo.seen = map[string]bool{}
			}
			v.c.memo.seen[key.String()] = true
			inner := v.c.callEnv(one, args, e, depth)
			for i, a := range one.Head.Args {
				if _, isVar := a.Value.(ast.Var); !isVar {
					v.meetAt(v.c.eval(args[i], e, depth), v.c.eval(a, inner, depth), a.Location, "")
				}
			}
			v.rule(one, inner, depth+1)
		}
	}
}

// nested goes into comprehensions and into refs that are keyed by the input.
func (v *visitor) nested(x any, e *env, depth int) {
	ast.WalkNodes(x, func(n ast.Node) bool {
		t, ok := n.(*ast.Term)
		if !ok {
			_, every := n.(*ast.Every)
			return every
		}
		switch val := t.Value.(type) {
		case *ast.SetComprehension:
			v.closure(val.Body, e, depth, val.Term)
			return true
		case *ast.ArrayComprehension:
			v.closure(val.Body, e, depth, val.Term)
			return true
		case *ast.ObjectComprehension:
			v.closure(val.Body, e, depth, val.Key, val.Value)
			return true
		case ast.Ref:
			v.keyed(t, val, e, depth)
		}
		return false
	})
}

func (v *visitor) closure(body ast.Body, e *env, depth int, heads ...*ast.Term) {
	inner := v.c.bind(body, newEnv(e), depth)
	v.body(body, inner, depth)
	for _, t := range heads {
		v.nested(t, inner, depth)
	}
}

// keyed: a set or an object of literals is asked for what is in the input.
func (v *visitor) keyed(t *ast.Term, ref ast.Ref, e *env, depth int) {
	var coll value
	rest := ref[1:]
	switch {
	case ref[0].Equal(ast.InputRootDocument):
		v.names(ref, t, e, depth)
		return
	case ref[0].Equal(ast.DefaultRootDocument):
		var rules []*rule
		if rules, rest = v.c.rulesOf(ref); len(rules) == 0 || len(rules[0].ast.Head.Args) > 0 {
			return
		}
		coll = v.c.ruleValue(rules, depth)
	default:
		coll = v.c.eval(ref[0], e, depth)
	}
	if len(rest) == 0 {
		return
	}
	key := v.c.eval(rest[0], e, depth)
	if !key.isPath {
		return
	}
	loc := t.Location
	if coll.isSet {
		for _, one := range coll.elems {
			v.meetAt(key, one, loc, "")
		}
	}
	for _, lit := range coll.terms {
		switch x := lit.Value.(type) {
		case ast.Set:
			x.Foreach(func(one *ast.Term) { v.meetAt(key, v.c.eval(one, coll.env, depth), loc, "") })
		case ast.Object:
			x.Foreach(func(k, _ *ast.Term) { v.meetAt(key, v.c.eval(k, coll.env, depth), loc, "") })
		}
	}
}

// names: the keys of an open object of the input are looked at as names are.
func (v *visitor) names(ref ast.Ref, t *ast.Term, e *env, depth int) {
	p := path{}
	for _, k := range ref[1:] {
		key, known := v.c.key(k, e, depth)
		if !known {
			key = anyKey
		} else if shape := namedShape(p); shape != "" {
			v.report(comparison{rule: v.root, path: p, lit: ast.StringTerm(key), loc: k.Location, how: "key"})
		}
		p = append(slices.Clone(p), key)
	}
}

func (v *visitor) meet(a, b value, expr *ast.Expr, how string) { v.meetAt(a, b, expr.Location, how) }

func (v *visitor) meetAt(a, b value, loc *ast.Location, how string) {
	if !a.isPath {
		a, b = b, a
	}
	if !a.isPath {
		return
	}
	for _, lit := range b.terms {
		at := lit.Location
		if at == nil || at.Row == 0 {
			at = loc
		}
		v.report(comparison{rule: v.root, path: a.path, lit: lit, how: how, loc: at})
	}
}
