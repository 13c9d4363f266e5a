package explain

import (
	"context"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/policy"
)

const (
	// maxDepth is how deep helpers are looked into.
	maxDepth = 4
	// maxSolutions is how many ways to bind a rule's variables are looked at.
	maxSolutions = 3
	// maxIDs bounds the ids of one rule that are told.
	maxIDs = 10
)

// rule is one body of an entry of a package.
type rule struct {
	pkg   string
	entry string
	*ast.Rule
}

// rulesOf are the bodies of a package's entries that mean something at the
// input's stage, in the order of the files.
func (x *explainer) rulesOf(p policy.PackageInfo) []rule {
	var out []rule
	entries := policy.EntriesAt(x.in.Stage())
	for _, file := range p.Files {
		for _, r := range x.Set.Compiler().Modules[file].Rules {
			name := headName(r)
			if !r.Default && slices.Contains(entries, name) {
				out = append(out, rule{p.Name, name, r})
			}
		}
	}
	return out
}

func headName(r *ast.Rule) string {
	switch v := r.Head.Ref()[0].Value.(type) {
	case ast.Var:
		return string(v)
	case ast.String:
		return string(v)
	}
	return ""
}

// look evaluates one rule by itself.
func (x *explainer) look(ctx context.Context, r rule) Rule {
	conditions := split(r.Body)
	out := Rule{Package: r.pkg, Entry: r.entry, IDs: []string{}, Failing: []Condition{}, Conditions: written(conditions)}
	if r.Location != nil {
		out.File, out.Line = r.Location.File, r.Location.Row
	}
	out.Failing, out.NotReached = x.failing(ctx, nil, conditions, maxDepth)
	if len(out.Failing) == 0 && out.NotReached == 0 {
		out.IDs = x.ids(ctx, r)
	} else if id := staticID(r.Head.Key, r.Body); id != "" {
		out.IDs = []string{id}
	}
	return out
}

// ids are what a rule that fires gives.
func (x *explainer) ids(ctx context.Context, r rule) []string {
	out := []string{}
	if r.Head.Key == nil { // a boolean allow
		return append(out, "regate.policies."+r.pkg+"."+r.entry)
	}
	element := ast.VarTerm("regate_element")
	body := append(slices.Clone(r.Body), ast.Equality.Expr(element, r.Head.Key))
	found, err := x.eval.solutions(ctx, body, 100)
	if err != nil {
		return out
	}
	for _, s := range found {
		id := idOf(s[element.Value.(ast.Var)], "regate.policies."+r.pkg+"."+r.entry)
		if id != "" && !slices.Contains(out, id) && len(out) < maxIDs {
			out = append(out, id)
		}
	}
	return out
}

func idOf(t *ast.Term, plain string) string {
	if t == nil {
		return ""
	}
	switch v := t.Value.(type) {
	case ast.Object:
		if id, ok := stringAt(v, "id"); ok {
			return id
		}
	case ast.String:
		return plain
	}
	return ""
}

// staticID is the id that is written in a rule's head, "" where it is made.
func staticID(key *ast.Term, body ast.Body) string {
	if key == nil {
		return ""
	}
	if v, ok := key.Value.(ast.Var); ok { // the compiler moved it into the body
		for _, e := range body {
			if e.IsEquality() && e.Operand(0).Value.Compare(v) == 0 {
				key = e.Operand(1)
			}
		}
	}
	return idOf(key, "")
}

// condition is one expression as it is written, with those that the compiler
// made of its parts before it.
type condition []*ast.Expr

// split takes a body apart into what is written.
func split(body ast.Body) []condition {
	var out []condition
	var parts condition
	for _, e := range body {
		parts = append(parts, e)
		if e.Generated {
			continue
		}
		out = append(out, parts)
		parts = nil
	}
	if len(parts) > 0 {
		out = append(out, parts)
	}
	return out
}

// written counts what a person has written: `if true` is no condition.
func written(conditions []condition) int {
	n := 0
	for _, c := range conditions {
		if e := c[len(c)-1]; !e.Generated && !trivial(e) {
			n++
		}
	}
	return n
}

func trivial(e *ast.Expr) bool {
	t, ok := e.Terms.(*ast.Term)
	return ok && !e.Negated && t.Value.Compare(ast.Boolean(true)) == 0
}

// failing evaluates conditions one by one. One that does not hold is left out,
// and those after it are looked at as if it were not there, but for those that
// need a value of it. given are bindings from outside: a function's arguments.
func (x *explainer) failing(ctx context.Context, given ast.Body, conditions []condition, depth int) (out []Condition, notReached int) {
	out = []Condition{}
	kept := slices.Clone(given)
	bound, missing := ast.NewVarSet(), ast.NewVarSet()
	for _, e := range given {
		bound.Update(e.Vars(ast.VarVisitorParams{}))
	}
	solved := []topdown.QueryResult{{}}
	for _, c := range conditions {
		vars := ast.NewVarSet()
		for _, e := range c {
			vars.Update(e.Vars(ast.VarVisitorParams{SkipRefCallHead: true, SkipClosures: true, SkipRefHead: true}))
			vars.Update(closedOver(e, missing))
		}
		if len(vars.Intersect(missing)) > 0 {
			missing.Update(vars.Diff(bound))
			notReached++
			continue
		}
		next := append(slices.Clone(kept), c...)
		found, err := x.eval.solutions(ctx, next, maxSolutions)
		if err == nil && len(found) > 0 {
			kept, solved = next, found
			bound.Update(vars)
			continue
		}
		missing.Update(vars.Diff(bound))
		shown := x.show(c, solved)
		if err != nil {
			shown.Error = firstLine(err.Error())
		}
		if depth > 0 {
			shown.Inside = x.inside(ctx, c, kept, depth-1)
		}
		out = append(out, shown)
	}
	return out, notReached
}

// closedOver are those of vars that a closure of e refers to.
func closedOver(e *ast.Expr, vars ast.VarSet) ast.VarSet {
	out := ast.NewVarSet()
	if len(vars) == 0 {
		return out
	}
	ast.WalkVars(e, func(v ast.Var) bool {
		if vars.Contains(v) {
			out.Add(v)
		}
		return false
	})
	return out
}

// inside looks into the helper that a condition asks: the body that comes
// closest.
func (x *explainer) inside(ctx context.Context, c condition, kept ast.Body, depth int) []Condition {
	var best []Condition
	for _, e := range c {
		if e.Negated {
			continue
		}
		rules, args := x.asked(e)
		if len(rules) == 0 {
			continue
		}
		// What was made before the call, such as its arguments, holds.
		var before condition
		for _, earlier := range c {
			if earlier == e {
				break
			}
			before = append(before, earlier)
		}
		found, err := x.eval.solutions(ctx, append(slices.Clone(kept), before...), 1)
		if err != nil || len(found) == 0 {
			continue
		}
		for _, r := range rules {
			given, ok := bindArgs(r, args, found[0])
			if !ok {
				continue
			}
			failing, notReached := x.failing(ctx, given, split(r.Body), depth)
			if len(failing) > 0 && (best == nil || len(failing)+notReached < len(best)) {
				best = failing
			}
		}
	}
	return best
}

// asked are the rules that an expression asks, with the arguments of a call.
func (x *explainer) asked(e *ast.Expr) ([]*ast.Rule, []*ast.Term) {
	ofRef := func(ref ast.Ref) []*ast.Rule {
		if len(ref) == 0 || !ref[0].Equal(ast.DefaultRootDocument) || !ref.IsGround() {
			return nil
		}
		return slices.DeleteFunc(x.Set.Compiler().GetRulesExact(ref), func(r *ast.Rule) bool { return r.Default })
	}
	if e.IsCall() {
		if rules := ofRef(e.Operator()); len(rules) > 0 {
			return rules, e.Operands()
		}
		if !e.IsEquality() {
			return nil, nil
		}
		for _, t := range e.Operands() {
			if ref, ok := t.Value.(ast.Ref); ok {
				if rules := ofRef(ref); len(rules) > 0 {
					return rules, nil
				}
			}
		}
		return nil, nil
	}
	if t, ok := e.Terms.(*ast.Term); ok {
		if ref, ok := t.Value.(ast.Ref); ok {
			return ofRef(ref), nil
		}
	}
	return nil, nil
}

// bindArgs makes the arguments of a call known in a function's body.
func bindArgs(r *ast.Rule, args []*ast.Term, s topdown.QueryResult) (ast.Body, bool) {
	var given ast.Body
	for i, param := range r.Head.Args {
		if i >= len(args) {
			return nil, false
		}
		value := args[i]
		if v, ok := value.Value.(ast.Var); ok {
			if value, ok = s[v]; !ok {
				return nil, false
			}
		}
		given = append(given, ast.Equality.Expr(param, value))
	}
	return given, true
}

// text is an expression as it is written, in one line.
func text(c condition) (file string, line int, written string) {
	e := c[len(c)-1]
	if e.Location == nil {
		return "", 0, e.String()
	}
	written = strings.Join(strings.Fields(string(e.Location.Text)), " ")
	if written == "" {
		written = e.String()
	}
	if e.Negated && !strings.HasPrefix(written, "not ") {
		written = "not " + written
	}
	return e.Location.File, e.Location.Row, written
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
