package lint

import (
	"github.com/open-policy-agent/opa/v1/ast"
)

// checkUndefined finds conditions that turn the wrong way when something is
// null or not there.
func (c *checker) checkUndefined() {
	guards := map[*pkg]map[string]bool{} // paths of which a package asks whether they are there
	for _, r := range c.rules {
		if guards[r.pkg] == nil {
			guards[r.pkg] = map[string]bool{}
		}
		for one := r.ast; one != nil; one = one.Else {
			c.guards(one, guards[r.pkg])
		}
	}
	for _, r := range c.rules {
		if r.uses&(grants|restricts) == 0 {
			continue
		}
		for one := r.ast; one != nil; one = one.Else {
			e := c.envOf(one, 0)
			for _, expr := range one.Body {
				if len(expr.With) == 0 {
					c.undefined(r, one, expr, e, guards[r.pkg])
				}
			}
		}
	}
}

// asksKind are the built-ins that tell null and missing from the rest.
var asksKind = map[string]bool{
	"is_null": true, "is_number": true, "is_boolean": true, "is_string": true, "is_object": true, "is_array": true, "type_name": true,
	"object.get": true,
}

func (c *checker) guards(r *ast.Rule, out map[string]bool) {
	e := c.envOf(r, 0)
	ast.WalkExprs(r, func(expr *ast.Expr) bool {
		terms, ok := expr.Terms.([]*ast.Term)
		if !ok {
			if t, ok := expr.Terms.(*ast.Term); ok {
				if val := c.eval(t, e, 0); val.isPath {
					out[val.path.key()] = true // `input.x.y`, or not
				}
			}
			return false
		}
		name := expr.Operator().String()
		if asksKind[name] {
			for _, t := range terms[1:] {
				if val := c.eval(t, e, 0); val.isPath {
					out[val.path.key()] = true
				}
			}
		}
		if (name == "eq" || name == "neq" || name == "equal") && len(terms) == 3 {
			a, b := c.eval(terms[1], e, 0), c.eval(terms[2], e, 0)
			if b.isPath {
				a, b = b, a
			}
			if a.isPath && len(b.terms) == 1 && b.terms[0].Equal(ast.NullTerm()) {
				out[a.path.key()] = true
			}
		}
		return false
	})
}

// guarded reports whether the package asks somewhere whether the path, or what
// it is in, is there.
func guarded(guards map[string]bool, p path) bool {
	for n := len(p); n > 0; n-- {
		if guards[p[:n].key()] {
			return true
		}
	}
	return false
}

func (c *checker) undefined(r *rule, one *ast.Rule, expr *ast.Expr, e *env, guards map[string]bool) {
	look := func(p path) place { return c.vocabulary.at(r.pkg.protocols, p) }
	if expr.Negated {
		c.undefinedNot(r, one, expr, e, guards)
		return
	}
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		val := c.eval(terms, e, 0)
		if !val.isPath || val.path.plural() || r.uses&grants == 0 {
			return
		}
		if at := look(val.path); at.nullable && at.boolean {
			c.at(idNullTrue, r, expr.Location, val.path.String()+" == true", "%s may be null, and null counts as true here", val.path)
		}
	case []*ast.Term:
		name := expr.Operator().String()
		if len(terms) != 3 {
			return
		}
		a, b := c.eval(terms[1], e, 0), c.eval(terms[2], e, 0)
		if b.isPath {
			a, b = b, a
			name = map[string]string{"gt": "lt", "gte": "lte", "lt": "gt", "lte": "gte"}[name] + map[bool]string{true: name}[name == "neq"]
		}
		if !a.isPath || a.path.plural() || !b.literals() || len(b.terms) != 1 || b.terms[0].Equal(ast.NullTerm()) {
			return
		}
		at := look(a.path)
		if guarded(guards, a.path) {
			return
		}
		switch name {
		case "neq":
			if r.uses&grants != 0 && at.nullable && !at.missing {
				c.at(idNullNotEqual, r, expr.Location, "", "%s may be null, and null is not %s: this holds for it", a.path, b.terms[0])
			}
			if r.uses&restricts != 0 && at.missing {
				c.at(idMissingNotEqual, r, expr.Location, "", "%s may be missing: then this does not hold, and nothing is restricted", a.path)
			}
		case "lt", "lte":
			if r.uses&grants != 0 && at.nullable {
				c.at(idNullCompare, r, expr.Location, "is_number("+a.path.String()+")", "%s may be null, and null comes before every number: this holds for it", a.path)
			}
		case "gt", "gte":
			if r.uses&restricts != 0 && at.nullable {
				c.at(idNullCompare, r, expr.Location, "a second rule with is_null("+a.path.String()+")", "%s may be null, and null comes before every number: this does not hold for it, and nothing is restricted", a.path)
			}
		}
	}
}

// undefinedNot looks at `not`. OPA evaluates the arguments of what is negated
// before the `not`: if one of them is not there, it is not the `not` that holds,
// but the whole rule that does not.
func (c *checker) undefinedNot(r *rule, one *ast.Rule, expr *ast.Expr, e *env, guards map[string]bool) {
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		ref, ok := terms.Value.(ast.Ref)
		if val := c.eval(terms, e, 0); ok && val.isPath && !val.path.plural() && r.uses&grants != 0 {
			if at := c.vocabulary.at(r.pkg.protocols, val.path); at.missing && ref[0].Equal(ast.InputRootDocument) {
				c.at(idMissingNot, r, expr.Location, val.path.String()+" == false", "%s may be missing: then `not` holds, and this allows", val.path)
			}
		}
	case []*ast.Term:
		name := expr.Operator().String()
		for _, t := range terms[1:] {
			val := c.eval(t, e, 0)
			if !val.isPath || val.path.plural() || !c.vocabulary.at(r.pkg.protocols, val.path).missing {
				continue
			}
			_, hoisted := t.Value.(ast.Var)
			switch {
			case hoisted && r.uses&restricts != 0:
				if c.requiredElsewhere(one, expr, val.path, e) || guarded(guards, val.path) {
					continue
				}
				c.at(idMissingHoisted, r, expr.Location, "", "%s may be missing: then this rule does not hold at all, `not` or no `not`, and nothing is restricted", val.path)
				return
			case !hoisted && r.uses&grants != 0 && (name == "eq" || name == "equal"):
				c.at(idMissingNot, r, expr.Location, "use != instead of `not` and ==: it does not hold where the key is missing", "%s may be missing: then `not` holds, and this allows", val.path)
				return
			}
		}
	}
}

// requiredElsewhere reports whether another condition of the same body needs
// the path anyway.
func (c *checker) requiredElsewhere(r *ast.Rule, but *ast.Expr, p path, e *env) bool {
	for _, expr := range r.Body {
		if expr == but || e.binder(expr) != nil && expr.Generated {
			continue
		}
		if expr.Negated {
			continue
		}
		for _, read := range c.readsOf(expr, e) {
			if read.key() == p.key() {
				return true
			}
		}
	}
	return false
}
