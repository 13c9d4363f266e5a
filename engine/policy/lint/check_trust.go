package lint

import (
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"
)

// asserted are the parts of the input that an agent says of itself.
var asserted = []path{{"asserted"}, {"session", "client", "application"}, {"session", "labels"}}

// verified are the parts that say who asks and were checked.
var verified = []path{{"subject"}, {"actor"}, {"approvals"}, {"session", "client", "address"}}

// checkTrust looks at what allows rest on: every way in which one holds.
func (c *checker) checkTrust() {
	incompleteDenied := c.incompleteDenied()
	for _, r := range c.rules {
		if r.entry != "allow" || r.ast.Default || alwaysFalse(r.ast) {
			continue
		}
		head := c.readsOf(&ast.Rule{Head: r.ast.Head}, c.envOf(r.ast, 0))
		for _, w := range c.waysOf(r.ast) {
			if c.contradiction(r, w) != nil {
				continue
			}
			all := append(w.reads(), head...)
			own := w.reads()
			if !readsAny(own, verified) {
				if says := firstUnder(own, asserted); says != nil {
					c.at(idAsserted, r, exprOf(w, says), "", "this allow rests on %s, which the agent says of itself, and on nothing about who it is", says)
				} else if r.pkg.declared == nil || len(own) == 0 || !all.any("subject") {
					c.at(idAnyone, r, nil, "", "this allow does not ask who it is: it holds for whoever can connect")
				}
			}
			if !incompleteDenied && c.takesRequests(w) && !looksAtComplete(w) {
				c.at(idIncomplete, r, nil, "", "this allow does not look at input.complete: it also allows what regate could not resolve")
				break
			}
		}
	}
}

func alwaysFalse(r *ast.Rule) bool {
	return r.Head.Value != nil && r.Head.Value.Equal(ast.BooleanTerm(false))
}

func readsAny(r reads, of []path) bool {
	return slices.ContainsFunc(of, func(p path) bool { return r.any(p...) })
}

func firstUnder(r reads, of []path) path {
	for _, p := range r {
		if slices.ContainsFunc(of, func(o path) bool { return p.under(o...) }) {
			return p
		}
	}
	return nil
}

func exprOf(w way, p path) *ast.Location {
	for _, one := range w {
		if one.expr != nil && (slices.Equal(one.path, p) || slices.ContainsFunc(one.reads, func(r path) bool { return slices.Equal(r, p) })) {
			return one.expr.Location
		}
	}
	return nil
}

// takesRequests reports whether a way can hold for a request: it does not ask
// for the stage session, or for the verb of it.
func (c *checker) takesRequests(w way) bool {
	for _, one := range w {
		if one.op != opIn {
			continue
		}
		if one.path.is("stage") && !contains(one.lits, ast.StringTerm("request")) {
			return false
		}
		if one.path.is("action", "verb") && !mixed(one.lits, func(s string) bool { return s != "connect" }) {
			return false
		}
	}
	return true
}

func looksAtComplete(w way) bool {
	for _, one := range w {
		switch {
		case one.path.is("complete"), one.path.is("action", "opaque"), one.path.under("unknown"):
			refused := one.path.is("complete") && one.op == opIn && !contains(one.lits, ast.BooleanTerm(true))
			if !refused {
				return true
			}
		case one.op == opOther && (one.reads.any("complete") || one.reads.any("unknown") || one.reads.any("action", "opaque")):
			return true
		}
	}
	return false
}

// incompleteDenied reports whether some package that is enforced denies what is
// not complete.
func (c *checker) incompleteDenied() bool {
	return slices.ContainsFunc(c.rules, func(r *rule) bool {
		return r.entry == "deny" && !r.pkg.shadow && !r.pkg.targets && c.ruleReads(r.ast).exactly("complete")
	})
}

func (r reads) exactly(keys ...string) bool {
	return slices.ContainsFunc(r, func(p path) bool { return p.is(keys...) })
}
