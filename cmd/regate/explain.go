package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/policy/explain"
	"github.com/regate-dev/regate/engine/record"
)

// explainTimeout bounds one evaluation of the search, explainTries how many there
// are, explainWhole all together: it runs beside the decisions.
const (
	explainTimeout = time.Second
	explainTries   = 1_000
	explainWhole   = 20 * time.Second
)

// explainer explains decisions of this gateway's own recordings by the policies
// in force. nil: it has none.
func (g *gateway) explainer() func(ctx context.Context, id, stage string) (any, error) {
	if g.recorder == nil {
		return nil
	}
	return func(ctx context.Context, id, stage string) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, explainWhole)
		defer cancel()
		session, turn, err := parseDecisionID(id)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", console.ErrNoDecision, err)
		}
		set, err := g.policy.Set(explainTimeout)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", console.ErrNotExplained, err)
		}
		key, err := receiptKey(g.cfg)
		if err != nil {
			return nil, err
		}
		bucket, err := openBucket(ctx, g.cfg.Record.Archive.URL)
		if err != nil {
			return nil, err
		}
		defer func() { _ = bucket.Close() }() // only read
		public, _ := key.Public().(ed25519.PublicKey)
		all := &recordings{archive: record.OpenArchive(bucket, filepath.Join(g.cfg.State.Dir, "spool")), key: public, progress: &progress{}}
		all.sessions = func(_ context.Context, each func(found) error) error { return each(found{id: session}) }
		r, err := lastDecision(all.source(ctx), turn, stage)
		if errors.Is(err, errNoDecision) {
			return nil, console.ErrNoDecision // what else is wrong names files
		}
		if err != nil {
			return nil, err
		}
		return explain.Explain(ctx, explain.Options{Set: set, Input: r.Input, Recorded: asRecorded(r), MaxTries: explainTries})
	}
}
