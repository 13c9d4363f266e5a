package lint

import (
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
)

// checkDeterminism finds what makes a decision depend on more than bundles and
// input, and what no two requests have in common.
func (c *checker) checkDeterminism() {
	clocks := map[string]bool{}
	for _, b := range ast.Builtins {
		if policy.ReadsClock(b) {
			clocks[b.Name] = true
		}
	}
	for _, r := range c.rules {
		told := map[string]bool{}
		ast.WalkRefs(r.ast, func(ref ast.Ref) bool {
			name := ref.String()
			loc := ref[0].Location
			switch {
			case clocks[name]:
				c.at(idClock, r, loc, "", "%s gives another value at another time", name)
			case ref[0].Equal(ast.InputRootDocument):
				if what, why := uncached(ref); what != "" && !told[what] {
					told[what] = true
					c.at(idUncached, r, loc, "", "%s %s: no decision of a package that reads it is cached", what, why)
				}
			}
			return false
		})
	}
}

// uncached says why what a ref reads is never the same twice.
func uncached(ref ast.Ref) (what, why string) {
	var keys []string
	for _, t := range ref[1:] {
		s, ok := t.Value.(ast.String)
		if !ok {
			break
		}
		keys = append(keys, string(s))
	}
	p := path(keys)
	switch {
	case len(p) == 0:
		return "", ""
	case p.is("time"):
		return "input.time", "is another in every request"
	case p.under("request", "id"):
		return "input.request.id", "is another in every request"
	case p.under("session", "usage"), p.under("usage"):
		return "input." + strings.Join(p[:min(2, len(p))], "."), "counts on with every request"
	}
	return "", ""
}
