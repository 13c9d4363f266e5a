package engine

import (
	"context"
	"errors"
	"fmt"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/engine/usage"
)

// Request decides one request, holds it where the policy asks for approval,
// and records the decision. The error is a *Denial; when its Fatal is set the
// session has ended.
func (s *Session) Request(ctx context.Context, req *Request) (*Turn, error) {
	if why := s.ended.Load(); why != nil {
		return nil, why
	}
	if err := s.gate.stillTrusted(s.identity, s.hello.Target.Name); err != nil {
		denial := identityDenial(err)
		if denial.Reason() == identity.ReasonRevocationsStale {
			denial.Fatal = false // it passes
			return nil, denial
		}
		s.end(denial)
		return nil, s.ended.Load()
	}
	turn, err := s.decide(ctx, req, input.StageRequest)
	if err != nil {
		s.denials.Add(1)
		s.spend(usage.Counts{Denials: 1})
		return nil, err
	}
	return turn, nil
}

// Peek says what a request would be denied for, nil when it would not be: it
// may be allowed, or held. A denial is recorded as that of a request; else
// nothing happens.
func (s *Session) Peek(ctx context.Context, req *Request) (denial *Denial) {
	defer func() {
		if p := recover(); p != nil {
			denial = nil // the request itself will fail
		}
	}()
	turn := s.ask(ctx, req)
	if turn.Ruling.Effect != policy.Deny {
		s.takeBack(turn)
		return nil
	}
	s.denials.Add(1)
	s.spend(usage.Counts{Requests: 1, Denials: 1})
	turn.record()
	return turn.denial()
}

// ask evaluates a request that may come to nothing: nothing is held, recorded or
// counted as used.
func (s *Session) ask(ctx context.Context, req *Request) *Turn {
	turn := s.newTurn(req, input.StageRequest)
	if a := s.spending(); a != nil {
		turn.doc.Usage = spent(a.Count(usage.Counts{}))
	}
	if err := turn.readLabels(ctx); err != nil {
		turn.Ruling = denied(asDenial(err))
		return turn
	}
	turn.Ruling = s.gate.cfg.Policy.Evaluate(ctx, turn.doc)
	return turn
}

// Would says what a request would be denied for, nil when it would be allowed or
// held. Nothing is counted or recorded: it answers an agent that asks what it
// may do, and chooses what an agent is told of. The request itself is decided
// when it comes.
func (s *Session) Would(ctx context.Context, req *Request) (denial *Denial) {
	defer func() {
		if p := recover(); p != nil {
			s.gate.cfg.Logger.WithField("session", s.id).Errorf("panic while deciding: %v", p)
			denial = &Denial{Reasons: []string{ReasonInternal}, Message: "regate failed while deciding"}
		}
	}()
	turn := s.ask(ctx, req)
	defer s.takeBack(turn)
	if turn.Ruling.Effect != policy.Deny {
		return nil
	}
	denial = turn.denial()
	denial.DecisionID = ""
	return denial
}

// Refuse records that the proxy itself refused a request: what it could not
// read, or what no policy may allow.
func (s *Session) Refuse(req *Request, d *Denial) {
	defer func() { _ = recover() }() // a part that does not marshal is refused all the same
	s.denials.Add(1)
	turn := s.newTurn(req, input.StageRequest)
	turn.begin()
	s.spend(usage.Counts{Denials: 1})
	turn.Ruling = denied(d)
	turn.record()
	d.DecisionID = turn.id
}

// denied is the ruling of what policies were not asked about.
func denied(d *Denial) *policy.Ruling {
	reasons := make([]policy.Reason, len(d.Reasons))
	for i, id := range d.Reasons {
		reasons[i] = policy.Reason{ID: id, Effect: policy.Deny, Owner: "engine", Msg: d.Message, Hint: d.Hint}
	}
	return &policy.Ruling{Effect: policy.Deny, Reasons: reasons}
}

// refuse records that the turn was denied before policies were asked.
func (t *Turn) refuse(err error) *Denial {
	d := asDenial(err)
	t.Ruling = denied(d)
	t.record()
	d.DecisionID = t.id
	return d
}

func (s *Session) newTurn(req *Request, stage input.Stage) *Turn {
	s.mu.Lock()
	s.turns++
	n := s.turns
	s.mu.Unlock()
	now := s.gate.cfg.Clock()
	used := input.Usage{Requests: s.requests.Load(), Rows: s.rows.Load(), Bytes: s.bytes.Load(), Denials: s.denials.Load()}
	doc := s.document(n, req, stage, now, used)
	s.requests.Add(1)
	return &Turn{sess: s, n: n, id: doc.Request.ID, doc: doc, started: now}
}

// takeBack forgets a turn that came to nothing. Its number is used again unless
// another turn has come after it.
func (s *Session) takeBack(t *Turn) {
	s.mu.Lock()
	if s.turns == t.n {
		s.turns--
	}
	s.mu.Unlock()
	s.requests.Add(-1)
}

// decide runs one request through evaluation, hold and record. A panic
// anywhere in it denies.
func (s *Session) decide(ctx context.Context, req *Request, stage input.Stage) (turn *Turn, err error) {
	defer func() {
		if p := recover(); p != nil {
			s.gate.cfg.Logger.WithField("session", s.id).Errorf("panic while deciding: %v", p)
			turn, err = nil, &Denial{Reasons: []string{ReasonInternal}, Message: "regate failed while deciding", Hint: "Tell the gateway's operator.", Fatal: true}
		}
	}()
	turn = s.newTurn(req, stage)
	turn.begin()
	if err := turn.readLabels(ctx); err != nil {
		return nil, turn.refuse(err)
	}
	turn.Ruling = s.gate.cfg.Policy.Evaluate(ctx, turn.doc)
	var ticket string
	if turn.Ruling.Effect == policy.RequireApproval && req.Bind != nil {
		bound, denial := req.Bind(ctx)
		if denial != nil {
			s.refuseHeld(turn, denial.Reason(), denial.Message)
			denial.DecisionID = turn.id
			return nil, denial
		}
		used := turn.doc.Session.Usage
		req, turn.doc = bound, s.document(turn.n, bound, stage, turn.started, used)
		turn.respend(turn.doc)
		turn.Ruling = s.gate.cfg.Policy.Evaluate(ctx, turn.doc)
	}
	if turn.Ruling.Effect == policy.RequireApproval {
		if req.BeforeHold != nil {
			if denial := req.BeforeHold(ctx); denial != nil {
				s.refuseHeld(turn, denial.Reason(), denial.Message)
				return nil, denial
			}
		}
		if ticket, err = s.hold(ctx, turn, req); err != nil {
			return nil, err
		}
	}
	turn.record()
	if turn.Ruling.Effect != policy.Allow {
		return nil, turn.denial()
	}
	if err := s.putLabels(ctx, turn.Ruling); err != nil {
		denial := asDenial(err)
		turn.Done(Outcome{Code: denial.Reason(), Message: denial.Message})
		denial.DecisionID = turn.id
		return nil, denial
	}
	turn.Limit = turn.Ruling.Limit
	s.reached(turn.Ruling)
	if req.Writes || ticket != "" {
		if err := s.gate.recorded(ctx, turn.decided); err != nil {
			return nil, err
		}
	}
	if why := s.ended.Load(); why != nil {
		// It ended while the request was held or recorded.
		return nil, why
	}
	return turn, nil
}

// recorded waits until the journal has the event. In best-effort mode a
// failure is logged by the journal as a loss and the request goes on.
func (g *Gate) recorded(ctx context.Context, ack *record.Ack) error {
	err := ack.Wait(ctx)
	if err == nil || g.cfg.BestEffort && ctx.Err() == nil {
		return nil
	}
	if ctx.Err() != nil {
		return &Denial{Reasons: []string{ReasonCancelled}, Message: "the request was cancelled before it was recorded"}
	}
	g.cfg.Logger.WithError(err).Error("the journal does not take events: requests are denied")
	return recordDenial(err)
}

func recordDenial(err error) *Denial {
	if errors.Is(err, record.ErrTooLong) {
		return &Denial{Reasons: []string{ReasonRecordTooLarge}, Message: "the request is too large to be recorded", Hint: "Send less in one request."}
	}
	return &Denial{Reasons: []string{ReasonRecordDown}, Message: "the request cannot be recorded at present", Hint: "Try again in a few seconds; tell the gateway's operator if it lasts.", Fatal: true}
}

func (t *Turn) denial() *Denial {
	d := &Denial{DecisionID: t.id}
	for _, r := range t.Ruling.Reasons {
		if r.Effect == policy.Allow {
			continue
		}
		d.Reasons = append(d.Reasons, r.ID)
		if d.Message == "" {
			d.Message = r.Msg
		}
		if d.Hint == "" {
			d.Hint = r.Hint
		}
	}
	if len(d.Reasons) == 0 {
		d.Reasons = []string{policy.ReasonError}
	}
	if d.Message == "" {
		d.Message = "denied by rule " + d.Reasons[0]
	}
	return d
}

func asDenial(err error) *Denial {
	var d *Denial
	if errors.As(err, &d) {
		copied := *d
		return &copied
	}
	return &Denial{Reasons: []string{ReasonInternal}, Message: fmt.Sprintf("regate failed: %v", err), Fatal: true}
}
