package policy

import (
	"maps"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// readSet is what a package can read of the input, over all its rules and all
// helpers and library functions that they reach.
type readSet struct {
	all   bool            // the whole input, or a key of it that is not known before
	paths map[string]bool // "target", "session.usage": at most two keys deep, and all below
	clock bool            // calls a built-in whose value depends on the time

	keys map[string]bool // the first keys of paths, once sealed
}

// everythingRead is the read-set that leaves nothing out.
func everythingRead() readSet { return readSet{all: true} }

// seal makes the set ready for readsKey.
func (r readSet) seal() readSet {
	r.keys = map[string]bool{}
	for p := range r.paths {
		first, _, _ := strings.Cut(p, ".")
		r.keys[first] = true
	}
	return r
}

// readsKey reports whether anything of a top-level key of a sealed set is read.
func (r readSet) readsKey(key string) bool { return r.all || r.keys[key] }

func (r readSet) union(o readSet) readSet {
	paths := map[string]bool{}
	maps.Copy(paths, r.paths)
	maps.Copy(paths, o.paths)
	return readSet{all: r.all || o.all, paths: paths, clock: r.clock || o.clock}
}

// reads reports whether a path, given by its keys, is read in part or whole.
func (r readSet) reads(keys ...string) bool {
	if r.all || len(keys) == 0 && len(r.paths) > 0 {
		return true
	}
	want := strings.Join(keys[:min(len(keys), 2)], ".")
	for p := range r.paths {
		if p == want || strings.HasPrefix(p, want+".") || strings.HasPrefix(want, p+".") {
			return true
		}
	}
	return false
}

// list returns the paths, sorted; "*" for all.
func (r readSet) list() []string {
	if r.all {
		return []string{"*"}
	}
	return nonNil(slices.Sorted(maps.Keys(r.paths)))
}

// readSets computes the read-sets of the packages of one compiler.
type readSets struct {
	own map[*ast.Rule]readSet // what a rule reads itself
}

func newReadSets(compiler *ast.Compiler) *readSets {
	s := &readSets{own: map[*ast.Rule]readSet{}}
	builtins := map[string]*ast.Builtin{}
	for _, b := range compiler.Capabilities().Builtins {
		builtins[b.Name] = b
	}
	for _, m := range compiler.Modules {
		ast.WalkRules(m, func(r *ast.Rule) bool {
			s.own[r] = ownReads(r, builtins)
			return false
		})
	}
	return s
}

// of follows the dependency graph from every rule of the package.
func (s *readSets) of(compiler *ast.Compiler, p *pkg) readSet {
	out := readSet{paths: map[string]bool{}}
	eachRuleOf(compiler, p, func(r *ast.Rule) { out = out.union(s.own[r]) })
	return out
}

// eachRuleOf calls visit once for each rule of the package and for each that they
// depend on.
func eachRuleOf(compiler *ast.Compiler, p *pkg, visit func(*ast.Rule)) {
	seen := map[*ast.Rule]bool{}
	var walk func(r *ast.Rule)
	walk = func(r *ast.Rule) {
		if seen[r] {
			return
		}
		seen[r] = true
		visit(r)
		for dep := range compiler.Graph.Dependencies(r) {
			if next, ok := dep.(*ast.Rule); ok {
				walk(next)
			}
		}
		if r.Else != nil {
			walk(r.Else)
		}
	}
	for _, m := range compiler.Modules {
		if !m.Package.Path.Equal(p.path) {
			continue
		}
		for _, r := range m.Rules {
			walk(r)
		}
	}
}

// ownReads collects what one rule reads itself, without what it calls.
func ownReads(r *ast.Rule, builtins map[string]*ast.Builtin) readSet {
	out := readSet{paths: map[string]bool{}}
	var visitor *ast.GenericVisitor
	visitor = ast.NewGenericVisitor(func(x any) bool {
		switch x := x.(type) {
		case ast.Var:
			// Where input is not the head of a ref it stands for all of it.
			if x == ast.InputRootDocument.Value {
				out.all = true
			}
		case ast.Ref:
			if len(x) == 0 || !x[0].Equal(ast.InputRootDocument) {
				if b, ok := builtins[x.String()]; ok && readsClock(b) {
					out.clock = true
				}
				return false
			}
			out.addInput(x)
			for _, t := range x[1:] { // a key may be a ref itself
				visitor.Walk(t)
			}
			return true
		}
		return false
	})
	visitor.Walk(r)
	return out
}

func (r *readSet) addInput(ref ast.Ref) {
	var keys []string
	for _, t := range ref[1:] {
		key, ok := t.Value.(ast.String)
		if !ok || len(keys) == 2 {
			break
		}
		keys = append(keys, string(key))
	}
	if len(keys) == 0 {
		r.all = true
		return
	}
	r.paths[strings.Join(keys, ".")] = true
}
