package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/storage/inmem"

	"github.com/regate-dev/regate/engine/input"
)

// world is the policies as they would be if one shadow bundle were in force: the
// enforced bundles but those whose roots it has, and the bundle in their place.
// It is an engine of its own with a store of its own, so that nothing of the
// bundle, neither a library nor data nor a mistake, can reach what decides.
type world struct {
	parent *Engine
	inner  *Engine // loads the bundle and evaluates; nobody but the parent asks it
	name   string
	based  chan struct{} // the enforced bundles have changed

	mu      sync.Mutex
	own     *candidate // the bundle as it was loaded last; nil: not yet
	replace []string   // enforced bundles that it stands in for, by configured name
	problem string     // why the bundle does not fit what is enforced now; "": it does
}

// startWorlds begins to load the shadow bundles.
func (e *Engine) startWorlds(ctx context.Context) error {
	for _, w := range e.worlds {
		store := &gatedStore{Store: inmem.New(), beside: w.beside, check: w.check, keep: w.inner.keep, commit: w.commit, closed: w.inner.isClosed}
		if err := w.inner.startBundles(ctx, store); err != nil {
			return fmt.Errorf("shadow bundle %q: %w", w.name, err)
		}
		e.background.Go(func() { w.follow(w.inner.ctx) })
	}
	return nil
}

func (e *Engine) newWorld(b Bundle) *world {
	b.Shadow = false
	cfg := e.cfg
	cfg.Bundles, cfg.Cache, cfg.OnShadow = []Bundle{b}, CacheConfig{Disabled: true}, nil
	if cfg.Dir != "" {
		cfg.Dir = filepath.Join(cfg.Dir, "shadow") // two of OPA's managers must not share a folder
	}
	inner := prepare(cfg)
	inner.ctx, inner.stop = context.WithCancel(e.ctx)
	inner.values, inner.newest = e.values, e.newest
	inner.log = e.log.WithField("shadow", true)
	return &world{parent: e, inner: inner, name: b.Name, based: make(chan struct{}, 1)}
}

// beside are the modules of what is enforced.
func (w *world) beside() map[string][]byte {
	if base := w.parent.current.Load(); base != nil {
		return base.candidate.modules
	}
	return nil
}

// inspect loads the bundle once and returns why it would be refused.
func (w *world) inspect(ctx context.Context, refs map[string]BundleRef) []string {
	defer w.inner.stop()
	note := func(next *snapshot) { maps.Copy(refs, next.bundles) }
	l := &localBundles{engine: w.inner, store: &gatedStore{Store: inmem.New(), beside: w.beside, check: w.check, commit: note, closed: w.inner.isClosed}}
	b := w.inner.cfg.Bundles[0]
	for _, id := range b.ids() {
		w.inner.owners[id] = b.Name
	}
	l.add(b)
	l.load(ctx)
	return w.inner.bundles[w.name].Errors
}

// check builds the world that a candidate of the shadow bundle would make.
func (w *world) check(c candidate) (*snapshot, error) {
	next, replaced, err := w.build(c)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(c.bundles) > 0 {
		w.own = &c
	}
	w.replace, w.problem = replaced, ""
	return next, nil
}

func (w *world) build(c candidate) (*snapshot, []string, error) {
	merged, replaced, base := c, []string(nil), w.parent.current.Load()
	if base != nil {
		var ids []string
		merged, ids = standIn(base.candidate, c)
		for _, id := range ids {
			if name := w.parent.owners[id]; !slices.Contains(replaced, name) {
				replaced = append(replaced, name)
			}
		}
		slices.Sort(replaced)
	}
	next, err := w.inner.check(merged)
	if err != nil {
		return nil, nil, err
	}
	if base != nil {
		next.base = base.id
	}
	return next, replaced, nil
}

func (w *world) commit(next *snapshot) {
	old := w.inner.Status().digest(w.name)
	w.inner.commit(next)
	if ref, ok := next.bundles[w.name]; ok && ref.Digest != old {
		w.parent.flips.forget(w.name)
	}
	w.parent.widen()
}

// follow builds the world anew when what is enforced has changed.
func (w *world) follow(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.based:
			w.rebase(ctx)
		}
	}
}

func (w *world) rebase(ctx context.Context) {
	w.mu.Lock()
	own := w.own
	w.mu.Unlock()
	if own == nil { // it may have been refused for want of what is there now
		_ = w.inner.Refresh(ctx) // its status has what is wrong
		return
	}
	next, replaced, err := w.build(*own)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.own != own {
		return // a newer one was loaded meanwhile, and built with what is enforced
	}
	if err != nil {
		w.problem = "it does not fit the enforced bundles any more: " + strings.Join(problemList(err), "; ")
		w.inner.log.WithField("bundle", w.name).Warn(w.problem)
		return
	}
	w.replace, w.problem = replaced, ""
	w.inner.commit(next)
	w.parent.widen()
}

// ask decides a document as it would be decided if the bundle were in force. ok
// is false where there is nothing to compare with the ruling of base.
func (w *world) ask(job *shadowJob) (out ShadowRuling, ok bool) {
	s := w.inner.current.Load()
	if s == nil || len(s.missing) > 0 || s.base != job.plan.snapshot.id {
		return out, false
	}
	out = ShadowRuling{Bundle: w.name, Effect: Deny, Reasons: []Reason{engineReason(ReasonError)}, Obligations: []Obligation{}}
	defer func() {
		if p := recover(); p != nil {
			out.Errors = []string{fmt.Sprintf("panic: %v", p)}
		}
	}()
	doc := &job.doc
	p, err := s.plan(planKey{doc.Protocol, doc.Stage, targetName(doc)})
	if err == nil {
		var in *ast.Term
		if in, err = w.inner.terms.document(doc, p.reads); err == nil {
			var sets []elements
			sets, err = w.inner.ask(w.inner.ctx, s, &p.enforced, in, question{protocol: doc.Protocol, now: doc.Time})
			if err == nil {
				r := combine(job.facts, sets)
				return ShadowRuling{Bundle: w.name, Effect: r.Effect, Reasons: r.Reasons, Obligations: r.Obligations, Errors: []string{}}, true
			}
		}
	}
	out.Errors = []string{err.Error()}
	return out, true
}

// status is the bundle's and its packages' state.
func (w *world) status() (BundleStatus, []PackageStatus) {
	inner := w.inner.Status()
	w.mu.Lock()
	defer w.mu.Unlock()
	b := inner.Bundles[0]
	b.Mode, b.StandsInFor = modeShadow, nonNil(slices.Clone(w.replace))
	if w.problem != "" {
		b.Errors = append(b.Errors, w.problem)
		b.State = stateStale
	}
	var packages []PackageStatus
	for _, p := range inner.Packages {
		if p.Bundle == w.name {
			p.Mode = modeShadow
			packages = append(packages, p)
		}
	}
	return b, packages
}

// widen makes decisions depend on what the worlds read, too: a document that
// differs only in that is one that they have not seen.
func (e *Engine) widen() {
	if s := e.current.Load(); s != nil {
		s.forgetPlans()
	}
}

// beside is what the worlds read to decide the documents of one plan.
func (e *Engine) beside(key planKey) readSet {
	out := readSet{}
	for _, w := range e.worlds {
		s := w.inner.current.Load()
		if s == nil {
			continue
		}
		for _, p := range s.packages {
			if !p.shadow && p.applies(key.protocol, key.target) {
				out = out.union(p.reads)
			}
		}
	}
	return out
}

// standIn is base with own in the place of those bundles whose roots overlap
// with one of own's. It returns OPA's names of the bundles that are gone.
func standIn(base, own candidate) (candidate, []string) {
	var gone []string
	for id, b := range base.bundles {
		if overlap(b.roots, rootsOf(own)) {
			gone = append(gone, id)
		}
	}
	slices.Sort(gone)
	out := candidate{bundles: maps.Clone(base.bundles), modules: map[string][]byte{}, data: base.data}
	for id, raw := range base.modules {
		if owner, ok := owningBundle(base.bundles, id); !ok || !slices.Contains(gone, owner) {
			out.modules[id] = raw
		}
	}
	for _, id := range gone {
		for _, root := range out.bundles[id].roots {
			out.data = prune(out.data, splitRoot(root))
		}
		delete(out.bundles, id)
	}
	maps.Copy(out.bundles, own.bundles)
	maps.Copy(out.modules, own.modules)
	for _, root := range rootsOf(own) {
		path := splitRoot(root)
		if t := valueAt(own.data, path); t != nil {
			out.data = graft(out.data, path, t)
		}
	}
	return out, gone
}

func rootsOf(c candidate) []string {
	var out []string
	for _, b := range c.bundles {
		out = append(out, b.roots...)
	}
	return out
}

func overlap(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool { return bundle.RootPathsOverlap(x, y) })
	})
}

// splitRoot returns the keys of a root; none for the root of all.
func splitRoot(root string) []string {
	if root = strings.Trim(root, "/"); root == "" {
		return nil
	}
	return strings.Split(root, "/")
}

func valueAt(obj ast.Object, path []string) *ast.Term {
	t := ast.NewTerm(obj)
	for _, key := range path {
		o, ok := t.Value.(ast.Object)
		if !ok {
			return nil
		}
		if t = o.Get(ast.StringTerm(key)); t == nil {
			return nil
		}
	}
	return t
}

// prune is a copy of obj that lacks what is at path.
func prune(obj ast.Object, path []string) ast.Object {
	out := ast.NewObject()
	if len(path) == 0 {
		return out
	}
	head := ast.StringTerm(path[0])
	obj.Foreach(func(k, v *ast.Term) {
		if !k.Equal(head) {
			out.Insert(k, v)
			return
		}
		if inner, ok := v.Value.(ast.Object); ok && len(path) > 1 {
			out.Insert(k, ast.NewTerm(prune(inner, path[1:])))
		}
	})
	return out
}

// graft is a copy of obj that holds t at path.
func graft(obj ast.Object, path []string, t *ast.Term) ast.Object {
	if len(path) == 0 {
		if whole, ok := t.Value.(ast.Object); ok {
			return whole
		}
		return obj
	}
	out := ast.NewObject()
	head := ast.StringTerm(path[0])
	inner := ast.NewObject()
	obj.Foreach(func(k, v *ast.Term) {
		if !k.Equal(head) {
			out.Insert(k, v)
		} else if o, ok := v.Value.(ast.Object); ok {
			inner = o
		}
	})
	if len(path) > 1 {
		t = ast.NewTerm(graft(inner, path[1:], t))
	}
	out.Insert(head, t)
	return out
}

// closeWorlds stops them all.
func (e *Engine) closeWorlds(ctx context.Context) error {
	var errs []error
	for _, w := range e.worlds {
		errs = append(errs, w.inner.Close(ctx))
	}
	return errors.Join(errs...)
}

// worldsRead reports whether a world reads a path of the documents of a
// protocol.
func (e *Engine) worldsRead(p input.Protocol, path []string) bool {
	return slices.ContainsFunc(e.worlds, func(w *world) bool {
		s := w.inner.current.Load()
		return s != nil && slices.ContainsFunc(s.packages, func(c *pkg) bool {
			return (c.protocols == nil || slices.Contains(c.protocols, string(p))) && c.reads.reads(path...)
		})
	})
}
