package backtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// Write puts the draft's files into a folder, which must be empty or not exist.
func (s *Suggestion) Write(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the draft: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("write the draft: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("write the draft: %s is not empty: it may hold somebody's work", dir)
	}
	for name, text := range s.Files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return fmt.Errorf("write the draft: %w", err)
		}
	}
	return nil
}

// prove puts the agent's requests to the draft alone.
func (s *Suggestion) prove(ctx context.Context, source corpus.Source, covered map[string]bool, o *SuggestOptions, verdicts *recordedVerdicts) error {
	dir, err := os.MkdirTemp("", "regate-draft-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := s.Write(filepath.Join(dir, "draft")); err != nil {
		return err
	}
	set, err := policy.LoadSet(ctx, policy.SetOptions{Paths: []string{filepath.Join(dir, "draft")}, SkipTests: true, EnforceShadow: true})
	if err != nil {
		return fmt.Errorf("the draft does not load: %w", err)
	}
	p := &prover{judge: newJudge(set), covered: covered, options: o, verdicts: verdicts, examples: sample[Example]{most: 2 * o.Examples, order: earlier}}
	readers := make([]*reader, o.Workers)
	for i := range readers {
		readers[i] = newReader()
	}
	work(ctx, source, &o.Options, func(i int, r *corpus.Recorded) { p.take(ctx, r, readers[i]) }) // what cannot be read was noted the first time
	s.Interrupted = ctx.Err() != nil
	s.Proof = p.proof
	s.Proof.StillDenied = p.still.list()
	s.Proof.Examples = append([]Example{}, p.examples.kept...)
	return nil
}

type prover struct {
	judge    *judge
	covered  map[string]bool
	options  *SuggestOptions
	verdicts *recordedVerdicts

	mu       sync.Mutex
	proof    Proof
	still    counts
	examples sample[Example]
}

func (p *prover) take(ctx context.Context, r *corpus.Recorded, reader *reader) {
	v := p.verdicts.of(r)
	if v == nil || r.Stage == string(input.StageResponse) || text(r.Entry("schema")) != input.Schema {
		return
	}
	wanted := false
	if v.effect == policy.Allow {
		shape, why := uncovered(r, v, p.verdicts.shapes, p.options)
		wanted = why == "" && p.covered[shape.name]
	}
	f := reader.read(r)
	out, _ := p.judge.of(ctx, r, f.target.Name, nil)
	if ctx.Err() != nil {
		return
	}
	allows := out.verdict.effect == policy.Allow
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case wanted && allows:
		p.proof.Allows++
		return
	case wanted:
		p.proof.Misses++
	case !allows:
		return
	case v.asked || v.effect != policy.Allow && !slices.Contains(v.ids(), policy.ReasonNoAllow) && !v.failed:
		for _, id := range v.ids() {
			p.still.add(id, 1)
		}
		return
	default:
		p.proof.Widens++
	}
	e := Example{
		DecisionID: r.At(), Time: r.Time, Stage: r.Stage, Agent: f.agent.String(), Target: f.target.Name, Verb: f.action.Verb, Tables: f.res.tables(),
		Was: Side{v.word(), v.ids()}, Now: Side{out.verdict.word(), out.verdict.ids()},
	}
	if p.examples.wants(e) {
		if p.options.Statement != nil {
			e.Statement = p.options.Statement(r)
		}
		p.examples.add(e)
	}
}
