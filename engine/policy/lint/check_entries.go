package lint

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
)

// checkEntries finds rules of policy packages that nothing asks for: a misspelt
// entry above all.
func (c *checker) checkEntries() {
	used := map[*rule]bool{}
	for _, r := range c.rules {
		for one := r.ast; one != nil; one = one.Else {
			self := one
			ast.WalkRefs(&ast.Rule{Head: self.Head, Body: self.Body}, func(ref ast.Ref) bool {
				rules, _ := c.rulesOf(ref)
				for _, callee := range rules {
					if callee != r {
						used[callee] = true
					}
				}
				if len(rules) == 0 && ref[0].Equal(ast.DefaultRootDocument) {
					c.usePackage(ref, used)
				}
				return false
			})
		}
	}
	for _, r := range c.rules {
		if !r.pkg.policy || r.entry != "" || used[r] {
			continue
		}
		meant := closest(r.name, policy.EntryNames())
		multi := r.ast.Head.RuleKind() == ast.MultiValue
		object := false
		if multi && r.ast.Head.Key != nil {
			obj, ok := r.ast.Head.Key.Value.(ast.Object)
			object = ok && obj.Get(ast.StringTerm("id")) != nil
		}
		switch {
		case multi && meant != "":
			c.at(idEntry, r, nil, "did you mean "+meant+"?", "%s is not a set that is asked for: it decides nothing", r.name)
		case object:
			c.at(idEntry, r, nil, "one of "+strings.Join(policy.EntryNames(), ", "), "%s looks like a decision, but is not a set that is asked for: it decides nothing", r.name)
		default:
			c.at(idUnused, r, nil, "", "nothing uses %s", r.name)
		}
	}
}

// usePackage marks what a ref to a whole package, or into it by a variable, may
// use.
func (c *checker) usePackage(ref ast.Ref, used map[*rule]bool) {
	prefix := ref.GroundPrefix()
	if len(prefix) < 2 {
		return
	}
	for _, p := range c.packages {
		if p.path.HasPrefix(prefix) {
			for _, r := range p.rules {
				used[r] = true
			}
		}
	}
}
