package engine

import (
	"crypto/sha256"
	"strconv"
	"time"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
)

// scene is what stays the same through a session: who, from where, to what.
// Every input document of the session is written here, and nowhere else.
type scene struct {
	id       string
	hello    Hello
	identity *identity.Identity
	started  time.Time
	// startedAt is started, as in the input.
	startedAt string
	labels    []string

	subject, actor, asserted, target, enforcer *input.Part
}

func newScene(id string, h Hello, started time.Time) scene {
	s := scene{
		id: id, hello: h, identity: h.Identity, started: started, startedAt: started.UTC().Format(time.RFC3339Nano),
		subject: input.NewPart(h.Identity.Subject), asserted: input.NewPart(h.Asserted),
		target: input.NewPart(h.Target), enforcer: input.NewPart(input.Enforcer{Obligations: h.Obligations}),
	}
	if h.Identity.Actor != nil {
		s.actor = input.NewPart(*h.Identity.Actor)
	}
	return s
}

// turnID names the n-th request of the session, from 1.
func (s *scene) turnID(n uint64) string { return s.id + "-" + strconv.FormatUint(n, 10) }

// document is what policies are asked about: the n-th request of the session,
// made at now, after what the session has used so far.
func (s *scene) document(n uint64, req *Request, stage input.Stage, now time.Time, used input.Usage) *input.Document {
	doc := &input.Document{
		Protocol: s.hello.Protocol, Stage: stage, Time: now,
		Request: input.Request{ID: s.turnID(n)},
		Subject: s.subject, Actor: s.actor, Asserted: s.asserted,
		Session: input.Session{
			ID: s.id, StartedAt: s.startedAt, Client: s.hello.Client, Labels: s.labels,
			Usage: used,
		},
		Target: s.targetFor(req), Action: req.Action, Resource: req.Resource, Detail: req.Detail,
		Unknown: req.Unknown, Complete: req.Complete, Parameters: req.Parameters, Enforcer: s.enforcer,
	}
	doc.Request.Digest = s.requestDigest(doc, s.roleFor(req))
	return doc
}

func (s *scene) roleFor(req *Request) string {
	if req.Role != "" {
		return req.Role
	}
	return s.hello.Target.Role
}

// targetFor is the session's target, in the role that it acts as now.
func (s *scene) targetFor(req *Request) *input.Part {
	role := s.roleFor(req)
	if role == s.hello.Target.Role {
		return s.target
	}
	target := s.hello.Target
	target.Role = role
	return input.NewPart(target)
}

// opening is the request that opens a session.
func (h *Hello) opening() *Request {
	return &Request{Action: h.Action, Resource: h.Resource, Detail: h.Detail, Complete: true, Writes: true, Summary: "connect to " + h.Target.Name}
}

// requestDigest names exactly what would be done, by whom, to what: what an
// approval is bound to. Time, ids and usage are not in it, so that the same
// request sent again has the same digest; policy may only widen what is shown
// through masks and limits, and those are bound by the ticket (see hold).
func (s *scene) requestDigest(d *input.Document, role string) string {
	var room [512]byte
	b := append(room[:0], "regate.request/v1\x00"...)
	word := func(v string) { b = append(append(b, v...), 0) }
	sum := func(p *input.Part) {
		d := p.Digest()
		b = append(b, d[:]...)
	}
	word(string(d.Protocol))
	word(string(d.Stage))
	word(s.identity.Subject.Issuer)
	word(s.identity.Subject.ID)
	if a := s.identity.Actor; a != nil {
		word(a.Issuer)
		word(a.ID)
	} else {
		word("")
		word("")
	}
	word(s.hello.Target.Name)
	word(s.hello.Target.Database)
	word(role)
	sum(d.Detail)
	sum(d.Action)
	// The same text can mean another table next time.
	sum(d.Resource)
	sum(d.Unknown)
	sum(d.Parameters)
	return input.Digest(sha256.Sum256(b)).String()
}
