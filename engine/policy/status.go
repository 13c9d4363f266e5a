package policy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Status is the engine's state for people and probes.
type Status struct {
	Ready       bool            `json:"ready"`
	Snapshot    uint64          `json:"snapshot"` // counts activations; 0 before the first
	ActivatedAt time.Time       `json:"activated_at"`
	Bundles     []BundleStatus  `json:"bundles"`  // sorted by name
	Packages    []PackageStatus `json:"packages"` // sorted by name
	Shadow      []ShadowFlip    `json:"shadow"`   // what would have been decided otherwise, by rule
	Counters    Counters        `json:"counters"`
}

// The modes of bundles and packages.
const (
	modeEnforce = "enforce"
	modeShadow  = "shadow"
)

// digest of a bundle in force, "" when there is none.
func (s Status) digest(bundle string) string {
	for _, b := range s.Bundles {
		if b.Name == bundle {
			return b.Digest
		}
	}
	return ""
}

// BundleStatus is the state of one configured bundle.
type BundleStatus struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Mode   string `json:"mode"` // enforce or shadow
	// StandsInFor are the bundles that a shadow bundle is evaluated in place of:
	// those whose roots it has.
	StandsInFor []string `json:"stands_in_for,omitempty"`
	// State is "pending" before the first activation, "active", or "stale" when
	// an older revision is in force because the last load failed.
	State         string    `json:"state"`
	Revision      string    `json:"revision"` // in force
	Digest        string    `json:"digest"`   // in force
	Sequence      *int64    `json:"sequence"` // in force: its place in the order of revisions; null where it has none
	Errors        []string  `json:"errors"`   // of the last load; empty when it was good
	ActivatedAt   time.Time `json:"activated_at"`
	LastAttempt   time.Time `json:"last_attempt"`
	LastGoodFetch time.Time `json:"last_good_fetch"` // the source answered, with news or without
}

// PackageStatus is one policy package in force.
type PackageStatus struct {
	Name      string   `json:"name"`   // below regate.policies
	Bundle    string   `json:"bundle"` // that it is of
	Protocols []string `json:"protocols"`
	Targets   []string `json:"targets"`
	Mode      string   `json:"mode"`
	Entries   []string `json:"entries"`
	Reads     []string `json:"reads"`     // paths below input; "*" means all
	Cacheable bool     `json:"cacheable"` // by what it reads and calls
}

// Counters count since the start.
type Counters struct {
	Evaluations       uint64 `json:"evaluations"` // uncached
	CacheHits         uint64 `json:"cache_hits"`
	CacheMisses       uint64 `json:"cache_misses"`
	Uncacheable       uint64 `json:"uncacheable"`
	Errors            uint64 `json:"errors"`
	Timeouts          uint64 `json:"timeouts"`
	Activations       uint64 `json:"activations"`
	ActivationsFailed uint64 `json:"activations_failed"`
	CacheEntries      uint64 `json:"cache_entries"`
	CacheBytes        uint64 `json:"cache_bytes"`
	ShadowEvaluations uint64 `json:"shadow_evaluations"`
	ShadowFlips       uint64 `json:"shadow_flips"`   // the effect would have been another
	ShadowDropped     uint64 `json:"shadow_dropped"` // not evaluated: the queue was full
}

type counters struct {
	evaluations, cacheHits, cacheMisses, uncacheable, errors, timeouts atomic.Uint64
	activations, activationsFailed                                     atomic.Uint64
	shadowEvaluations, shadowFlips, shadowDropped                      atomic.Uint64
}

// Counters returns what was counted since the start.
func (e *Engine) Counters() Counters {
	c := Counters{
		Evaluations: e.counters.evaluations.Load(), CacheHits: e.counters.cacheHits.Load(),
		CacheMisses: e.counters.cacheMisses.Load(), Uncacheable: e.counters.uncacheable.Load(),
		Errors: e.counters.errors.Load(), Timeouts: e.counters.timeouts.Load(),
		Activations: e.counters.activations.Load(), ActivationsFailed: e.counters.activationsFailed.Load(),
		ShadowEvaluations: e.counters.shadowEvaluations.Load(), ShadowFlips: e.counters.shadowFlips.Load(),
		ShadowDropped: e.counters.shadowDropped.Load(),
	}
	if s := e.current.Load(); s != nil {
		c.CacheEntries, c.CacheBytes = s.cache.size()
	}
	return c
}

// Status says what is in force and what is wrong.
func (e *Engine) Status() Status {
	out := Status{Ready: e.Ready() == nil, Bundles: []BundleStatus{}, Packages: []PackageStatus{}, Shadow: e.flips.list(), Counters: e.Counters()}
	s := e.current.Load()
	if s != nil {
		out.Snapshot, out.ActivatedAt = s.id, s.activatedAt
		for _, p := range s.packages {
			out.Packages = append(out.Packages, p.status())
		}
	}
	for _, w := range e.worlds {
		b, packages := w.status()
		out.Bundles = append(out.Bundles, b)
		out.Packages = append(out.Packages, packages...)
	}
	slices.SortStableFunc(out.Packages, func(a, b PackageStatus) int { return strings.Compare(a.Name, b.Name) })
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(e.bundles)) {
		b := *e.bundles[name]
		b.Errors = slices.Clone(b.Errors)
		out.Bundles = append(out.Bundles, b)
	}
	slices.SortFunc(out.Bundles, func(a, b BundleStatus) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func (p *pkg) status() PackageStatus {
	out := PackageStatus{
		Name: p.name, Bundle: p.bundle, Protocols: nonNil(p.protocols), Targets: nonNil(p.targets), Mode: modeEnforce,
		Entries: []string{}, Reads: p.reads.list(), Cacheable: newKeyPlan(p.reads).cacheable,
	}
	if p.shadow {
		out.Mode = modeShadow
	}
	for en := range entryCount {
		if p.has(en) {
			out.Entries = append(out.Entries, en.String())
		}
	}
	return out
}

// Ready returns nil when every bundle has been activated, or an error that
// says which has not and why.
func (e *Engine) Ready() error {
	s := e.current.Load()
	if s != nil && len(s.missing) == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return errors.New("the policy engine is closed")
	}
	var all []error
	for _, name := range slices.Sorted(maps.Keys(e.bundles)) {
		if b := e.bundles[name]; b.State == statePending {
			why := "not loaded yet"
			if len(b.Errors) > 0 {
				why = strings.Join(b.Errors, "; ")
			}
			all = append(all, fmt.Errorf("policy bundle %q: %s", name, why))
		}
	}
	if len(all) == 0 {
		all = append(all, errors.New("no policy bundle is configured"))
	}
	return errors.Join(all...)
}

// The states of a bundle.
const (
	statePending = "pending"
	stateActive  = "active"
	stateStale   = "stale"
)

// loaded notes the outcome of asking a source for a bundle.
func (e *Engine) loaded(name string, problems []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.bundles[name]
	b.LastAttempt = time.Now().UTC()
	b.Errors = nonNil(problems)
	switch {
	case len(problems) == 0:
		b.LastGoodFetch = b.LastAttempt
		if b.State == stateStale {
			b.State = stateActive
		}
	case b.State == stateActive:
		b.State = stateStale
	}
}

// inForce notes the bundles of a new snapshot.
func (e *Engine) inForce(s *snapshot) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for name, ref := range s.bundles {
		b := e.bundles[name]
		if b == nil {
			continue
		}
		if b.Digest != ref.Digest || b.State == statePending {
			b.ActivatedAt = s.activatedAt
		}
		if b.State == statePending {
			b.State = stateActive
		}
		if b.Digest != ref.Digest {
			e.flips.forget(name)
		}
		b.Revision, b.Digest, b.Sequence = ref.Revision, ref.Digest, nil
		if at, ok := s.newest[name]; ok {
			b.Sequence = &at.Sequence
		}
	}
}

// Subscribe calls fn after each activation, from a goroutine of the engine.
// Several activations close together may be one call. fn may call
// cancel.
func (e *Engine) Subscribe(fn func()) (cancel func()) {
	ctx, stop := context.WithCancel(e.ctx)
	signal := make(chan struct{}, 1)
	e.mu.Lock()
	e.nextSubscriber++
	id := e.nextSubscriber
	e.subscribers[id] = signal
	e.mu.Unlock()
	e.background.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-signal:
				fn()
			}
		}
	})
	return func() {
		stop()
		e.mu.Lock()
		delete(e.subscribers, id)
		e.mu.Unlock()
	}
}

func (e *Engine) announce() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, signal := range e.subscribers {
		select {
		case signal <- struct{}{}:
		default:
		}
	}
}

// metric is one counter as Prometheus sees it.
type metric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(Counters) uint64
}

func metrics() []metric {
	m := func(name, help string, kind prometheus.ValueType, value func(Counters) uint64) metric {
		return metric{prometheus.NewDesc("regate_policy_"+name, help, nil, nil), kind, value}
	}
	counter, gauge := prometheus.CounterValue, prometheus.GaugeValue
	return []metric{
		m("evaluations_total", "Documents evaluated, not served from the cache.", counter, func(c Counters) uint64 { return c.Evaluations }),
		m("cache_hits_total", "Decisions served from the cache.", counter, func(c Counters) uint64 { return c.CacheHits }),
		m("cache_misses_total", "Decisions looked for in the cache and not found.", counter, func(c Counters) uint64 { return c.CacheMisses }),
		m("uncacheable_total", "Decisions that may not be cached, by what the policies read.", counter, func(c Counters) uint64 { return c.Uncacheable }),
		m("errors_total", "Evaluations that failed and so denied, timeouts included.", counter, func(c Counters) uint64 { return c.Errors }),
		m("timeouts_total", "Evaluations that took too long and so denied.", counter, func(c Counters) uint64 { return c.Timeouts }),
		m("activations_total", "Snapshots put in force.", counter, func(c Counters) uint64 { return c.Activations }),
		m("activations_failed_total", "Candidates refused.", counter, func(c Counters) uint64 { return c.ActivationsFailed }),
		m("cache_entries", "Decisions in the cache.", gauge, func(c Counters) uint64 { return c.CacheEntries }),
		m("cache_bytes", "Estimated memory of the cache.", gauge, func(c Counters) uint64 { return c.CacheBytes }),
		m("shadow_evaluations_total", "Evaluations of a shadow package.", counter, func(c Counters) uint64 { return c.ShadowEvaluations }),
		m("shadow_flips_total", "Shadow evaluations that would have changed the effect.", counter, func(c Counters) uint64 { return c.ShadowFlips }),
		m("shadow_dropped_total", "Documents that shadow packages did not see: the queue was full.", counter, func(c Counters) uint64 { return c.ShadowDropped }),
	}
}

// newTook measures evaluations, not decisions from the cache: its buckets begin
// where a small policy is and end at the default timeout.
func newTook() prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "regate_policy_evaluation_seconds", Help: "How long evaluations took, those from the cache left out.",
		Buckets: []float64{50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 250e-3},
	})
}

// Describe implements prometheus.Collector.
func (e *Engine) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range e.metrics {
		ch <- m.desc
	}
	e.took.Describe(ch)
	ch <- flipDesc
	ch <- changeDesc
}

// Collect implements prometheus.Collector.
func (e *Engine) Collect(ch chan<- prometheus.Metric) {
	c := e.Counters()
	for _, m := range e.metrics {
		ch <- prometheus.MustNewConstMetric(m.desc, m.kind, float64(m.value(c)))
	}
	e.took.Collect(ch)
	e.flips.collect(ch)
}
