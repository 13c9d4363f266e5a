package corpus

import (
	"encoding/json"
	"fmt"

	"github.com/regate-dev/regate/engine/input"
)

// Agent is who made a request: an actor for a subject, or a subject alone.
type Agent struct {
	Subject, SubjectIssuer string
	Actor, ActorIssuer     string // "" where nobody acts for the subject
}

// String is the agent's name in reports: "agent-7 for alice", "alice".
func (a Agent) String() string {
	switch {
	case a == Agent{}:
		return "(nobody)"
	case a.Actor == "" || a.Actor == a.Subject:
		return a.Subject
	}
	return a.Actor + " for " + a.Subject
}

// Is reports whether name names the agent: the actor's id, the subject's where
// there is no actor, or the whole of String.
func (a Agent) Is(name string) bool {
	if a.Actor != "" && a.Actor == name || a.Actor == "" && a.Subject == name {
		return true
	}
	return a.String() == name
}

// Agents reads who made a request. It remembers what it read last: one after
// the other, requests are mostly of the same agent. It is for one goroutine.
type Agents struct {
	subject, actor input.Digest
	known          bool
	last           Agent
}

// Of returns who made r.
func (m *Agents) Of(r *Recorded) (Agent, error) {
	var subject, actor *input.Entry
	for i := range r.Entries {
		switch r.Entries[i].Key {
		case "subject":
			subject = &r.Entries[i]
		case "actor":
			actor = &r.Entries[i]
		}
	}
	var s, a input.Digest
	if subject != nil {
		s = subject.Digest
	}
	if actor != nil {
		a = actor.Digest
	}
	if m.known && m.subject == s && m.actor == a {
		return m.last, nil
	}
	var out Agent
	for _, p := range []struct {
		entry      *input.Entry
		id, issuer *string
	}{{subject, &out.Subject, &out.SubjectIssuer}, {actor, &out.Actor, &out.ActorIssuer}} {
		if p.entry == nil {
			continue
		}
		var who struct{ ID, Issuer string }
		if err := json.Unmarshal(p.entry.JSON, &who); err != nil {
			return Agent{}, fmt.Errorf("input: %s: %w", p.entry.Key, err)
		}
		*p.id, *p.issuer = who.ID, who.Issuer
	}
	m.subject, m.actor, m.last, m.known = s, a, out, true
	return out, nil
}
