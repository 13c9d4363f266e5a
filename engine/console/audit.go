package console

import (
	"context"
	"net/http"

	"github.com/sirupsen/logrus"
)

func (c *Console) event(who *Caller, action, outcome string, detail map[string]string) Event {
	return Event{
		Time: c.now(), Action: action, By: who.Identity.Subject.ID, Issuer: who.Identity.Subject.Issuer,
		Target: detail["target"], Outcome: outcome, Detail: detail,
	}
}

// record audits a change that is about to be made. If that fails the change
// must not be made.
func (c *Console) record(ctx context.Context, who *Caller, action string, detail map[string]string) error {
	if err := c.cfg.Audit(ctx, c.event(who, action, OutcomeRequested, detail)); err != nil {
		c.log.WithError(err).WithField("action", action).Error("admin API: a change could not be recorded and was not made")
		return newProblem(http.StatusServiceUnavailable, ReasonAudit, "the change could not be recorded, so it was not made", "See /readyz.")
	}
	return nil
}

// note audits a change that was made, or that failed after it was requested.
// The client that hung up does not cancel it.
func (c *Console) note(ctx context.Context, who *Caller, action, outcome string, detail map[string]string) {
	fields := logrus.Fields{"action": action, "subject": who.Identity.Subject.ID, "outcome": outcome}
	for k, v := range detail {
		if v != "" {
			fields[k] = v
		}
	}
	c.log.WithFields(fields).Info("admin API: change")
	if err := c.cfg.Audit(context.WithoutCancel(ctx), c.event(who, action, outcome, detail)); err != nil {
		c.log.WithError(err).WithFields(fields).Error("admin API: a change was made but could not be recorded")
	}
}
