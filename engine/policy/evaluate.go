package policy

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	opametrics "github.com/open-policy-agent/opa/v1/metrics"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/input"
)

// Evaluate decides one document. It never returns nil and never panics: what
// goes wrong is a ruling that denies.
func (e *Engine) Evaluate(ctx context.Context, doc *input.Document) (r *Ruling) {
	s := e.current.Load()
	defer func() {
		if p := recover(); p != nil {
			r = e.failed(s, nil, ReasonError, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	if s == nil || len(s.missing) > 0 {
		return e.noBundle
	}
	if doc == nil {
		return e.failed(s, nil, ReasonError, errors.New("no document"))
	}
	p, err := s.plan(planKey{doc.Protocol, doc.Stage, targetName(doc)})
	if err != nil {
		return e.failed(s, nil, ReasonError, err)
	}
	if s.cache == nil {
		r, _ = e.evaluate(ctx, p, doc)
		return r
	}
	if !p.key.cacheable || len(doc.Approvals) > 0 {
		e.counters.uncacheable.Add(1)
		r, _ = e.evaluate(ctx, p, doc)
		return r
	}
	var buf [512]byte
	key := p.key.appendKey(binary.LittleEndian.AppendUint64(buf[:0], p.id), doc)
	if r := s.cache.get(key); r != nil {
		e.counters.cacheHits.Add(1)
		return r
	}
	e.counters.cacheMisses.Add(1)
	r, ok := e.evaluate(ctx, p, doc)
	if ok {
		r = s.cache.put(key, r)
	}
	return r
}

// targetName returns the name that target patterns are matched with.
func targetName(d *input.Document) string {
	switch t := d.Target.Value().(type) {
	case nil:
		return ""
	case input.Target:
		return t.Name
	case *input.Target:
		if t != nil {
			return t.Name
		}
		return ""
	}
	var t struct{ Name string }
	if json.Unmarshal(d.Target.JSON(), &t) != nil {
		return ""
	}
	return t.Name
}

// evaluate decides without the cache. ok is false where something went wrong:
// such a ruling may differ the next time.
func (e *Engine) evaluate(ctx context.Context, p *plan, doc *input.Document) (r *Ruling, ok bool) {
	e.counters.evaluations.Add(1)
	defer func(start time.Time) { e.took.Observe(time.Since(start).Seconds()) }(time.Now())
	s := p.snapshot
	reads := p.reads
	if e.wholeInput {
		reads = everythingRead()
	}
	in, err := e.terms.document(doc, reads)
	if err != nil {
		return e.failed(s, p, ReasonError, fmt.Errorf("input: %w", err)), false
	}
	f, err := factsOf(doc)
	if err != nil {
		return e.failed(s, p, ReasonError, fmt.Errorf("input: %w", err)), false
	}
	sets, err := e.ask(ctx, s, &p.enforced, in, question{protocol: doc.Protocol, now: doc.Time})
	if err != nil {
		return e.cut(s, p, err), false
	}
	r = combine(f, sets)
	r.Bundles, r.Evaluated, r.Shadow = s.bundles, p.evaluated, p.shadows
	if len(p.shadow) > 0 || len(e.worlds) > 0 {
		e.queueShadow(p, in, doc, f, sets, r)
	}
	return r, true
}

// cut is a denial because an evaluation failed or was cut off.
func (e *Engine) cut(s *snapshot, p *plan, err error) *Ruling {
	reason := ReasonError
	if topdown.IsCancel(err) {
		reason = ReasonTimeout
		err = fmt.Errorf("evaluation was cut off (timeout %s): %w", e.cfg.Timeout, err)
	}
	return e.failed(s, p, reason, err)
}

// failed is a denial because something went wrong. p may be nil.
func (e *Engine) failed(s *snapshot, p *plan, reason string, err error) *Ruling {
	e.counters.errors.Add(1)
	if reason == ReasonTimeout {
		e.counters.timeouts.Add(1)
	}
	r := &Ruling{Reasons: []Reason{engineReason(reason)}, Obligations: []Obligation{}, Errors: []string{err.Error()}}
	if s != nil {
		r.Bundles = s.bundles
	}
	if p != nil {
		r.Evaluated, r.Shadow = p.evaluated, p.shadows
	}
	return r
}

// question is what an evaluation needs beside the query and the input.
type question struct {
	protocol input.Protocol
	now      time.Time
	tracers  []topdown.QueryTracer // nil: not traced
}

// ask evaluates a query and decodes what every package said.
func (e *Engine) ask(ctx context.Context, s *snapshot, q *query, in *ast.Term, about question) ([]elements, error) {
	if len(q.parts) == 0 {
		return nil, nil
	}
	result, err := e.run(ctx, s, q, in, about)
	if err != nil {
		return nil, err
	}
	if result.Len() != len(q.parts) {
		return nil, fmt.Errorf("evaluation returned %d values, want %d", result.Len(), len(q.parts))
	}
	d := decoder{protocol: about.protocol, detectKinds: e.cfg.DetectKinds}
	sets := make([]elements, 0, len(q.parts))
	for i := range q.parts {
		part := &q.parts[i]
		if n := len(sets); n == 0 || sets[n-1].pkg != part.pkg.name {
			sets = append(sets, elements{pkg: part.pkg.name, owner: part.pkg.owner, allowCounts: part.allowCounts})
		}
		value := result.Elem(i).Value
		if part.optional {
			values, ok := value.(*ast.Array)
			if !ok || values.Len() > 1 {
				return nil, fmt.Errorf("data.regate.policies.%s.%s has more than one value", part.pkg.name, part.entry)
			}
			if values.Len() == 0 {
				continue
			}
			value = values.Elem(0).Value
		}
		if err := d.entry(&sets[len(sets)-1], part.entry, value); err != nil {
			return nil, err
		}
	}
	return sets, nil
}

// noSeed stands in for the source of randomness, which no policy can reach.
type noSeed struct{}

func (noSeed) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// run evaluates a query within the timeout and returns its one result.
func (e *Engine) run(ctx context.Context, s *snapshot, q *query, in *ast.Term, about question) (*ast.Array, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("evaluation not begun: %w", err)
	}
	cancel := topdown.NewCancel()
	timer := time.AfterFunc(e.cfg.Timeout, cancel.Cancel)
	defer timer.Stop()
	defer context.AfterFunc(ctx, cancel.Cancel)()

	var result *ast.Array
	count := 0
	evaluation := topdown.NewQuery(q.body).
		WithQueryCompiler(q.compiler).
		WithCompiler(s.compiler).
		WithStore(s.store).
		WithTransaction(s.txn).
		WithInput(in).
		WithCancel(cancel).
		WithMetrics(opametrics.NoOp()).
		WithInterQueryBuiltinValueCache(e.values).
		WithStrictBuiltinErrors(true).
		WithIndexing(!e.noIndexing).
		WithEarlyExit(!e.noEarlyExit).
		WithSeed(noSeed{}).
		WithTime(about.now)
	for _, t := range about.tracers {
		evaluation = evaluation.WithQueryTracer(t)
	}
	err := evaluation.
		Iter(ctx, func(qr topdown.QueryResult) error {
			count++
			if t := qr[resultVar]; t != nil {
				result, _ = t.Value.(*ast.Array)
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	if count != 1 || result == nil {
		return nil, fmt.Errorf("evaluation gave %d results, want 1", count)
	}
	return result, nil
}

// factsOf takes from a document what combining needs.
func factsOf(d *input.Document) (facts, error) {
	f := facts{stage: d.Stage, now: d.Time, approvals: d.Approvals}
	switch v := d.Enforcer.Value().(type) {
	case nil:
	case input.Enforcer:
		f.supported = v.Obligations
	case *input.Enforcer:
		if v != nil {
			f.supported = v.Obligations
		}
	default:
		var en input.Enforcer
		if err := json.Unmarshal(d.Enforcer.JSON(), &en); err != nil {
			return f, fmt.Errorf("enforcer: %w", err)
		}
		f.supported = en.Obligations
	}
	if len(f.approvals) == 0 {
		return f, nil
	}
	for _, p := range []*input.Part{d.Subject, d.Actor} {
		var who struct{ ID string }
		if err := json.Unmarshal(p.JSON(), &who); err != nil {
			return f, fmt.Errorf("principal: %w", err)
		}
		if who.ID != "" {
			f.requesters = append(f.requesters, who.ID)
		}
	}
	return f, nil
}
