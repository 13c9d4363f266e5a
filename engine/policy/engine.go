package policy

import (
	"context"
	"errors"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// Engine evaluates documents against the bundles in force.
type Engine struct{}

// New starts an engine: it checks cfg, loads local bundles and starts to poll
// remote ones. A bundle that does not load is not an error here: the engine
// denies everything, Ready says why, and loading goes on. ctx bounds the start
// alone.
func New(ctx context.Context, cfg Config) (*Engine, error) { return nil, errors.ErrUnsupported }

// Evaluate decides one document. It never returns nil and never panics: what
// goes wrong is a ruling that denies.
func (e *Engine) Evaluate(ctx context.Context, doc *input.Document) *Ruling { return &Ruling{} }

// Reads reports whether any package in force for p, shadow packages included,
// reads input.<path>, any part of it or all that it is part of.
func (e *Engine) Reads(p input.Protocol, path ...string) bool { return true }

// Status says what is in force and what is wrong.
func (e *Engine) Status() Status { return Status{} }

// Ready returns nil when every bundle has been activated, or an error that
// says which has not and why.
func (e *Engine) Ready() error { return errors.ErrUnsupported }

// Subscribe calls fn after each activation, from a goroutine of the engine.
func (e *Engine) Subscribe(fn func()) (cancel func()) { return func() {} }

// Close stops polling and watching. Evaluate works on with what is in force.
func (e *Engine) Close(ctx context.Context) error { return nil }

// Status is the engine's state for people and probes.
type Status struct {
	Ready       bool            `json:"ready"`
	Snapshot    uint64          `json:"snapshot"` // counts activations; 0 before the first
	ActivatedAt time.Time       `json:"activated_at"`
	Bundles     []BundleStatus  `json:"bundles"`  // sorted by name
	Packages    []PackageStatus `json:"packages"` // sorted by name
	Counters    Counters        `json:"counters"`
}

// BundleStatus is the state of one configured bundle.
type BundleStatus struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	// State is "pending" before the first activation, "active", or "stale" when
	// an older revision is in force because the last load failed.
	State         string    `json:"state"`
	Revision      string    `json:"revision"` // in force
	Digest        string    `json:"digest"`   // in force
	Errors        []string  `json:"errors"`   // of the last load; empty when it was good
	ActivatedAt   time.Time `json:"activated_at"`
	LastAttempt   time.Time `json:"last_attempt"`
	LastGoodFetch time.Time `json:"last_good_fetch"` // the source answered, with news or without
}

// PackageStatus is one policy package in force.
type PackageStatus struct {
	Name      string   `json:"name"` // below regate.policies
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
}
