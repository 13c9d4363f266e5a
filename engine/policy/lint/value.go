package lint

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// value is what a term can be, as far as it is known: a path of the input, or
// one of some terms. The zero value is unknown.
type value struct {
	path   path
	isPath bool
	terms  []*ast.Term // one of these; each ground but for what env binds
	elems  []value     // a partial set: each of these is an element
	isSet  bool
	loose  bool  // it may be undefined, or have fewer elements: it is from a rule with conditions
	env    *env  // of terms
	reads  reads // paths of the input that an unknown value depends on
}

func (v value) literals() bool { return len(v.terms) > 0 }

// env binds the variables of one body. The compiler has made them unique within
// a rule.
type env struct {
	parent *env
	vars   map[ast.Var]value
	binds  map[*ast.Expr]*ast.Term // expressions that gave a variable its value, and from what
}

// binder returns the term whose value an expression gives to a variable, nil
// where the expression is a test.
func (e *env) binder(expr *ast.Expr) *ast.Term {
	for ; e != nil; e = e.parent {
		if t := e.binds[expr]; t != nil {
			return t
		}
	}
	return nil
}

func (e *env) get(v ast.Var) (value, bool) {
	for ; e != nil; e = e.parent {
		if val, ok := e.vars[v]; ok {
			return val, true
		}
	}
	return value{}, false
}

func (e *env) set(v ast.Var, val value) { e.vars[v] = val }

func newEnv(parent *env) *env {
	return &env{parent: parent, vars: map[ast.Var]value{}, binds: map[*ast.Expr]*ast.Term{}}
}

// memo keeps what was computed of rules.
type memo struct {
	rules  map[string][]*rule
	envs   map[*ast.Rule]*env
	reads  map[*ast.Rule]reads
	ways   map[*ast.Rule][]way
	values map[string]value // by the rule's path
	busy   map[string]bool
	seen   map[string]bool // of visit
	steps  int             // of ways that are left for the rule in hand
	index  map[string]map[*ast.Rule]bool
}

// maxDepth bounds how deep helpers are followed, and terms are evaluated.
const maxDepth = 12

// eval says what a term can be.
func (c *checker) eval(t *ast.Term, e *env, depth int) value {
	if depth > maxDepth {
		return value{}
	}
	switch v := t.Value.(type) {
	case ast.Var:
		if v == ast.InputRootDocument.Value {
			return value{isPath: true}
		}
		val, _ := e.get(v)
		return val
	case ast.Ref:
		return c.evalRef(v, e, depth)
	case ast.String, ast.Number, ast.Boolean, ast.Null:
		return value{terms: []*ast.Term{t}, env: e}
	case *ast.Array, ast.Set, ast.Object:
		return value{terms: []*ast.Term{t}, env: e}
	case *ast.SetComprehension, *ast.ArrayComprehension:
		return value{terms: []*ast.Term{t}, env: e, reads: c.readsOf(t, e)}
	}
	return value{reads: c.readsOf(t, e)}
}

func (c *checker) evalRef(ref ast.Ref, e *env, depth int) value {
	if ref[0].Equal(ast.InputRootDocument) {
		return c.index(value{isPath: true}, ref[1:], e, depth)
	}
	if ref[0].Equal(ast.DefaultRootDocument) {
		rules, rest := c.rulesOf(ref)
		if len(rules) == 0 {
			return value{reads: c.readsOf(ast.NewTerm(ref), e)}
		}
		val := c.ruleValue(rules, depth)
		if len(rest) == 0 {
			return val
		}
		out := c.index(val, rest, e, depth)
		if !out.isPath && !out.literals() {
			out.reads = c.readsOf(ast.NewTerm(ref), e)
		}
		return out
	}
	if v, ok := ref[0].Value.(ast.Var); ok {
		if val, ok := e.get(v); ok {
			return c.index(val, ref[1:], e, depth)
		}
	}
	return value{reads: c.readsOf(ast.NewTerm(ref), e)}
}

// index goes into a value by the rest of a ref.
func (c *checker) index(val value, rest ast.Ref, e *env, depth int) value {
	for _, t := range rest {
		key, known := c.key(t, e, depth)
		switch {
		case val.isPath && known:
			val = value{isPath: true, path: val.path.with(key)}
		case val.isPath:
			val = value{isPath: true, path: val.path.with(anyKey)}
		case val.isSet:
			val = c.elements(val, depth)
		case val.literals():
			next := value{env: val.env, reads: val.reads, loose: val.loose}
			for _, lit := range val.terms {
				found := false
				if obj, ok := lit.Value.(ast.Object); ok && known {
					if at := obj.Get(ast.StringTerm(key)); at != nil {
						next.terms = append(next.terms, at)
						found = true
					}
				}
				if !found {
					next = c.elements(val, depth)
					break
				}
			}
			val = next
		default:
			return value{reads: val.reads}
		}
	}
	return val
}

// key returns the one string that a key of a ref is.
func (c *checker) key(t *ast.Term, e *env, depth int) (string, bool) {
	switch v := t.Value.(type) {
	case ast.String:
		return string(v), true
	case ast.Var, ast.Ref:
		if val := c.eval(t, e, depth+1); len(val.terms) == 1 {
			if s, ok := val.terms[0].Value.(ast.String); ok {
				return string(s), true
			}
		}
	}
	return "", false
}

// elements says what an element of a collection can be.
func (c *checker) elements(val value, depth int) value {
	switch {
	case depth > maxDepth:
		return value{}
	case val.isPath:
		return value{isPath: true, path: val.path.with(anyKey)}
	case val.isSet:
		out := c.join(val.elems)
		out.loose = out.loose || val.loose
		return out
	}
	var parts []value
	for _, t := range val.terms {
		switch v := t.Value.(type) {
		case *ast.Array:
			v.Foreach(func(x *ast.Term) { parts = append(parts, c.eval(x, val.env, depth+1)) })
		case ast.Set:
			v.Foreach(func(x *ast.Term) { parts = append(parts, c.eval(x, val.env, depth+1)) })
		case ast.Object:
			v.Foreach(func(_, x *ast.Term) { parts = append(parts, c.eval(x, val.env, depth+1)) })
		case *ast.SetComprehension:
			parts = append(parts, c.eval(v.Term, c.bind(v.Body, newEnv(val.env), depth+1), depth+1))
		case *ast.ArrayComprehension:
			parts = append(parts, c.eval(v.Term, c.bind(v.Body, newEnv(val.env), depth+1), depth+1))
		default:
			return value{reads: val.reads}
		}
	}
	out := c.join(parts)
	out.loose = out.loose || val.loose
	return out
}

// join is one of several values. It is unknown if any is, or where paths and
// literals mix.
func (c *checker) join(parts []value) value {
	if len(parts) == 1 {
		return parts[0]
	}
	out := value{}
	known := len(parts) > 0
	for _, p := range parts {
		out.reads = append(out.reads, p.reads...)
		out.loose = out.loose || p.loose
		if p.isPath {
			out.reads = append(out.reads, p.path)
		}
		known = known && p.literals()
		out.terms = append(out.terms, p.terms...)
		out.env = p.env
	}
	if !known {
		// The literals among them are still literals for whoever compares them.
		return value{reads: out.reads}
	}
	return out
}

// ruleValue says what a rule's value can be.
func (c *checker) ruleValue(rules []*rule, depth int) value {
	key := rules[0].ast.Ref().String()
	if val, ok := c.memo.values[key]; ok {
		return val
	}
	if c.memo.values == nil {
		c.memo.values, c.memo.busy = map[string]value{}, map[string]bool{}
	}
	if c.memo.busy[key] || depth > maxDepth {
		return value{}
	}
	c.memo.busy[key] = true
	val := c.newRuleValue(rules, depth)
	delete(c.memo.busy, key)
	c.memo.values[key] = val
	return val
}

func (c *checker) newRuleValue(rules []*rule, depth int) value {
	var parts []value
	set, loose := false, false
	var all reads
	for _, r := range rules {
		if len(r.ast.Head.Args) > 0 {
			return value{}
		}
		all = append(all, c.ruleReads(r.ast)...)
		for one := r.ast; one != nil; one = one.Else {
			e := c.envOf(one, depth)
			loose = loose || !always(one)
			switch {
			case one.Head.RuleKind() == ast.MultiValue:
				set = true
				parts = append(parts, c.eval(one.Head.Key, e, depth+1))
			case one.Head.Value != nil:
				parts = append(parts, c.eval(one.Head.Value, e, depth+1))
			}
		}
	}
	if set {
		return value{isSet: true, elems: parts, reads: all, loose: loose}
	}
	val := c.join(parts)
	val.loose = val.loose || loose
	if !val.isPath && !val.literals() {
		val.reads = all
	}
	return val
}

// envOf binds the variables of a rule that is not called with arguments.
func (c *checker) envOf(r *ast.Rule, depth int) *env {
	if e, ok := c.memo.envs[r]; ok {
		return e
	}
	if c.memo.envs == nil {
		c.memo.envs = map[*ast.Rule]*env{}
	}
	e := newEnv(nil)
	c.memo.envs[r] = e // a rule that leads back to itself finds what is bound so far
	c.bind(r.Body, e, depth)
	return e
}

// bind binds what the expressions of a body give a value.
func (c *checker) bind(body ast.Body, e *env, depth int) *env {
	for _, expr := range body {
		if expr.Negated || len(expr.With) > 0 {
			continue
		}
		terms, ok := expr.Terms.([]*ast.Term)
		if !ok {
			continue
		}
		op := expr.Operator()
		if expr.IsEquality() || expr.IsAssignment() {
			a, b := terms[1], terms[2]
			if v, ok := free(a, e); ok {
				e.set(v, c.eval(b, e, depth+1))
				e.binds[expr] = b
			} else if v, ok := free(b, e); ok {
				e.set(v, c.eval(a, e, depth+1))
				e.binds[expr] = a
			}
			continue
		}
		// The last operand of a call may take its result.
		last := terms[len(terms)-1]
		if v, ok := free(last, e); ok && len(terms) > 1 {
			e.set(v, c.callValue(op, terms[1:len(terms)-1], e, depth+1))
		}
	}
	return e
}

// free returns the variable that a term is, if nothing is known of it yet.
func free(t *ast.Term, e *env) (ast.Var, bool) {
	v, ok := t.Value.(ast.Var)
	if !ok || v == ast.InputRootDocument.Value || v == ast.DefaultRootDocument.Value {
		return "", false
	}
	_, known := e.get(v)
	return v, !known
}

// callValue says what a call gives.
func (c *checker) callValue(op ast.Ref, args []*ast.Term, e *env, depth int) value {
	out := value{}
	for _, a := range args {
		out.reads = append(out.reads, c.readsOf(a, e)...)
	}
	if depth > maxDepth || op == nil || isBuiltin(op) {
		return out
	}
	rules, _ := c.rulesOf(op)
	for _, r := range rules {
		out.reads = append(out.reads, c.ruleReads(r.ast)...)
	}
	if len(rules) == 1 && rules[0].ast.Else == nil && len(rules[0].ast.Head.Args) == len(args) && rules[0].ast.Head.Value != nil {
		r := rules[0].ast
		val := c.eval(r.Head.Value, c.callEnv(r, args, e, depth+1), depth+1)
		if val.isPath || val.literals() {
			return val
		}
	}
	return out
}

// callEnv binds a function's arguments and body.
func (c *checker) callEnv(r *ast.Rule, args []*ast.Term, e *env, depth int) *env {
	inner := newEnv(nil)
	for i, a := range r.Head.Args {
		if v, ok := a.Value.(ast.Var); ok && i < len(args) {
			val := c.eval(args[i], e, depth+1)
			if !val.isPath && !val.literals() && val.reads == nil {
				val.reads = c.readsOf(args[i], e)
			}
			inner.set(v, val)
		}
	}
	return c.bind(r.Body, inner, depth+1)
}

// reads are paths of the input that something depends on.
type reads []path

// any reports whether one of them is at or below prefix, or above it.
func (r reads) any(prefix ...string) bool {
	return slices.ContainsFunc(r, func(p path) bool {
		if len(p) < len(prefix) {
			return path(prefix).under(p...)
		}
		return p.under(prefix...)
	})
}

// readsOf collects the paths that a term or an expression reads, through
// variables and rules.
func (c *checker) readsOf(x any, e *env) reads {
	var out reads
	add := func(v value) {
		if v.isPath {
			out = append(out, v.path)
		}
		out = append(out, v.reads...)
	}
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Var:
			if x == ast.InputRootDocument.Value {
				out = append(out, path{})
			} else if v, ok := e.get(x); ok {
				add(v)
			}
		case ast.Ref:
			switch {
			case x[0].Equal(ast.InputRootDocument):
				p := path{}
				for _, t := range x[1:] {
					key, known := c.key(t, e, maxDepth)
					if !known {
						key = anyKey
					}
					p = append(p, key)
				}
				out = append(out, p)
			case x[0].Equal(ast.DefaultRootDocument):
				rules, _ := c.rulesOf(x)
				for _, r := range rules {
					out = append(out, c.ruleReads(r.ast)...)
				}
			default:
				return false
			}
			for _, t := range x[1:] {
				visitor.Walk(t)
			}
			return true
		}
		return false
	})
	visitor.Walk(x)
	return out
}

// ruleReads are the paths that a rule reads, with all that it leads to.
func (c *checker) ruleReads(r *ast.Rule) reads {
	if found, ok := c.memo.reads[r]; ok {
		return found
	}
	if c.memo.reads == nil {
		c.memo.reads = map[*ast.Rule]reads{}
	}
	c.memo.reads[r] = nil // recursion is refused by the compiler; ref heads may still meet
	seen := map[string]bool{}
	var out reads
	for one := r; one != nil; one = one.Else {
		for _, p := range c.readsOf(&ast.Rule{Head: one.Head, Body: one.Body}, nil) {
			if !seen[p.key()] {
				seen[p.key()] = true
				out = append(out, p)
			}
		}
	}
	c.memo.reads[r] = out
	return out
}
