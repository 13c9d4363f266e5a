package policy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/open-policy-agent/opa/v1/plugins"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	opacache "github.com/open-policy-agent/opa/v1/topdown/cache"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/input"
)

const defaultTimeout = 250 * time.Millisecond

// Engine evaluates documents against the bundles in force. It is a
// prometheus.Collector of its counters.
type Engine struct {
	cfg      Config
	log      logrus.FieldLogger
	terms    terms
	values   opacache.InterQueryValueCache // compiled patterns and the like
	current  atomic.Pointer[snapshot]
	counters counters
	metrics  []metric
	took     prometheus.Histogram // seconds of evaluations

	noBundle *Ruling

	manager *plugins.Manager
	pollers []*poller
	local   *localBundles
	worlds  []*world // one for each shadow bundle
	flips   *flips
	owners  map[string]string // OPA's name of a bundle → configured name
	newest  *sequences
	shadow  chan shadowJob

	ctx        context.Context // of everything in the background
	stop       context.CancelFunc
	background sync.WaitGroup

	mu             sync.Mutex
	closed         bool
	bundles        map[string]*BundleStatus
	subscribers    map[int]chan struct{}
	nextSubscriber int

	// For the tests that hold evaluation with and without them equal.
	noIndexing, noEarlyExit, wholeInput bool
}

// New starts an engine: it checks cfg, loads local bundles and starts to poll
// remote ones. A bundle that does not load is not an error here: the engine
// denies everything, Ready says why, and loading goes on. ctx bounds the start
// alone.
func New(ctx context.Context, cfg Config) (*Engine, error) {
	if err := cfg.Check(); err != nil {
		return nil, fmt.Errorf("policy configuration: %w", err)
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultTimeout
	}
	cfg.Bundles = slices.Clone(cfg.Bundles) // the caller may go on with its own
	e := prepare(cfg)
	e.ctx, e.stop = context.WithCancel(context.WithoutCancel(ctx))
	e.values = opacache.NewInterQueryValueCache(e.ctx, nil)
	var err error
	if e.newest, err = openSequences(cfg.Dir); err != nil {
		e.stop()
		return nil, err
	}
	for _, b := range cfg.Bundles {
		if b.Shadow {
			e.worlds = append(e.worlds, e.newWorld(b))
		}
	}
	store := &gatedStore{Store: inmem.New(), check: e.check, keep: e.keep, commit: e.commit, closed: e.isClosed}
	if err = e.startBundles(ctx, store); err == nil {
		err = e.startWorlds(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, e.Close(context.WithoutCancel(ctx)))
	}
	e.background.Go(e.runShadow)
	return e, nil
}

// prepare is an engine that has not begun to load or to evaluate.
func prepare(cfg Config) *Engine {
	e := &Engine{
		cfg: cfg, log: cfg.Logger, metrics: metrics(), took: newTook(), flips: newFlips(),
		owners: map[string]string{}, bundles: map[string]*BundleStatus{}, subscribers: map[int]chan struct{}{},
		shadow:   make(chan shadowJob, shadowQueue),
		noBundle: &Ruling{Reasons: []Reason{engineReason(ReasonNoBundle)}, Obligations: []Obligation{}, Errors: []string{}},
	}
	if e.log == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		e.log = quiet
	}
	for _, b := range cfg.Bundles {
		if !b.Shadow {
			e.bundles[b.Name] = &BundleStatus{Name: b.Name, Source: b.source(), Mode: modeEnforce, State: statePending, Errors: []string{}}
		}
	}
	return e
}

// check builds the snapshot that a candidate would put in force.
func (e *Engine) check(c candidate) (*snapshot, error) {
	next, err := build(c)
	if err != nil {
		e.counters.activationsFailed.Add(1)
		return nil, err
	}
	next.allowFrom = e.cfg.AllowFrom
	next.cache = newCache(e.cfg.Cache)
	next.candidate, next.beside = c, e.beside
	next.bundles = e.refs(c)
	for _, p := range next.packages {
		if id, ok := owningBundle(c.bundles, p.file); ok {
			p.bundle = e.owners[id]
		}
	}
	for name := range e.bundles {
		if _, ok := next.bundles[name]; !ok {
			next.missing = append(next.missing, name)
		}
	}
	slices.Sort(next.missing)
	if err := e.order(c, next); err != nil {
		e.counters.activationsFailed.Add(1)
		return nil, err
	}
	return next, nil
}

// order refuses revisions that are older than what was in force, and notes for
// next what is.
func (e *Engine) order(c candidate, next *snapshot) error {
	next.newest = map[string]Sequenced{}
	var problems []error
	for _, b := range e.cfg.Bundles {
		for id, source := range b.sources() {
			found, ok := c.bundles[id]
			if !ok {
				continue
			}
			if !b.AllowRollback {
				if err := e.newest.check(source, found.ref, found.sequence); err != nil {
					problems = append(problems, err)
				}
			}
			if found.sequence == nil {
				next.unordered = append(next.unordered, source)
				continue
			}
			next.newest[source] = Sequenced{Sequence: *found.sequence, Revision: found.ref.Revision, Digest: found.ref.Digest}
		}
	}
	return errors.Join(problems...)
}

// keep remembers the revisions that are about to be in force.
func (e *Engine) keep(next *snapshot) error {
	if err := e.newest.keep(next.newest, next.unordered); err != nil {
		e.counters.activationsFailed.Add(1)
		return err
	}
	return nil
}

// refs names the bundles of a candidate as configured. A bundle of several
// paths is there when all of them are.
func (e *Engine) refs(c candidate) map[string]BundleRef {
	ids := map[string][]string{}
	for id, name := range e.owners {
		ids[name] = append(ids[name], id)
	}
	out := map[string]BundleRef{}
	for name, of := range ids {
		slices.Sort(of)
		var refs []BundleRef
		for _, id := range of {
			if b, ok := c.bundles[id]; ok {
				refs = append(refs, b.ref)
			}
		}
		if len(refs) == len(of) {
			out[name] = joinRefs(refs)
		}
	}
	return out
}

// commit puts a checked snapshot in force. The store calls it for one commit at
// a time.
func (e *Engine) commit(next *snapshot) {
	next.id = 1
	if old := e.current.Load(); old != nil {
		next.id = old.id + 1
	}
	if len(next.bundles) == 0 && next.id == 1 {
		return // the plugin manager's first, empty commit
	}
	txn, err := next.store.NewTransaction(e.ctx)
	if err != nil { // never, in memory
		e.log.WithError(err).Error("open a transaction on the new policies")
		return
	}
	next.txn = txn
	next.activatedAt = time.Now().UTC()
	e.mu.Lock()
	closed := e.closed
	if !closed {
		e.current.Store(next)
	}
	e.mu.Unlock()
	if closed {
		return
	}
	e.counters.activations.Add(1)
	e.inForce(next)
	for _, w := range e.worlds {
		select {
		case w.based <- struct{}{}:
		default:
		}
	}
	names := slices.Sorted(maps.Keys(next.bundles))
	what := "policies in force"
	if next.base > 0 {
		what = "a shadow bundle is evaluated beside the policies in force"
	}
	e.log.WithFields(logrus.Fields{"snapshot": next.id, "bundles": names, "packages": len(next.packages), "missing": next.missing}).Info(what)
	e.announce()
}

// Reads reports whether any package in force for p, shadow packages included,
// reads input.<path>, any part of it or all that it is part of. Below two keys
// it answers for the second.
func (e *Engine) Reads(p input.Protocol, path ...string) bool {
	s := e.current.Load()
	if s == nil {
		return false
	}
	key := readsKey{protocol: p}
	kept := copy(key.path[:], path) == len(path) // else deeper than anybody asks
	known := s.asked.Load()
	if known != nil && kept {
		for i := range *known {
			if a := &(*known)[i]; a.readsKey == key {
				return a.answer
			}
		}
	}
	found := slices.ContainsFunc(s.packages, func(c *pkg) bool {
		return (c.protocols == nil || slices.Contains(c.protocols, string(p))) && c.reads.reads(path...)
	}) || e.worldsRead(p, path)
	if kept {
		var all []readsAnswer
		if known != nil {
			all = slices.Clone(*known)
		}
		all = append(all, readsAnswer{key, found})
		s.asked.CompareAndSwap(known, &all) // else it is found again
	}
	return found
}

// readsAnswer is what Reads has answered. There are few: they are looked
// through faster than anything is looked up.
type readsAnswer struct {
	readsKey
	answer bool
}

// readsKey is one question that Reads was asked.
type readsKey struct {
	protocol input.Protocol
	path     [2]string
}

// Refresh asks every source for its bundle now and returns when all have
// answered. What they answered is in the status.
func (e *Engine) Refresh(ctx context.Context) error {
	e.local.load(ctx)
	for _, p := range e.pollers {
		if err := p.refresh(ctx); err != nil {
			return fmt.Errorf("ask for bundle %q: %w", p.bundle.Name, err)
		}
	}
	for _, w := range e.worlds {
		if err := w.inner.Refresh(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Close takes what is in force out of force, and stops polling and watching.
// Evaluate then denies with engine/no-bundle: close the engine after everything
// that asks it.
func (e *Engine) Close(ctx context.Context) error {
	e.mu.Lock()
	e.closed = true
	e.current.Store(nil)
	e.mu.Unlock()
	e.stop()
	done := make(chan error, 1)
	go func() {
		err := e.closeWorlds(ctx)
		if e.local != nil {
			e.local.close()
		}
		e.background.Wait()
		if e.manager != nil { // the start failed
			e.manager.Stop(ctx)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("close the policy engine: %w", context.Cause(ctx))
	}
}

func (e *Engine) isClosed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.closed
}

// source describes where a bundle comes from, without credentials.
func (b Bundle) source() string {
	if len(b.Paths) > 0 {
		return strings.Join(b.Paths, ", ")
	}
	return redactURL(b.URL)
}
