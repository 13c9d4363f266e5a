package engine

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"time"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
)

// holdNotice is how often an agent that waits hears of it: often enough to
// keep what is between them from closing an idle connection.
const holdNotice = 15 * time.Second

// hold takes a request that needs approval to the desk and waits there. On
// return turn.Ruling is what the policy said after the approval, and the
// ticket is used up. The error is a *Denial.
func (s *Session) hold(ctx context.Context, turn *Turn, req *Request) (ticketID string, err error) {
	desk := s.gate.cfg.Approvals
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-s.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	ticket, err := desk.Hold(ctx, s.ticket(turn, req))
	if err != nil {
		return "", s.holdFailed(err, turn)
	}
	s.meters.held.Inc()
	wait := longestWait(turn.Ruling.Approvals)
	if req.NoWait {
		wait = 0
	}
	s.writer.Append(record.KindHold, record.Hold{
		Turn: turn.n, Ticket: ticket.ID, Digest: ticket.Digest, WaitNS: int64(wait), Expires: ticket.ExpiresAt.UnixNano(),
	}.Encode(nil))
	if ticket.State == approval.Pending && wait > 0 {
		if ticket, err = s.await(ctx, ticket, turn, req, wait); err != nil {
			return "", err
		}
	}
	if ticket.State != approval.Approved {
		return "", s.notApproved(turn, ticket)
	}
	// An approval never resumes an old decision: the policy is asked again.
	before := boundObligations(turn.Ruling)
	turn.doc.Time = s.gate.cfg.Clock()
	turn.respend(turn.doc)
	turn.doc.Approvals = ticket.InputApprovals()
	if err := turn.readLabels(ctx); err != nil {
		return "", turn.refuse(err)
	}
	turn.Ruling = s.gate.cfg.Policy.Evaluate(ctx, turn.doc)
	if turn.Ruling.Effect != policy.Allow {
		return ticket.ID, nil // the ruling says why
	}
	if boundObligations(turn.Ruling) != before {
		return "", &Denial{Reasons: []string{ReasonPending}, DecisionID: turn.id, Message: "the policy's masks or limits changed after the approval", Hint: "Send the request again: it will be held anew."}
	}
	if _, err := desk.Consume(ctx, ticket.ID); err != nil {
		if approval.Code(err) == approval.CodeUnavailable {
			return "", s.holdFailed(err, turn)
		}
		// The same request was sent twice, and the other one was first.
		turn.doc.Approvals = nil
		return "", s.notApproved(turn, &approval.Ticket{ID: ticket.ID, State: approval.Consumed})
	}
	last := ticket.Approvals[len(ticket.Approvals)-1]
	s.writer.Append(record.KindApproval, record.Approval{
		Turn: turn.n, Ticket: ticket.ID, Outcome: "consumed", By: last.By.ID, ByIssuer: last.By.Issuer, Groups: last.By.Groups,
	}.Encode(nil))
	return ticket.ID, nil
}

func (s *Session) await(ctx context.Context, ticket *approval.Ticket, turn *Turn, req *Request, wait time.Duration) (*approval.Ticket, error) {
	held := Held{ApprovalID: ticket.ID, Wait: wait, ExpiresAt: ticket.ExpiresAt}
	for _, r := range turn.Ruling.Reasons {
		if r.Effect == policy.RequireApproval {
			held.Reasons = append(held.Reasons, r.ID)
		}
	}
	for _, r := range turn.Ruling.Approvals {
		if !r.Met {
			held.From = append(held.From, r.From...)
		}
	}
	begun := time.Now()
	defer func() { s.meters.waited.Observe(time.Since(begun).Seconds()) }()
	deadline := begun.Add(wait)
	for {
		if req.OnHold != nil {
			if err := req.OnHold(held); err != nil {
				s.giveUp(ticket, turn)
				return nil, &Denial{Reasons: []string{ReasonCancelled}, DecisionID: turn.id, Message: "the agent went away while the request was held", Fatal: true}
			}
		}
		held.Repeat = true
		left := time.Until(deadline)
		step, cancel := context.WithTimeout(ctx, min(left, holdNotice))
		now, err := s.gate.cfg.Approvals.Wait(step, ticket.ID)
		cancel()
		switch {
		case err == nil && now.State != approval.Pending:
			return now, nil
		case ctx.Err() != nil:
			s.giveUp(ticket, turn)
			if why := s.ended.Load(); why != nil {
				return nil, why
			}
			return nil, &Denial{Reasons: []string{ReasonCancelled}, DecisionID: turn.id, ApprovalID: ticket.ID, Message: "the request was cancelled while it was held"}
		case err != nil && !errors.Is(err, context.DeadlineExceeded):
			return nil, s.holdFailed(err, turn)
		case time.Until(deadline) <= 0:
			return ticket, nil
		}
		held.Wait = time.Until(deadline).Round(time.Second)
	}
}

// ticket describes a request to those who will judge it. Its digest binds the
// masks and limits that they are shown beside the request itself.
func (s *Session) ticket(turn *Turn, req *Request) approval.Ticket {
	r := turn.Ruling
	bound := boundObligations(r)
	digest := sha256.Sum256(append([]byte(turn.doc.Request.Digest), bound[:]...))
	t := approval.Ticket{
		Digest: input.Digest(digest).String(), SessionID: s.id,
		Subject: s.identity.Subject, Actor: s.identity.Actor, Asserted: s.hello.Asserted, Target: s.hello.Target,
		Summary: req.Summary,
		Limit:   approval.Limit{Rows: r.Limit.Rows, Bytes: r.Limit.Bytes, Seconds: r.Limit.Seconds},
	}
	shown := map[string]json.RawMessage{
		"action": turn.doc.Action.JSON(), "resource": turn.doc.Resource.JSON(),
		turn.doc.Protocol.DetailKey(): turn.doc.Detail.JSON(), "parameters": turn.doc.Parameters.JSON(),
	}
	raw, err := json.Marshal(shown)
	if err != nil {
		panic(err) // canonical JSON: it marshals
	}
	t.Request = raw
	for _, why := range r.Reasons {
		if why.Effect == policy.RequireApproval {
			t.Reasons = append(t.Reasons, approval.Reason{ID: why.ID, Owner: why.Owner, Msg: why.Msg})
		}
	}
	for _, q := range r.Approvals {
		t.Requirements = append(t.Requirements, approval.Requirement{ID: q.ID, From: q.From, Count: q.Count, TTL: q.TTL, Wait: q.Wait, Msg: q.Msg})
	}
	for _, m := range r.Masks {
		t.Masks = append(t.Masks, approval.Mask{Field: m.Field, Detect: m.Detect, Method: m.Method})
	}
	return t
}

// giveUp takes back what nobody waits for any more.
func (s *Session) giveUp(ticket *approval.Ticket, turn *Turn) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, err := s.gate.cfg.Approvals.Cancel(ctx, ticket.ID, "the agent gave up"); err != nil {
		s.gate.cfg.Logger.WithError(err).WithField("approval", ticket.ID).Warn("a held request that the agent gave up could not be cancelled")
	}
	s.writer.Append(record.KindApproval, record.Approval{Turn: turn.n, Ticket: ticket.ID, Outcome: "cancelled"}.Encode(nil))
	s.refuseHeld(turn, ReasonCancelled, "the agent gave up")
}

// refuseHeld records a request whose hold ended without an approval.
func (s *Session) refuseHeld(turn *Turn, reason, msg string) {
	held := turn.Ruling
	turn.Ruling = &policy.Ruling{
		Effect: policy.Deny, Reasons: append([]policy.Reason{{ID: reason, Effect: policy.Deny, Owner: "engine", Msg: msg}}, held.Reasons...),
		Obligations: held.Obligations, Bundles: held.Bundles, Evaluated: held.Evaluated, Shadow: held.Shadow,
	}
	turn.record()
}

func (s *Session) notApproved(turn *Turn, ticket *approval.Ticket) error {
	d := &Denial{ApprovalID: ticket.ID, DecisionID: turn.id}
	switch ticket.State {
	case approval.Pending:
		d.Reasons = []string{ReasonPending}
		d.Message = "the request needs approval, and nobody has decided yet"
		d.Hint = "Send the same request again once " + ticket.ID + " is approved, before " + ticket.ExpiresAt.UTC().Format(time.RFC3339) + "."
	case approval.Denied:
		d.Reasons = []string{ReasonDenied}
		d.Message = "the request was refused by an approver"
		if ticket.Resolution != nil && ticket.Resolution.Reason != "" {
			d.Message += ": " + ticket.Resolution.Reason
		}
		d.Hint = "Do not send it again unchanged; ask the approver."
	default:
		d.Reasons = []string{ReasonPending}
		d.Message = "the approval lapsed or was used by another request"
		d.Hint = "Send the request again: it will be held anew."
	}
	for _, r := range turn.Ruling.Reasons {
		if r.Effect == policy.RequireApproval {
			d.Reasons = append(d.Reasons, r.ID)
		}
	}
	s.writer.Append(record.KindApproval, record.Approval{Turn: turn.n, Ticket: ticket.ID, Outcome: string(ticket.State)}.Encode(nil))
	s.refuseHeld(turn, d.Reasons[0], d.Message)
	return d
}

func (s *Session) holdFailed(err error, turn *Turn) error {
	if why := s.ended.Load(); why != nil {
		return why
	}
	if errors.Is(err, context.Canceled) {
		return &Denial{Reasons: []string{ReasonCancelled}, DecisionID: turn.id, Message: "the request was cancelled while it was held"}
	}
	s.gate.cfg.Logger.WithError(err).Error("a request could not be held: it is denied")
	s.refuseHeld(turn, ReasonHoldFailed, "the approval store failed")
	return &Denial{Reasons: []string{ReasonHoldFailed}, DecisionID: turn.id, Message: "the request needs approval, and the approval store cannot be used at present", Hint: "Try again in a few seconds; tell the gateway's operator if it lasts."}
}

// boundObligations names the masks and limits that an approver was shown.
func boundObligations(r *policy.Ruling) input.Digest {
	raw, err := json.Marshal([]any{r.Masks, r.Limit})
	if err != nil {
		panic(err) // plain structs: they marshal
	}
	return sha256.Sum256(raw)
}

func longestWait(requirements []policy.Requirement) time.Duration {
	var longest time.Duration
	for _, r := range requirements {
		if !r.Met {
			longest = max(longest, r.Wait)
		}
	}
	return longest
}
