package prove

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/types"

	"github.com/regate-dev/regate/engine/policy"
)

// Case is one input that policies are tried with.
type Case struct {
	From  string            // where it is from: "file:line" of a test, a decision's id
	Input *ast.Term         // an object
	Data  []policy.Override // what the test put in place of the bundles' data
	// Packages are those that the test's module speaks of; none: not known.
	Packages []string
}

// captureName is a built-in function that exists while inputs are captured. It
// is put before each expression of a test that sets the input, under the same
// `with`, so that it sees exactly what the policies see there.
const captureName = "regate.capture"

var captureDecl = &ast.Builtin{
	Name: captureName,
	Decl: types.NewFunction(types.Args(types.S, types.A, types.NewArray(nil, types.A)), types.B),
}

// Captured are the inputs that tests use.
type Captured struct {
	Cases []Case // each once, in the order of their places
	// Mocked counts places that put something in place of a rule or a function:
	// what their input does to the policies themselves cannot be told.
	Mocked int
}

// Capture runs the tests again to see which inputs they use. Tests that fail
// are captured as far as they get.
func Capture(ctx context.Context, set *policy.Set, o TestOptions) (*Captured, error) {
	modules, err := set.ModulesWithTests()
	if err != nil {
		return nil, err
	}
	c := &capturer{set: set, seen: map[string]bool{}, about: map[string][]string{}}
	c.findTargets()
	for id := range set.TestModules() {
		c.about[id] = c.packagesOf(modules[id])
		c.instrument(modules[id])
	}
	compiler, err := policy.NewTestCompiler(captureDecl)
	if err != nil {
		return nil, err
	}
	runner, txn, done, err := newRunner(ctx, set, compiler, modules, o)
	if err != nil {
		return nil, err
	}
	defer done()
	runner.AddCustomBuiltins([]*tester.Builtin{{Decl: captureDecl, Func: rego.FunctionDyn(
		&rego.Function{Name: captureName, Decl: captureDecl.Decl, Nondeterministic: true}, c.capture)}})
	if _, err := collect(ctx, runner, txn); err != nil {
		return nil, err
	}
	slices.SortStableFunc(c.found, func(a, b Case) int { return strings.Compare(a.From, b.From) })
	return &Captured{Cases: c.found, Mocked: c.mocked}, nil
}

type capturer struct {
	set     *policy.Set
	targets []ast.Ref // places of data that some test replaces, none below another
	mocked  int
	about   map[string][]string // names of packages that a module speaks of

	mu    sync.Mutex
	seen  map[string]bool
	found []Case
}

// findTargets collects the places of data, not of rules, that tests replace.
// A helper may be called below somebody else's `with`, so each capture looks at
// all of them.
func (c *capturer) findTargets() {
	all := map[string]ast.Ref{}
	for _, m := range c.set.TestModules() {
		ast.WalkExprs(m, func(e *ast.Expr) bool {
			for _, w := range e.With {
				if ref, ok := w.Target.Value.(ast.Ref); ok && ref.HasPrefix(ast.DefaultRootRef) && len(ref) > 1 && !c.isRule(ref) {
					all[ref.String()] = ref
				}
			}
			return false
		})
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		ref := all[name]
		if !slices.ContainsFunc(c.targets, func(t ast.Ref) bool { return ref.HasPrefix(t) }) {
			c.targets = append(c.targets, ref)
		}
	}
}

// packagesOf lists the policy packages that a module speaks of.
func (c *capturer) packagesOf(m *ast.Module) []string {
	var out []string
	ast.WalkRefs(m, func(ref ast.Ref) bool {
		for _, p := range c.set.Packages() {
			if path, err := ast.ParseRef(p.Path); err == nil && ref.HasPrefix(path) && !slices.Contains(out, p.Name) {
				out = append(out, p.Name)
			}
		}
		return false
	})
	return out
}

// isRule reports whether rules define what is at, above or below ref.
func (c *capturer) isRule(ref ast.Ref) bool {
	return len(c.set.Compiler().GetRules(ref)) > 0
}

// replacesRule reports whether a `with` puts something in place of a rule or a
// function.
func (c *capturer) replacesRule(w *ast.With) bool {
	ref, ok := w.Target.Value.(ast.Ref)
	if !ok {
		return !w.Target.Equal(ast.InputRootDocument)
	}
	if ref.HasPrefix(ast.InputRootRef) {
		return false
	}
	return !ref.HasPrefix(ast.DefaultRootRef) || c.isRule(ref)
}

func setsInput(w *ast.With) bool {
	if w.Target.Equal(ast.InputRootDocument) {
		return true
	}
	ref, ok := w.Target.Value.(ast.Ref)
	return ok && ref.HasPrefix(ast.InputRootRef)
}

// instrument puts a capture before each expression that sets the input, in
// every body of the module.
func (c *capturer) instrument(m *ast.Module) {
	for _, rule := range m.Rules {
		for r := rule; r != nil; r = r.Else {
			c.inHead(r.Head)
			r.Body = c.body(r.Body)
		}
	}
}

func (c *capturer) inHead(h *ast.Head) {
	for _, t := range []*ast.Term{h.Key, h.Value} {
		if t != nil {
			c.inside(t)
		}
	}
}

// body instruments one body and all that are in it.
func (c *capturer) body(b ast.Body) ast.Body {
	out := make(ast.Body, 0, len(b))
	for _, e := range b {
		c.inside(e.Terms)
		if slices.ContainsFunc(e.With, setsInput) {
			if slices.ContainsFunc(e.With, c.replacesRule) {
				c.mocked++
			} else {
				out = append(out, c.call(e))
			}
		}
		out = append(out, e)
	}
	for i := range out {
		out[i].Index = i
	}
	return out
}

// inside instruments the bodies within terms: comprehensions and every.
func (c *capturer) inside(x any) {
	ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case *ast.ArrayComprehension:
			x.Body = c.body(x.Body)
			return true
		case *ast.SetComprehension:
			x.Body = c.body(x.Body)
			return true
		case *ast.ObjectComprehension:
			x.Body = c.body(x.Body)
			return true
		case *ast.Every:
			x.Body = c.body(x.Body)
			return true
		}
		return false
	}).Walk(x)
}

// call is the capture for an expression, under the same `with`.
func (c *capturer) call(e *ast.Expr) *ast.Expr {
	values := make([]*ast.Term, len(c.targets))
	for i, ref := range c.targets {
		v := ast.VarTerm("regate_captured") // of a comprehension of its own
		at := ast.NewTerm(ref.Copy())
		values[i] = ast.ArrayComprehensionTerm(v, ast.NewBody(ast.Equality.Expr(v, at)))
	}
	place := fmt.Sprintf("%s:%d", e.Location.File, e.Location.Row)
	out := captureDecl.Expr(ast.StringTerm(place), ast.NewTerm(ast.InputRootRef.Copy()), ast.ArrayTerm(values...))
	for _, w := range e.With {
		out.With = append(out.With, w.Copy())
	}
	ast.NewGenericVisitor(func(x any) bool { // problems are the expression's own
		switch x := x.(type) {
		case *ast.Expr:
			x.Location = e.Location
		case *ast.Term:
			x.Location = e.Location
		}
		return false
	}).Walk(out)
	return out
}

// capture is the built-in function.
func (c *capturer) capture(_ rego.BuiltinContext, terms []*ast.Term) (*ast.Term, error) {
	from, _ := terms[0].Value.(ast.String)
	values, ok := terms[2].Value.(*ast.Array)
	if _, isObject := terms[1].Value.(ast.Object); !isObject || !ok {
		return ast.BooleanTerm(true), nil // no document at all
	}
	file := string(from)
	if i := strings.LastIndexByte(file, ':'); i >= 0 {
		file = file[:i]
	}
	found := Case{From: string(from), Input: terms[1], Packages: c.about[file]}
	for i, ref := range c.targets {
		one, ok := values.Elem(i).Value.(*ast.Array)
		if !ok || one.Len() == 0 {
			continue
		}
		path, err := storage.NewPathForRef(ref)
		if err != nil {
			continue // no place of data
		}
		found.Data = append(found.Data, policy.Override{Path: path, Value: one.Elem(0).Value})
	}
	key := terms[1].String() + terms[2].String()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.seen[key] {
		c.seen[key] = true
		c.found = append(c.found, found)
	}
	return ast.BooleanTerm(true), nil
}
