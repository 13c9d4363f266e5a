package policy

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// WithOptimisations returns the same policies, evaluated with or without OPA's
// rule index and early exit, which must make no difference.
func (s *Set) WithOptimisations(indexing, earlyExit bool) *Set {
	out := *s
	out.narrow = &sync.Map{}
	out.engine = &Engine{cfg: s.engine.cfg, values: s.engine.values, noIndexing: !indexing, noEarlyExit: !earlyExit}
	return &out
}

// Override puts a value in place of what the bundles' data has at a path, as
// Rego's `with data.path as value` does.
type Override struct {
	Path  []string // below data; at least one key
	Value ast.Value
}

// WithData returns the same policies over other data. The overrides are applied
// in their order.
func (s *Set) WithData(ctx context.Context, overrides []Override) (*Set, error) {
	raw, err := s.snapshot.store.Read(ctx, s.snapshot.txn, storage.RootPath)
	if err != nil {
		return nil, fmt.Errorf("read the policies' data: %w", err)
	}
	data, ok := raw.(ast.Object)
	if !ok {
		return nil, errors.New("the policies' data is not an object")
	}
	for _, o := range overrides {
		if len(o.Path) == 0 {
			return nil, errors.New("data as a whole cannot be replaced")
		}
		data = put(data, o.Path, o.Value)
	}
	next := &snapshot{
		packages: s.snapshot.packages, bundles: s.snapshot.bundles, allowFrom: s.snapshot.allowFrom,
		compiler: s.snapshot.compiler, store: inmem.NewFromASTObject(data),
	}
	next.plans.Store(&map[planKey]*plan{})
	if next.txn, err = next.store.NewTransaction(ctx); err != nil {
		return nil, fmt.Errorf("open the policies' data: %w", err)
	}
	out := *s
	out.snapshot, out.narrow = next, &sync.Map{}
	return &out, nil
}

// put returns a copy of obj with value at path. What is on the way and is no
// object is replaced by one.
func put(obj ast.Object, path []string, value ast.Value) ast.Object {
	if len(path) > 1 {
		below := ast.NewObject()
		if t := obj.Get(ast.StringTerm(path[0])); t != nil {
			if o, ok := t.Value.(ast.Object); ok {
				below = o
			}
		}
		value = put(below, path[1:], value)
	}
	out := ast.NewObject()
	obj.Foreach(func(k, v *ast.Term) {
		if s, ok := k.Value.(ast.String); !ok || string(s) != path[0] {
			out.Insert(k, v)
		}
	})
	out.Insert(ast.StringTerm(path[0]), ast.NewTerm(value))
	return out
}

// Said is one decision, taken apart for a tool that asks many variants of one
// document.
type Said struct {
	Ruling *Ruling
	// Guards is what the packages that have no allow of their own would make of
	// the document together if another one allowed it: such packages restrict what
	// others allow, and alone would always deny. It is nil where there are none,
	// and where the decision is a denial because something went wrong: then
	// nothing is let through.
	Guards *Ruling
	// Restrict is what all packages would make of the document if another one
	// allowed it; nil as Guards. Allows says that some package does allow it.
	Restrict *Ruling
	Allows   bool
	// Spoke are the packages that said something, and those that may allow,
	// sorted. What the others say to another document can only restrict.
	Spoke []string
}

// Ask decides like Decide, in's packages alone where only is not nil: names of
// packages, of which those that look at the document are asked.
func (s *Set) Ask(ctx context.Context, in *Input, shown *ast.Term, only []string) (out Said) {
	e := s.engine
	defer func() {
		if p := recover(); p != nil {
			out = Said{Ruling: e.failed(s.snapshot, nil, ReasonError, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))}
		}
	}()
	from := s
	if only != nil {
		from = s.narrowed(only)
	}
	p, sets, failed := from.ask(ctx, in, shown)
	if failed != nil {
		return Said{Ruling: failed}
	}
	grants := map[string]bool{}
	for _, pkg := range from.snapshot.packages {
		if grants[pkg.name] = pkg.has(entryAllow); pkg.has(entryAllow) {
			out.Spoke = append(out.Spoke, pkg.name)
		}
	}
	allowed := []elements{{pkg: "another", owner: "another", allowCounts: true, allow: []Reason{{ID: "another/allow", Effect: Allow, Owner: "another"}}}}
	guards := allowed
	for i := range sets {
		out.Allows = out.Allows || sets[i].allowCounts && len(sets[i].allow) > 0
		if name := sets[i].pkg; !grants[name] {
			guards = append(guards, sets[i])
			if sets[i].speaks() {
				out.Spoke = append(out.Spoke, name)
			}
		}
	}
	if len(guards) > 1 {
		out.Guards = combine(in.facts, guards)
	}
	out.Restrict = combine(in.facts, append(allowed[:1:1], sets...))
	slices.Sort(out.Spoke)
	out.Ruling = from.combined(p, in, sets)
	return out
}

func (e *elements) speaks() bool {
	return len(e.allow)+len(e.deny)+len(e.require)+len(e.masks)+len(e.limits)+len(e.record)+len(e.labels) > 0
}

// narrowed is the set with some of its packages alone. It is kept: a tool asks
// for few different ones.
func (s *Set) narrowed(only []string) *Set {
	key := strings.Join(only, " ")
	if kept, ok := s.narrow.Load(key); ok {
		return kept.(*Set)
	}
	next := &snapshot{
		bundles: s.snapshot.bundles, allowFrom: s.snapshot.allowFrom,
		compiler: s.snapshot.compiler, store: s.snapshot.store, txn: s.snapshot.txn,
	}
	for _, p := range s.snapshot.packages {
		if slices.Contains(only, p.name) {
			next.packages = append(next.packages, p)
		}
	}
	next.plans.Store(&map[planKey]*plan{})
	out := &Set{engine: s.engine, snapshot: next, infos: s.infos, sources: s.sources, tests: s.tests, refs: s.refs, deep: s.deep, narrow: &sync.Map{}}
	kept, _ := s.narrow.LoadOrStore(key, out)
	return kept.(*Set)
}
