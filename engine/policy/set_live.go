package policy

import (
	"errors"
	"time"
)

// errNothing says that there are no policies to look at.
var errNothing = errors.New("no policies are in force")

// Set returns the policies that are in force now, for tools: to explain a
// decision by what decides here. It stays as it is when others come into force.
// Its evaluations count for nothing and take at most timeout each; 0 means 10 s.
func (e *Engine) Set(timeout time.Duration) (*Set, error) {
	next := e.current.Load()
	if next == nil || len(next.missing) > 0 {
		return nil, errNothing
	}
	cfg := Config{Timeout: timeout, AllowFrom: e.cfg.AllowFrom, DetectKinds: e.cfg.DetectKinds}
	if cfg.Timeout <= 0 {
		cfg.Timeout = defaultSetTimeout
	}
	s := &Set{
		engine: &Engine{cfg: cfg, values: e.values}, snapshot: next, sources: next.candidate.modules,
		refs: next.bundles, deep: map[string][][]string{},
	}
	s.describe(next.candidate, e.owners)
	return s, nil
}
