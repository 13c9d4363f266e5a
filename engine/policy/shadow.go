package policy

import (
	"fmt"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/input"
)

// shadowQueue bounds the documents that wait for shadow packages.
const shadowQueue = 256

// shadowJob is one document that was decided and that shadow packages look at
// afterwards.
type shadowJob struct {
	plan   *plan
	in     *ast.Term
	doc    input.Document
	facts  facts
	sets   []elements
	ruling *Ruling
}

// queueShadow never waits: an answer is not delayed for a shadow package.
func (e *Engine) queueShadow(p *plan, in *ast.Term, doc *input.Document, f facts, sets []elements, r *Ruling) {
	select {
	case e.shadow <- shadowJob{p, in, *doc, f, sets, r}:
	default:
		e.counters.shadowDropped.Add(1)
	}
}

func (e *Engine) runShadow() {
	for {
		select {
		case <-e.ctx.Done():
			return
		case job := <-e.shadow:
			report := ShadowReport{Document: &job.doc, Ruling: job.ruling}
			for i := range job.plan.shadow {
				q := &job.plan.shadow[i]
				r := e.askShadow(job, q)
				e.note(&job, q.pkg.bundle, &r)
				report.Shadow = append(report.Shadow, r)
			}
			for _, w := range e.worlds {
				if r, ok := w.ask(&job); ok {
					e.note(&job, w.name, &r)
					report.Shadow = append(report.Shadow, r)
				}
			}
			if e.cfg.OnShadow != nil {
				e.cfg.OnShadow(report)
			}
		}
	}
}

// note counts what one shadow ruling would have changed.
func (e *Engine) note(job *shadowJob, bundle string, r *ShadowRuling) {
	if e.ctx.Err() != nil {
		return // cut off by Close: it says nothing
	}
	e.counters.shadowEvaluations.Add(1)
	e.flips.note(bundle, job.ruling, r, job.doc.Request.ID, job.doc.Time)
	if r.Effect != job.ruling.Effect {
		e.counters.shadowFlips.Add(1)
		e.logFlip(job, r)
	}
}

// logFlip tells the operator what a shadow package would have changed. The
// request's id finds the statement in the recordings.
func (e *Engine) logFlip(job *shadowJob, r *ShadowRuling) {
	reasons := make([]string, len(r.Reasons))
	for i := range r.Reasons {
		reasons[i] = r.Reasons[i].ID
	}
	log := e.log.WithFields(logrus.Fields{
		"package": r.Package, "bundle": r.Bundle, "effect": job.ruling.Effect.String(), "would": r.Effect.String(),
		"reasons": reasons, "request": job.doc.Request.ID, "stage": string(job.doc.Stage),
	})
	if len(r.Errors) > 0 {
		log = log.WithField("errors", r.Errors)
	}
	log.Info("a shadow policy would have decided otherwise")
}

// askShadow decides as if one shadow package were enforced with all that are.
func (e *Engine) askShadow(job shadowJob, q *shadowQuery) (out ShadowRuling) {
	failed := func(err error) ShadowRuling {
		return ShadowRuling{Package: q.pkg.name, Effect: Deny, Reasons: []Reason{engineReason(ReasonError)}, Obligations: []Obligation{}, Errors: []string{err.Error()}}
	}
	defer func() {
		if p := recover(); p != nil {
			out = failed(fmt.Errorf("panic: %v", p))
		}
	}()
	// The request's context may have ended; the timeout and Close bound this.
	own, err := e.ask(e.ctx, job.plan.snapshot, &q.query, job.in, question{protocol: job.doc.Protocol, now: job.doc.Time})
	if err != nil {
		return failed(err)
	}
	r := combine(job.facts, append(own, job.sets...))
	return ShadowRuling{Package: q.pkg.name, Effect: r.Effect, Reasons: r.Reasons, Obligations: r.Obligations, Errors: []string{}}
}
