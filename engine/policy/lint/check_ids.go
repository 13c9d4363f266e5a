package lint

import (
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// checkIDs looks at the ids of what entries say: agents, metrics and people see
// them, and recordings are compared by them.
func (c *checker) checkIDs() {
	type place struct {
		element element
		loc     *ast.Location
	}
	first := map[string]place{}
	for _, r := range c.rules {
		if r.entry == "allow" && r.ast.Head.RuleKind() == ast.SingleValue && !r.ast.Default {
			c.at(idImplicit, r, nil, "", "a boolean allow has no id but its rule's path, regate.policies.%s.allow", r.pkg.name)
		}
	}
	for _, e := range c.elementsOf() {
		r := e.rule
		if _, ok := e.head.Value.(ast.String); ok && r.entry == "deny" {
			c.at(idImplicit, r, e.head.Location, "", "a string has no id but its rule's path, regate.policies.%s.deny", r.pkg.name)
			continue
		}
		if e.obj == nil {
			continue
		}
		term := e.obj.Get(ast.StringTerm("id"))
		if term == nil {
			continue // checkElements says so
		}
		loc := e.head.Location
		e.obj.Foreach(func(k, v *ast.Term) {
			if k.Equal(ast.StringTerm("id")) && v.Location != nil && v.Location.Row > 0 {
				loc = v.Location
			}
		})
		val := c.eval(term, e.env, 0)
		if !val.literals() {
			r2 := val.reads
			if val.isPath {
				r2 = append(r2, val.path)
			}
			if len(r2) == 0 {
				continue // from data, or from constants that are put together
			}
			c.at(idDynamic, r, loc, "", "the id is made of %s: it is not one id, but as many as there are values", r2[0])
			continue
		}
		for _, t := range val.terms {
			id, ok := t.Value.(ast.String)
			if !ok || len(val.terms) > 1 {
				continue
			}
			prefix := r.pkg.name + "/"
			if r.pkg.name != "" && !strings.HasPrefix(string(id), prefix) && !strings.HasPrefix(string(id), "engine/") {
				c.at(idPrefix, r, loc, "begin it with "+strconv.Quote(prefix), "the id %s does not say which package it is of", strconv.Quote(string(id)))
			}
			before, ok := first[string(id)]
			if !ok {
				first[string(id)] = place{e, loc}
				continue
			}
			was := before.element.rule
			switch {
			case was.pkg != r.pkg:
				c.at(idDuplicate, r, loc, "", "the package %s uses the id %s, too, at %s:%d", was.pkg.name, strconv.Quote(string(id)), before.loc.File, before.loc.Row)
			case was.entry != r.entry:
				c.at(idDuplicate, r, loc, "", "the id %s is that of a %s, too, at %s:%d", strconv.Quote(string(id)), was.entry, before.loc.File, before.loc.Row)
			case before.element.obj != nil && !sameText(before.element.obj, e.obj):
				at := len(c.findings)
				c.at(idDuplicate, r, loc, "", "the id %s stands for something else at %s:%d", strconv.Quote(string(id)), before.loc.File, before.loc.Row)
				c.findings[at].Severity = Info
			}
		}
	}
}

// sameText reports whether two elements say the same to people. Several bodies
// may share one reason.
func sameText(a, b ast.Object) bool {
	for _, key := range []string{"msg", "severity"} {
		x, y := a.Get(ast.StringTerm(key)), b.Get(ast.StringTerm(key))
		if x != nil && y != nil && x.IsGround() && y.IsGround() && !x.Equal(y) {
			return false
		}
	}
	return true
}
