package console

import (
	"context"
	"errors"
	"net/http"
	"strconv"

	"github.com/regate-dev/regate/engine/approval"
)

const (
	defaultList = 100
	maxList     = approval.MaxList
)

// listApprovals answers GET /api/v1/approvals[?state=…&limit=…].
func (c *Console) listApprovals(_ context.Context, who *Caller, r *http.Request) (int, any, error) {
	q := r.URL.Query()
	limit := defaultList
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxList {
			return 0, nil, malformed("limit must be a number from 1 to " + strconv.Itoa(maxList))
		}
		limit = n
	}
	out, more, err := c.Tickets(who, q.Get("state"), limit)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, struct {
		Approvals []*approval.Ticket `json:"approvals"`
		More      bool               `json:"more"`
	}{out, more}, nil
}

// Tickets lists held requests, the oldest first: every one to holders of a
// role, and to others those that they asked for or may decide on. state chooses
// one state, "open" or "all"; "" is "open". Where there are more than limit, the
// newest are returned.
func (c *Console) Tickets(who *Caller, state string, limit int) (list []*approval.Ticket, more bool, err error) {
	states := map[string][]approval.State{
		"": {approval.Pending, approval.Approved}, "open": {approval.Pending, approval.Approved}, "all": nil,
	}
	for _, s := range []approval.State{approval.Pending, approval.Approved, approval.Consumed, approval.Denied, approval.Expired, approval.Cancelled} {
		states[string(s)] = []approval.State{s}
	}
	wanted, ok := states[state]
	if !ok {
		return nil, false, malformed("state must be open, all, pending, approved, consumed, denied, expired or cancelled")
	}
	if err := c.cfg.Approvals.Healthy(); err != nil {
		return nil, false, err // a list that may be old is worse than none
	}
	list = []*approval.Ticket{}
	for _, t := range c.cfg.Approvals.List(approval.Filter{States: wanted}) {
		if who.Any() || t.Concerns(who.Identity.Subject) {
			list = append(list, t)
		}
	}
	cut := max(0, len(list)-limit) // the oldest come first: keep the newest
	return list[cut:], cut > 0, nil
}

func (c *Console) getApproval(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	t, err := c.Ticket(ctx, who, r.PathValue("id"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, t, nil
}

// Ticket returns one held request. A caller whom it does not concern learns no
// more than that there may be none.
func (c *Console) Ticket(ctx context.Context, who *Caller, id string) (*approval.Ticket, error) {
	t, err := c.cfg.Approvals.Get(ctx, id)
	if err != nil {
		return nil, approvalProblem(err)
	}
	if !who.Any() && !t.Concerns(who.Identity.Subject) {
		return nil, newProblem(http.StatusNotFound, approval.CodeNotFound, "there is no such approval", "")
	}
	return t, nil
}

func (c *Console) approve(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	var in struct {
		Note string `json:"note"`
	}
	if err := readJSON(r, &in, true); err != nil {
		return 0, nil, err
	}
	t, err := c.Approve(ctx, who, r.PathValue("id"), in.Note)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, t, nil
}

// Approve adds the caller's yes to a held request, once that is recorded.
func (c *Console) Approve(ctx context.Context, who *Caller, id, note string) (*approval.Ticket, error) {
	t, detail, err := c.decidable(ctx, who, id, note)
	if err != nil {
		return nil, err
	}
	if err := c.record(ctx, who, "approval.approve", detail); err != nil {
		return nil, err
	}
	t, err = c.cfg.Approvals.Approve(ctx, t.ID, approver(who), note)
	if err != nil {
		c.note(ctx, who, "approval.approve", outcomeOf(err), detail)
		return nil, approvalProblem(err)
	}
	detail["state"] = string(t.State)
	c.note(ctx, who, "approval.approve", OutcomeOK, detail)
	return t, nil
}

func (c *Console) deny(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(r, &in, true); err != nil {
		return 0, nil, err
	}
	t, err := c.Deny(ctx, who, r.PathValue("id"), in.Reason)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, t, nil
}

// Deny ends a held request by the caller's no.
func (c *Console) Deny(ctx context.Context, who *Caller, id, reason string) (*approval.Ticket, error) {
	t, detail, err := c.decidable(ctx, who, id, reason)
	if err != nil {
		return nil, err
	}
	t, err = c.cfg.Approvals.Deny(ctx, t.ID, approver(who), reason)
	if err != nil {
		c.note(ctx, who, "approval.deny", outcomeOf(err), detail)
		return nil, approvalProblem(err)
	}
	c.note(ctx, who, "approval.deny", OutcomeOK, detail)
	return t, nil
}

// MayDecide returns why this person cannot decide on any request, nil where it
// is for the desk to say: the policy's requirement names the approvers.
func (c *Console) MayDecide(who *Caller) error {
	if !c.cfg.Roles.Approver.Empty() && !who.Approver {
		return forbidden("approver")
	}
	return nil
}

// decidable checks the role and finds the ticket.
func (c *Console) decidable(ctx context.Context, who *Caller, id, text string) (*approval.Ticket, map[string]string, error) {
	if err := c.MayDecide(who); err != nil {
		return nil, nil, err
	}
	if len(text) > maxText {
		return nil, nil, malformed("note and reason have at most " + strconv.Itoa(maxText) + " bytes")
	}
	t, err := c.Ticket(ctx, who, id)
	if err != nil {
		return nil, nil, err
	}
	return t, map[string]string{
		"approval": t.ID, "digest": t.Digest, "session": t.SessionID,
		"requester": t.Subject.ID, "target": t.Target.Name, "text": text,
	}, nil
}

func approver(who *Caller) approval.Identity {
	return approval.Identity{Subject: who.Identity.Subject, Actor: who.Identity.Actor}
}

func outcomeOf(err error) string {
	if code := approval.Code(err); code != "" {
		return code
	}
	return ReasonUnavailable
}

// approvalProblem renders the desk's errors. Errors without a code, and the
// cause of those with one, go to the log.
func approvalProblem(err error) error {
	var e *approval.Error
	if !errors.As(err, &e) {
		return err
	}
	status := http.StatusConflict
	hint := ""
	switch e.Code {
	case approval.CodeNotFound:
		status = http.StatusNotFound
	case approval.CodeSelf, approval.CodeDelegated, approval.CodeNotEligible:
		status = http.StatusForbidden
		hint = "The policy's requirement says who may approve."
	case approval.CodeUnavailable:
		return err
	}
	return newProblem(status, e.Code, e.Message, hint)
}
