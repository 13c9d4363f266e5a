package engine

import (
	"context"

	"github.com/regate-dev/regate/engine/labels"
	"github.com/regate-dev/regate/engine/policy"
)

func (s *Session) labelled() labels.Who {
	id := s.identity
	who := labels.Who{Issuer: id.Subject.Issuer, Subject: id.Subject.ID, Task: s.hello.Asserted.Task}
	if id.Actor != nil {
		who.ActorIssuer, who.Actor = id.Actor.Issuer, id.Actor.ID
	}
	return who
}

// readLabels gives the turn's document the labels of who asks, where a policy in
// force reads them. The error is a *Denial: without them nobody knows what may be
// let through.
func (t *Turn) readLabels(ctx context.Context) error {
	g := t.sess.gate
	if !g.cfg.Policy.Reads(t.sess.hello.Protocol, "session", "labels") {
		return nil
	}
	if g.cfg.Labels == nil {
		return labelDenial()
	}
	list, err := g.cfg.Labels.Get(ctx, t.sess.labelled())
	if err != nil {
		g.cfg.Logger.WithError(err).Error("labels cannot be read: requests that policies decide by them are denied")
		return labelDenial()
	}
	t.doc.Session.Labels = list
	return nil
}

// putLabels keeps what a ruling that allows says for later requests, before this
// one goes on. The error is a *Denial.
func (s *Session) putLabels(ctx context.Context, r *policy.Ruling) error {
	if len(r.Labels) == 0 {
		return nil
	}
	g := s.gate
	if g.cfg.Labels == nil {
		return labelDenial()
	}
	// The labels stay, whatever becomes of the request: what it had done by then
	// is not known.
	ctx = context.WithoutCancel(ctx)
	var task, agent []string
	for _, l := range r.Labels {
		if l.Scope == policy.LabelAgent {
			agent = append(agent, l.Name)
		} else {
			task = append(task, l.Name)
		}
	}
	who := s.labelled()
	whole := who
	whole.Task = ""
	for _, put := range []struct {
		who  labels.Who
		list []string
	}{{who, task}, {whole, agent}} {
		if len(put.list) == 0 {
			continue
		}
		if err := g.cfg.Labels.Add(ctx, put.who, put.list); err != nil {
			g.cfg.Logger.WithError(err).Error("labels cannot be kept: requests that put them are denied")
			return labelDenial()
		}
	}
	return nil
}

func labelDenial() *Denial {
	return &Denial{Reasons: []string{ReasonLabels}, Message: "what earlier requests have done cannot be looked up or kept at present", Hint: "Try again in a few seconds; tell the gateway's operator if it lasts."}
}
