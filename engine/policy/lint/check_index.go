package lint

import (
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
)

// strange is a value that no policy asks for: a rule that OPA's index still
// returns when everything is strange is evaluated for every input.
const strange = ast.String("\x00regate")

type strangeResolver struct{}

func (strangeResolver) Resolve(ast.Ref) (ast.Value, error) { return strange, nil }

// manyScanned is how many rules of one set without an index make a warning of
// each: their cost adds up.
const manyScanned = 20

// checkIndex finds conditions that OPA's rule index cannot use but could in
// another form. It asks the index itself which rules it cannot leave out.
func (c *checker) checkIndex() {
	type slow struct {
		rule *rule
		loc  *ast.Location
		text string
		fix  string
	}
	sets := map[string][]slow{}
	for _, r := range c.rules {
		if r.entry == "" || r.ast.Default || c.indexed(r) {
			continue
		}
		e := c.envOf(r.ast, 0)
		for _, expr := range r.ast.Body {
			if text, fix := c.slowForm(r, expr, e); text != "" {
				set := r.ast.Ref().String()
				sets[set] = append(sets[set], slow{r, expr.Location, text, fix})
				break
			}
		}
	}
	for _, set := range sortedKeys(sets) {
		severity := Info
		if len(sets[set]) >= manyScanned {
			severity = Warning
		}
		for _, s := range sets[set] {
			before := len(c.findings)
			c.at(idIndex, s.rule, s.loc, s.fix, "%s", s.text)
			c.findings[before].Severity = severity
		}
	}
}

// indexed reports whether the index can leave the rule out.
func (c *checker) indexed(r *rule) bool {
	ref := r.ast.Ref().GroundPrefix()
	key := ref.String()
	kept, ok := c.memo.index[key]
	if !ok {
		if c.memo.index == nil {
			c.memo.index = map[string]map[*ast.Rule]bool{}
		}
		if index := c.compiler.RuleIndex(ref); index != nil {
			if result, err := index.Lookup(strangeResolver{}); err == nil {
				kept = map[*ast.Rule]bool{}
				for _, one := range result.Rules {
					kept[one] = true
				}
			}
		}
		c.memo.index[key] = kept
	}
	return kept == nil || !kept[r.ast]
}

// slowForm says what the index cannot use, and the form that it can.
func (c *checker) slowForm(r *rule, expr *ast.Expr, e *env) (text, fix string) {
	if len(expr.With) > 0 {
		return "", ""
	}
	switch terms := expr.Terms.(type) {
	case *ast.Term:
		val := c.eval(terms, e, 0)
		if !val.isPath || val.path.plural() || len(val.path) == 0 {
			return "", ""
		}
		if !c.vocabulary.at(r.pkg.protocols, val.path).boolean {
			return "", ""
		}
		if expr.Negated {
			return "the rule index cannot use `not " + val.path.String() + "`: the rule is evaluated for every request", val.path.String() + " == false"
		}
		return "the rule index cannot use the boolean alone, as it is always there: the rule is evaluated for every request", val.path.String() + " == true"
	case []*ast.Term:
		name := expr.Operator().String()
		if expr.Negated || e.binder(expr) != nil || len(terms) < 3 {
			return "", ""
		}
		switch name {
		case "eq", "equal", "internal.member_2":
		default:
			return "", ""
		}
		a, b := c.eval(terms[1], e, 0), c.eval(terms[2], e, 0)
		if !a.isPath {
			a, b = b, a
		}
		if !a.isPath || !a.path.plural() || !b.literals() || a.path[len(a.path)-1] == anyKey {
			return "", ""
		}
		return "the rule index cannot look into the elements of " + a.path[:starAt(a.path)].String() + ": the rule is evaluated for every request, and walks the list",
			flatForm(a.path, b)
	}
	return "", ""
}

func starAt(p path) int {
	for i, key := range p {
		if key == anyKey {
			return i
		}
	}
	return len(p)
}

// flatForm is the flat list that stands beside an array of objects, or a hint
// to put one first.
func flatForm(p path, lit value) string {
	text := "x"
	if s, ok := lit.terms[0].Value.(ast.String); ok {
		text = string(s)
	}
	switch {
	case p.under("resource", "tables", anyKey, "columns"):
		return strconv.Quote("schema.table."+text) + " in input.resource.column_names"
	case p.under("resource", "tables"):
		return `add a condition on a flat list, e.g. "public.users" in input.resource.table_names, or on input.action.verb`
	}
	return "add a condition on a scalar or a flat list, e.g. input.action.verb == \"select\""
}
