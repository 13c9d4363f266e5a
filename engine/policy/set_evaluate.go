package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/input"
)

// Input is an input document as tools have it: JSON, from a recording or from
// somebody's hands. Keys may be missing.
type Input struct {
	term  *ast.Term
	key   planKey
	now   time.Time
	facts facts
	err   error // what combining needs cannot be read: denied
}

// ParseInput reads a document. The error says that it is no JSON object, and
// nothing else: what a document lacks shows in the ruling.
func ParseInput(doc []byte) (*Input, error) {
	if !json.Valid(doc) {
		var v any
		err := json.Unmarshal(doc, &v) // says where
		return nil, fmt.Errorf("input: %w", err)
	}
	if trimmed := bytes.TrimLeft(doc, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return nil, errors.New("input: not a JSON object")
	}
	value, err := ast.ValueFromReader(bytes.NewReader(doc))
	if err != nil {
		return nil, fmt.Errorf("input: %w", err)
	}
	return NewInput(ast.NewTerm(value))
}

// NewInput takes a document as a term, which must not change any more.
func NewInput(term *ast.Term) (*Input, error) {
	obj, ok := term.Value.(ast.Object)
	if !ok {
		return nil, errors.New("input: not a JSON object")
	}
	in := &Input{term: term}
	in.key = planKey{
		protocol: input.Protocol(textAt(obj, "protocol")),
		stage:    input.Stage(textAt(obj, "stage")),
		target:   textAt(obj, "target", "name"),
	}
	in.facts, in.now, in.err = factsOfTerm(obj)
	in.facts.stage = in.key.stage
	return in, nil
}

// Term returns the document. It must not be changed.
func (in *Input) Term() *ast.Term { return in.term }

// Protocol, Stage and Target say which packages look at the document. They are
// "" where it does not say.
func (in *Input) Protocol() string { return string(in.key.protocol) }
func (in *Input) Stage() string    { return string(in.key.stage) }
func (in *Input) Target() string   { return in.key.target }

// textAt returns the string at a path, "" where there is none.
func textAt(obj ast.Object, path ...string) string {
	for i, key := range path {
		t := obj.Get(ast.InternedTerm(key))
		if t == nil {
			return ""
		}
		if i == len(path)-1 {
			s, _ := t.Value.(ast.String)
			return string(s)
		}
		next, ok := t.Value.(ast.Object)
		if !ok {
			return ""
		}
		obj = next
	}
	return ""
}

// factsOfTerm is factsOf for a document that did not come from a proxy.
func factsOfTerm(obj ast.Object) (facts, time.Time, error) {
	var f facts
	read := func(key string, into any) error {
		t := obj.Get(ast.InternedTerm(key))
		if t == nil {
			return nil
		}
		v, err := ast.JSON(t.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		raw, err := json.Marshal(v)
		if err == nil {
			err = json.Unmarshal(raw, into)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
		return nil
	}
	now, badTime := time.Parse(time.RFC3339Nano, textAt(obj, "time"))
	if badTime != nil {
		now = time.Unix(0, 0).UTC() // never the clock of this machine: a ruling must not change from run to run
	}
	var en *input.Enforcer
	if err := read("enforcer", &en); err != nil {
		return f, now, err
	}
	if en != nil {
		f.supported = en.Obligations
	}
	if err := read("approvals", &f.approvals); err != nil {
		return f, now, err
	}
	f.now = now
	if len(f.approvals) == 0 {
		return f, now, nil
	}
	if badTime != nil {
		return f, now, fmt.Errorf("time: without it nobody knows whether an approval is still good: %w", badTime)
	}
	for _, key := range []string{"subject", "actor"} {
		var who *struct{ ID string }
		if err := read(key, &who); err != nil {
			return f, now, err
		}
		if who != nil && who.ID != "" {
			f.requesters = append(f.requesters, who.ID)
		}
	}
	return f, now, nil
}

// Evaluate decides a document. The error says that doc is no JSON object; all
// else that is wrong is a ruling that denies.
func (s *Set) Evaluate(ctx context.Context, doc []byte) (*Ruling, error) {
	return s.EvaluateTraced(ctx, doc)
}

// EvaluateTraced is Evaluate with tracers.
func (s *Set) EvaluateTraced(ctx context.Context, doc []byte, tracers ...topdown.QueryTracer) (*Ruling, error) {
	in, err := ParseInput(doc)
	if err != nil {
		return nil, err
	}
	return s.Decide(ctx, in, in.term, tracers...), nil
}

// Decide decides in while the policies see shown, which is in's own term or a
// changed one: which packages are asked, the clock, the approvals and what the
// proxy can carry out are in's. It never returns nil and never panics.
func (s *Set) Decide(ctx context.Context, in *Input, shown *ast.Term, tracers ...topdown.QueryTracer) (r *Ruling) {
	e := s.engine
	defer func() {
		if p := recover(); p != nil {
			r = e.failed(s.snapshot, nil, ReasonError, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	p, sets, failed := s.ask(ctx, in, shown, tracers...)
	if failed != nil {
		return failed
	}
	return s.combined(p, in, sets)
}

// ask evaluates everything that decides. failed is nil, or the denial because
// something went wrong.
func (s *Set) ask(ctx context.Context, in *Input, shown *ast.Term, tracers ...topdown.QueryTracer) (p *plan, sets []elements, failed *Ruling) {
	e := s.engine
	p, err := s.snapshot.plan(in.key)
	if err != nil {
		return nil, nil, e.failed(s.snapshot, nil, ReasonError, err)
	}
	if in.err != nil {
		return nil, nil, e.failed(s.snapshot, p, ReasonError, fmt.Errorf("input: %w", in.err))
	}
	sets, err = e.ask(ctx, s.snapshot, &p.enforced, shown, question{protocol: in.key.protocol, now: in.now, tracers: tracers})
	if err != nil {
		return nil, nil, e.cut(s.snapshot, p, err)
	}
	return p, sets, nil
}

func (s *Set) combined(p *plan, in *Input, sets []elements) *Ruling {
	r := combine(in.facts, sets)
	r.Bundles, r.Evaluated, r.Shadow = s.snapshot.bundles, p.evaluated, p.shadows
	return r
}
