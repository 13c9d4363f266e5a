package backtest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// Options say how to work through recorded decisions.
type Options struct {
	// Workers evaluate at once. 0 means one for each core.
	Workers int
	// Examples is how many decisions stand for each kind of change. 0 means 3.
	Examples int
	// Statement returns what a person may read of a request: one line, without
	// the values in it. Nil: verb and tables alone.
	Statement func(r *corpus.Recorded) string
	// Counter counts while it goes on. Nil: nobody looks.
	Counter *Counter
}

// Counter counts what was done so far.
type Counter struct {
	Decisions atomic.Int64 // read
	Evaluated atomic.Int64 // inputs that were evaluated, each once
}

const defaultExamples = 3

func (o Options) filled() Options {
	if o.Workers <= 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Examples <= 0 {
		o.Examples = defaultExamples
	}
	if o.Counter == nil {
		o.Counter = &Counter{}
	}
	return o
}

// Replay asks candidate about every decision of the source and compares what it
// says with what was decided. baseline, where it is not nil, is what decided
// them: each decision is put to it first, and one that it does not reproduce is
// counted apart and compares with nothing. A decision that comes without its
// ruling is compared with what baseline says.
//
// When ctx ends, the report is of what was read until then, and Interrupted.
func Replay(ctx context.Context, source corpus.Source, candidate, baseline *policy.Set, o Options) (*Report, error) {
	if candidate == nil {
		return nil, errors.New("replay: no candidate")
	}
	o = o.filled()
	now := newJudge(candidate)
	var was *judge
	if baseline != nil {
		was = newJudge(baseline)
	}
	workers := make([]*replayer, o.Workers)
	for i := range workers {
		workers[i] = &replayer{
			candidate: now, baseline: was, options: &o, tally: newTally(o.Examples), reader: newReader(),
			recorded: map[string]*verdict{}, diffs: map[[2]*verdict]*diff{},
		}
	}
	unread := work(ctx, source, &o, func(i int, r *corpus.Recorded) { workers[i].take(ctx, r) })
	sum := newTally(o.Examples)
	for _, w := range workers {
		sum.merge(w.tally)
	}
	return makeReport(sum, unread, candidate, baseline, o.Counter, ctx.Err() != nil), nil
}

// unread is what could not be read of a source.
type unread struct {
	count    int64
	notYet   int64
	messages []string
}

// maxMessages is how many problems are reported in words.
const maxMessages = 20

// batchSize is how many decisions go to a worker at a time, and batchBytes
// bounds their inputs.
const (
	batchSize  = 64
	batchBytes = 1 << 20
)

// work reads source and spreads it over the workers. take is called by the
// worker with number i, for one decision after the other.
func work(ctx context.Context, source corpus.Source, o *Options, take func(i int, r *corpus.Recorded)) unread {
	batches := make(chan []corpus.Recorded, o.Workers)
	var workers sync.WaitGroup
	for i := range o.Workers {
		workers.Go(func() {
			for batch := range batches {
				for j := range batch {
					if ctx.Err() != nil {
						break // what is counted is whole: a decision that was cut off would look denied
					}
					take(i, &batch[j])
				}
			}
		})
	}
	var u unread
	var batch []corpus.Recorded
	size := 0
	flush := func() {
		if len(batch) > 0 {
			batches <- batch
			batch, size = nil, 0
		}
	}
	for r, err := range source {
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			u.note(err)
			continue
		}
		o.Counter.Decisions.Add(1)
		if batch == nil {
			batch = make([]corpus.Recorded, 0, batchSize)
		}
		batch = append(batch, r)
		if size += len(r.Input); len(batch) == batchSize || size >= batchBytes {
			flush()
		}
	}
	flush()
	close(batches)
	workers.Wait()
	return u
}

func (u *unread) note(err error) {
	if errors.Is(err, corpus.ErrNotYet) {
		u.notYet++
		return
	}
	u.count++
	if len(u.messages) < maxMessages {
		u.messages = append(u.messages, err.Error())
	}
}

// replayer is one worker of a replay.
type replayer struct {
	candidate, baseline *judge // baseline may be nil
	options             *Options
	tally               *tally
	reader              *reader

	recorded map[string]*verdict // by effect and ruling
	diffs    map[[2]*verdict]*diff
}

// keptPerWorker bounds what a worker remembers of rulings and comparisons.
const keptPerWorker = 4_096

func (w *replayer) take(ctx context.Context, r *corpus.Recorded) {
	t := w.tally
	t.decisions++
	t.at(r.Time)
	if schema := text(r.Entry("schema")); schema != input.Schema {
		t.schemas.add(nameOr(schema, "(none)"), 1)
		return
	}
	f := w.reader.read(r)
	was, ok := w.before(ctx, r, &f)
	if !ok {
		return
	}
	now, made := w.candidate.of(ctx, r, f.target.Name, nil)
	if ctx.Err() != nil {
		return // an evaluation that was cut off looks like a denial
	}
	if made {
		w.options.Counter.Evaluated.Add(1)
	}
	for _, path := range now.missing {
		t.missing.add(path, 1)
	}
	t.compared++
	if was.ended {
		t.ended++
	}
	w.count(r, &f, was, now.verdict)
}

// before returns what was decided; ok is false where there is nothing to compare
// with.
func (w *replayer) before(ctx context.Context, r *corpus.Recorded, f *facts) (was *verdict, ok bool) {
	t := w.tally
	if len(r.Ruling) == 0 {
		if w.baseline == nil {
			t.noDecision++
			return nil, false
		}
		out, _ := w.baseline.of(ctx, r, f.target.Name, nil)
		return out.verdict, ctx.Err() == nil
	}
	was, err := w.parse(r)
	if err != nil {
		t.errors++
		t.outside.add("(a ruling that cannot be read)", 1)
		return nil, false
	}
	if was.outside != "" {
		t.outside.add(was.outside, 1)
		return nil, false
	}
	t.base.deciders.add(was.bundles, 1)
	if w.baseline == nil {
		return was, true
	}
	again, _ := w.baseline.of(ctx, r, f.target.Name, nil)
	if ctx.Err() != nil {
		return nil, false
	}
	switch same, decided := again.verdict.reproduces(was), w.baseline.decided(was); {
	case decided && same:
		t.base.same++
	case decided:
		t.base.differs++
		e := w.example(r, f, was, again.verdict, "")
		if t.base.wrong.wants(e) {
			e.Statement = w.statement(r)
			t.base.wrong.add(e)
		}
		return nil, false
	case same:
		t.base.otherSame++
	default:
		t.base.otherDiffers++
	}
	return was, true
}

func (w *replayer) parse(r *corpus.Recorded) (*verdict, error) {
	key := r.Effect + " " + string(r.Ruling)
	if v := w.recorded[key]; v != nil {
		return v, nil
	}
	v, err := parseVerdict(r.Ruling, r.Effect)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.At(), err)
	}
	if len(w.recorded) >= keptPerWorker {
		clear(w.recorded)
	}
	w.recorded[key] = v
	return v, nil
}

func (w *replayer) count(r *corpus.Recorded, f *facts, was, now *verdict) {
	t := w.tally
	if was.asked || now.asked {
		name := r.Time.UTC().Format("2006-01-02")
		if _, known := t.days[name]; !known && len(t.days) >= maxNames {
			name = othersName
		}
		d := t.days[name]
		if was.asked {
			d.was++
		}
		if now.asked {
			d.now++
		}
		t.days[name] = d
	}
	if was == now || was.same == now.same && !now.failed {
		t.unchanged++
		return
	}
	pair := [2]*verdict{was, now}
	d := w.diffs[pair]
	if d == nil {
		made := compare(was, now)
		d = &made
		if len(w.diffs) >= keptPerWorker {
			clear(w.diffs)
		}
		w.diffs[pair] = d
	}
	counted := false
	seen := map[Kind]bool{}
	for i := range d.changes {
		c := &d.changes[i]
		if c.mask != "" && !f.reaches(r, c.mask) {
			t.untouched++
			continue
		}
		counted = true
		w.countChange(r, f, was, now, c, !seen[c.kind])
		seen[c.kind] = true
	}
	switch {
	case counted:
	case d.reasons:
		t.reasonsOnly++
	default:
		t.unchanged++
	}
}

// countChange counts one change. Each decision counts once in its kind, and once
// in each grouping that it belongs to.
func (w *replayer) countChange(r *corpus.Recorded, f *facts, was, now *verdict, c *change, first bool) {
	g := w.tally.group(c.kind)
	if c.group != "" {
		g.whats.add(c.group, 1)
	}
	for _, id := range c.rules {
		g.rules.add(id, 1)
	}
	e := w.example(r, f, was, now, c.what)
	if !first {
		return
	}
	g.count++
	g.agents.add(e.Agent, 1)
	for _, table := range e.Tables {
		g.tables.add(table, 1)
	}
	if g.examples.wants(e) {
		e.Statement = w.statement(r)
		g.examples.add(e)
	}
}

func (w *replayer) example(r *corpus.Recorded, f *facts, was, now *verdict, what string) Example {
	return Example{
		DecisionID: r.At(), Time: r.Time, Stage: r.Stage, Agent: f.agent.String(), Target: f.target.Name,
		Verb: f.action.Verb, Tables: f.res.tables(), What: what,
		Was: Side{Effect: was.word(), Reasons: was.ids()}, Now: Side{Effect: now.word(), Reasons: now.ids()},
	}
}

func (w *replayer) statement(r *corpus.Recorded) string {
	if w.options.Statement == nil {
		return ""
	}
	return w.options.Statement(r)
}

func nameOr(name, other string) string {
	if name == "" {
		return other
	}
	return name
}
