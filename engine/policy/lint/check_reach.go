package lint

import (
	"math"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// checkReach finds rules that can never hold, and allows that are denied
// whenever they hold.
func (c *checker) checkReach() {
	for _, r := range c.rules {
		for one := r.ast; one != nil; one = one.Else {
			if one.Default {
				continue
			}
			if one.Else != nil && always(one) {
				c.at(idElse, r, one.Else.Location, "", "this branch is never taken: what is before it always holds")
			}
			if one == r.ast {
				c.reachable(r)
			}
		}
	}
	c.checkCovered()
}

func always(r *ast.Rule) bool {
	for _, e := range r.Body {
		t, ok := e.Terms.(*ast.Term)
		if !ok || e.Negated || !t.Equal(ast.BooleanTerm(true)) {
			return false
		}
	}
	return len(r.Head.Args) == 0
}

// dead is why a way can never hold.
type dead struct {
	id   string
	expr *ast.Expr
	text string
}

func (c *checker) reachable(r *rule) {
	ways := c.waysOf(r.ast)
	var first *dead
	for _, w := range ways {
		d := c.contradiction(r, w)
		if d == nil {
			return
		}
		if first == nil {
			first = d
		}
	}
	if first != nil {
		var loc *ast.Location
		if first.expr != nil {
			loc = first.expr.Location
		}
		c.at(first.id, r, loc, "", "%s can never hold: %s", describe(r), first.text)
	}
}

func describe(r *rule) string {
	if r.entry != "" {
		return "this " + r.entry
	}
	return r.name
}

// domain is what one place of the input can still be.
type domain struct {
	in          []*ast.Term // nil: anything
	inExpr      *ast.Expr
	not         []*ast.Term
	truthy      *ast.Expr
	falsy       *ast.Expr
	low, high   float64
	lowX, highX bool // the bound itself is excluded
}

// contradiction returns why no input can meet a way, nil where one may.
func (c *checker) contradiction(r *rule, w way) *dead {
	domains := map[string]*domain{}
	for _, one := range w {
		if one.op == opNever {
			return &dead{idConstant, one.expr, "this condition is constant"}
		}
		if one.path == nil || one.path.plural() {
			continue
		}
		d := domains[one.path.key()]
		if d == nil {
			d = &domain{low: math.Inf(-1), high: math.Inf(1)}
			domains[one.path.key()] = d
		}
		if text := d.narrow(one); text != "" {
			return &dead{idContradiction, one.expr, one.path.String() + " " + text}
		}
	}
	return c.misplaced(r, w, domains)
}

// narrow takes one more condition in, and says why that cannot be.
func (d *domain) narrow(one cond) string {
	switch one.op {
	case opIn:
		if d.in == nil {
			d.in = one.lits
		} else {
			d.in = slices.DeleteFunc(slices.Clone(d.in), func(t *ast.Term) bool { return !contains(one.lits, t) })
			if len(d.in) == 0 {
				return "cannot be two things at once"
			}
		}
		d.inExpr = one.expr
	case opNotIn:
		d.not = append(slices.Clone(d.not), one.lits...)
	case opTruthy:
		if d.falsy != nil {
			return "cannot be both true and not true"
		}
		d.truthy = one.expr
	case opFalsy:
		if d.truthy != nil {
			return "cannot be both true and not true"
		}
		d.falsy = one.expr
	case opCompare:
		switch one.rel {
		case "gt", "gte":
			if one.limit > d.low || one.limit == d.low && one.rel == "gt" {
				d.low, d.lowX = one.limit, one.rel == "gt"
			}
		default:
			if one.limit < d.high || one.limit == d.high && one.rel == "lt" {
				d.high, d.highX = one.limit, one.rel == "lt"
			}
		}
		if d.low > d.high || d.low == d.high && (d.lowX || d.highX) {
			return "cannot be in a range that is empty"
		}
	}
	if d.in == nil {
		return ""
	}
	left := slices.DeleteFunc(slices.Clone(d.in), func(t *ast.Term) bool {
		isFalse := t.Equal(ast.BooleanTerm(false))
		if d.truthy != nil && isFalse || d.falsy != nil && !isFalse || contains(d.not, t) {
			return true
		}
		if n, ok := t.Value.(ast.Number); ok {
			f, ok := n.Float64()
			return ok && (f < d.low || f > d.high || f == d.low && d.lowX || f == d.high && d.highX)
		}
		return false
	})
	if len(left) == 0 {
		return "is asked to be " + termList(d.in) + ", and not to be"
	}
	return ""
}

func contains(list []*ast.Term, t *ast.Term) bool {
	return slices.ContainsFunc(list, func(x *ast.Term) bool { return x.Equal(t) })
}

func termList(list []*ast.Term) string {
	out := make([]string, len(list))
	for i, t := range list {
		out[i] = t.String()
	}
	return strings.Join(out, " or ")
}

// entriesWithout are the entries that mean nothing at a stage.
var entriesWithout = map[input.Stage][]string{
	input.StageSession:  {"mask", "limit", "label"},
	input.StageResponse: {"allow", "require_approval"},
}

// misplaced finds ways that only hold at a stage or for a protocol where the
// rule is never asked.
func (c *checker) misplaced(r *rule, w way, domains map[string]*domain) *dead {
	if d := domains["protocol"]; d != nil && d.in != nil && r.pkg.declared != nil && !mixed(d.in, func(s string) bool {
		return slices.Contains(r.pkg.declared, input.Protocol(s))
	}) {
		return &dead{idProtocol, d.inExpr, "the package is not asked about the protocol " + termList(d.in)}
	}
	d := domains["stage"]
	if d == nil || d.in == nil {
		return nil
	}
	if r.entry != "" && !mixed(d.in, func(s string) bool { return !slices.Contains(entriesWithout[input.Stage(s)], r.entry) }) {
		return &dead{idStage, d.inExpr, r.entry + " is not asked at stage " + termList(d.in)}
	}
	only := func(stage input.Stage) bool { return !mixed(d.in, func(s string) bool { return s != string(stage) }) }
	verb := domains["action\x00verb"]
	if only(input.StageSession) && verb != nil && verb.in != nil && !contains(verb.in, ast.StringTerm("connect")) {
		return &dead{idStage, verb.inExpr, `at stage "session" input.action.verb is "connect"`}
	}
	if !contains(d.in, ast.StringTerm(string(input.StageSession))) && verb != nil && verb.in != nil &&
		!mixed(verb.in, func(s string) bool { return s != "connect" }) {
		return &dead{idStage, verb.inExpr, `input.action.verb is "connect" at stage "session" alone`}
	}
	if !contains(d.in, ast.StringTerm(string(input.StageResponse))) {
		for _, one := range w {
			if len(one.path) > 1 && one.path[0] == "response" && one.op != opNotIn && one.op != opFalsy && one.op != opEvery && one.op != opOther {
				return &dead{idStage, one.expr, `input.response is null before stage "response"`}
			}
		}
	}
	return nil
}

// mixed reports whether any of the strings is so.
func mixed(list []*ast.Term, so func(string) bool) bool {
	return slices.ContainsFunc(list, func(t *ast.Term) bool {
		s, ok := t.Value.(ast.String)
		return !ok || so(string(s))
	})
}

// checkCovered finds allows that are denied in every way that they hold.
func (c *checker) checkCovered() {
	type cover struct {
		rule *rule
		way  way
	}
	var covers []cover
	for _, r := range c.rules {
		if r.entry != "deny" || r.pkg.shadow || r.pkg.targets || r.ast.Else != nil {
			continue
		}
		for _, w := range c.waysOf(r.ast) {
			if c.exact(r, w) {
				covers = append(covers, cover{r, w})
			}
		}
	}
	if len(covers) == 0 || len(covers) > 2_000 {
		return
	}
	for _, r := range c.rules {
		if r.entry != "allow" || r.ast.Default {
			continue
		}
		var by *rule
		for _, w := range c.waysOf(r.ast) {
			by = nil
			for _, d := range covers {
				if subset(r.pkg.protocols, d.rule.pkg.protocols) && implies(w, d.way) {
					by = d.rule
					break
				}
			}
			if by == nil {
				break
			}
		}
		if by != nil {
			c.at(idDenied, r, nil, "", "this allow never counts: whenever it holds, the deny at %s:%d holds, too", by.ast.Location.File, by.ast.Location.Row)
		}
	}
}

func subset(a, b []input.Protocol) bool {
	return !slices.ContainsFunc(a, func(p input.Protocol) bool { return !slices.Contains(b, p) })
}

// exact reports whether a way holds exactly when its conditions do: all of them
// are understood, and what they look at is always there.
func (c *checker) exact(r *rule, w way) bool {
	// What is in the element must be there, too.
	if r.ast.Head.Key == nil || !r.ast.Head.Key.IsGround() {
		return false
	}
	for _, one := range w {
		switch one.op {
		case opIn, opTruthy:
		case opDefined:
			if one.path.plural() || c.vocabulary.at(r.pkg.protocols, one.path).missing {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// implies reports whether whenever a holds, every condition of b does.
func implies(a, b way) bool {
	for _, want := range b {
		if want.op == opDefined {
			continue
		}
		if !slices.ContainsFunc(a, func(have cond) bool {
			if have.op == opIn && want.op == opIn && have.path.key() == want.path.key() {
				return !slices.ContainsFunc(have.lits, func(t *ast.Term) bool { return !contains(want.lits, t) })
			}
			if want.op == opTruthy && slices.Equal(have.path, want.path) {
				return have.op == opTruthy || have.op == opIn && !contains(have.lits, ast.BooleanTerm(false)) && !want.path.plural()
			}
			// The strongest verb is one of all verbs.
			return want.op == opIn && want.path.is("action", "verbs", anyKey) && have.op == opIn && have.path.is("action", "verb") &&
				!slices.ContainsFunc(have.lits, func(t *ast.Term) bool { return !contains(want.lits, t) })
		}) {
			return false
		}
	}
	return true
}
