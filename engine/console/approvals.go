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

// listApprovals shows every ticket to holders of a role, and to others those
// that they asked for or may decide on. ?state= chooses one state, "open" and
// "all"; without it the open ones are shown.
func (c *Console) listApprovals(_ context.Context, who *caller, r *http.Request) (int, any, error) {
	q := r.URL.Query()
	states := map[string][]approval.State{
		"": {approval.Pending, approval.Approved}, "open": {approval.Pending, approval.Approved}, "all": nil,
	}
	for _, s := range []approval.State{approval.Pending, approval.Approved, approval.Consumed, approval.Denied, approval.Expired, approval.Cancelled} {
		states[string(s)] = []approval.State{s}
	}
	wanted, ok := states[q.Get("state")]
	if !ok {
		return 0, nil, malformed("state must be open, all, pending, approved, consumed, denied, expired or cancelled")
	}
	limit := defaultList
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > maxList {
			return 0, nil, malformed("limit must be a number from 1 to " + strconv.Itoa(maxList))
		}
		limit = n
	}
	if err := c.cfg.Approvals.Healthy(); err != nil {
		return 0, nil, err // a list that may be old is worse than none
	}
	out := []*approval.Ticket{}
	for _, t := range c.cfg.Approvals.List(approval.Filter{States: wanted}) {
		if who.any() || t.Concerns(who.id.Subject) {
			out = append(out, t)
		}
	}
	cut := max(0, len(out)-limit) // the oldest come first: keep the newest
	return http.StatusOK, struct {
		Approvals []*approval.Ticket `json:"approvals"`
		More      bool               `json:"more"`
	}{out[cut:], cut > 0}, nil
}

func (c *Console) getApproval(ctx context.Context, who *caller, r *http.Request) (int, any, error) {
	t, err := c.ticket(ctx, who, r)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, t, nil
}

// ticket returns the ticket of a request's path. A caller whom it does not
// concern learns no more than that there may be none.
func (c *Console) ticket(ctx context.Context, who *caller, r *http.Request) (*approval.Ticket, error) {
	t, err := c.cfg.Approvals.Get(ctx, r.PathValue("id"))
	if err != nil {
		return nil, approvalProblem(err)
	}
	if !who.any() && !t.Concerns(who.id.Subject) {
		return nil, newProblem(http.StatusNotFound, approval.CodeNotFound, "there is no such approval", "")
	}
	return t, nil
}

func (c *Console) approve(ctx context.Context, who *caller, r *http.Request) (int, any, error) {
	var in struct {
		Note string `json:"note"`
	}
	if err := readJSON(r, &in, true); err != nil {
		return 0, nil, err
	}
	t, detail, err := c.decidable(ctx, who, r, in.Note)
	if err != nil {
		return 0, nil, err
	}
	if err := c.record(ctx, who, "approval.approve", detail); err != nil {
		return 0, nil, err
	}
	t, err = c.cfg.Approvals.Approve(ctx, t.ID, approver(who), in.Note)
	if err != nil {
		c.note(ctx, who, "approval.approve", outcomeOf(err), detail)
		return 0, nil, approvalProblem(err)
	}
	detail["state"] = string(t.State)
	c.note(ctx, who, "approval.approve", OutcomeOK, detail)
	return http.StatusOK, t, nil
}

func (c *Console) deny(ctx context.Context, who *caller, r *http.Request) (int, any, error) {
	var in struct {
		Reason string `json:"reason"`
	}
	if err := readJSON(r, &in, true); err != nil {
		return 0, nil, err
	}
	t, detail, err := c.decidable(ctx, who, r, in.Reason)
	if err != nil {
		return 0, nil, err
	}
	t, err = c.cfg.Approvals.Deny(ctx, t.ID, approver(who), in.Reason)
	if err != nil {
		c.note(ctx, who, "approval.deny", outcomeOf(err), detail)
		return 0, nil, approvalProblem(err)
	}
	c.note(ctx, who, "approval.deny", OutcomeOK, detail)
	return http.StatusOK, t, nil
}

// decidable checks the role and finds the ticket. Whether this person counts
// is for the desk to say: the policy's requirement names the approvers.
func (c *Console) decidable(ctx context.Context, who *caller, r *http.Request, text string) (*approval.Ticket, map[string]string, error) {
	if !c.cfg.Roles.Approver.Empty() && !who.approver {
		return nil, nil, forbidden("approver")
	}
	if len(text) > maxText {
		return nil, nil, malformed("note and reason have at most " + strconv.Itoa(maxText) + " bytes")
	}
	t, err := c.ticket(ctx, who, r)
	if err != nil {
		return nil, nil, err
	}
	return t, map[string]string{
		"approval": t.ID, "digest": t.Digest, "session": t.SessionID,
		"requester": t.Subject.ID, "target": t.Target.Name, "text": text,
	}, nil
}

func approver(who *caller) approval.Identity {
	return approval.Identity{Subject: who.id.Subject, Actor: who.id.Actor}
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
