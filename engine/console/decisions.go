package console

import (
	"context"
	"errors"
	"net/http"
)

// ErrNoDecision is what Config.Explain returns for a decision that is not
// recorded here, wrapped or not. Its text is shown.
var ErrNoDecision = errors.New("there is no such decision in the recordings of this gateway")

// ErrNotExplained is what Config.Explain returns where it cannot say now, such as
// without a policy in force. Its text is shown.
var ErrNotExplained = errors.New("the decision cannot be explained at present")

// explain answers GET /api/v1/decisions/{id}/explain[?stage=…].
func (c *Console) explain(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	found, err := c.Explain(ctx, who, r.PathValue("id"), r.URL.Query().Get("stage"))
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, found, nil
}

// Explain says why a recorded decision is what it is. It shows what the
// policies saw, so it takes a role that may see recordings.
func (c *Console) Explain(ctx context.Context, who *Caller, id, stage string) (any, error) {
	if !who.Recordings() {
		return nil, forbidden("auditor")
	}
	if c.cfg.Explain == nil {
		return nil, newProblem(http.StatusNotFound, ReasonNotFound, "this gateway keeps no recordings", "Ask the one that archives.")
	}
	select {
	case c.explaining <- struct{}{}:
		defer func() { <-c.explaining }()
	default: // it is a search: one at a time, and never in the way of decisions
		return nil, newProblem(http.StatusServiceUnavailable, ReasonBusy, "another decision is being explained", "Try again.")
	}
	found, err := c.cfg.Explain(ctx, id, stage)
	switch {
	case errors.Is(err, ErrNoDecision):
		return nil, newProblem(http.StatusNotFound, ReasonNotFound, err.Error(), "`regate sessions show` lists the decisions of a session.")
	case errors.Is(err, ErrNotExplained):
		return nil, newProblem(http.StatusServiceUnavailable, ReasonUnavailable, err.Error(), "")
	case err != nil:
		return nil, err
	}
	return found, nil
}
