package policy

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// WithOptimisations returns the same policies, evaluated with or without OPA's
// rule index and early exit, which must make no difference.
func (s *Set) WithOptimisations(indexing, earlyExit bool) *Set {
	out := *s
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
	out.snapshot = next
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

// DecideGuards is Decide, and says beside what the packages that have no allow of
// their own would make of the document together if another one allowed it. Such
// packages restrict what others allow; alone they would always deny. guards is
// nil where there are none, and where the decision is a denial because something
// went wrong: then nothing is let through.
func (s *Set) DecideGuards(ctx context.Context, in *Input, shown *ast.Term) (r, guards *Ruling) {
	e := s.engine
	defer func() {
		if p := recover(); p != nil {
			r, guards = e.failed(s.snapshot, nil, ReasonError, fmt.Errorf("panic: %v\n%s", p, debug.Stack())), nil
		}
	}()
	p, sets, failed := s.ask(ctx, in, shown)
	if failed != nil {
		return failed, nil
	}
	grants := map[string]bool{}
	for _, pkg := range s.snapshot.packages {
		grants[pkg.name] = pkg.has(entryAllow)
	}
	only := []elements{{pkg: "another", owner: "another", allowCounts: true, allow: []Reason{{ID: "another/allow", Effect: Allow, Owner: "another"}}}}
	for i := range sets {
		if !grants[sets[i].pkg] {
			only = append(only, sets[i])
		}
	}
	if len(only) > 1 {
		guards = combine(in.facts, only)
	}
	return s.combined(p, in, sets), guards
}
