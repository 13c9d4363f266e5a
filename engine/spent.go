package engine

import (
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/usage"
)

// spending returns where the session's use is counted, nil where no policy in
// force reads `usage`: then nothing is counted and nothing costs.
func (s *Session) spending() *usage.Account {
	g := s.gate
	if g.cfg.Usage == nil || !g.cfg.Policy.Reads(s.hello.Protocol, "usage") {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.account == nil {
		id := s.identity
		who := usage.Who{Issuer: id.Subject.Issuer, Subject: id.Subject.ID, Task: s.hello.Asserted.Task}
		if id.Actor != nil {
			who.ActorIssuer, who.Actor = id.Actor.Issuer, id.Actor.ID
		}
		s.account = g.cfg.Usage.Account(who)
	}
	return s.account
}

// spend counts c, where anybody asks for it.
func (s *Session) spend(c usage.Counts) {
	if a := s.spending(); a != nil {
		a.Count(c)
	}
}

// begin counts the turn as a request and gives its document what was used
// before it.
func (t *Turn) begin() {
	t.account = t.sess.spending()
	if t.account == nil {
		return
	}
	if t.doc.Stage == input.StageRequest {
		t.counted = 1
	}
	t.doc.Usage = spent(t.account.Count(usage.Counts{Requests: t.counted}))
}

// respend brings doc, which is asked about again, up to date. The turn's own
// request is no use before it.
func (t *Turn) respend(doc *input.Document) {
	if t.account == nil {
		return
	}
	doc.Usage = spent(t.account.Count(usage.Counts{}))
	if doc.Usage == nil {
		return
	}
	for _, by := range []*input.SpentBy{&doc.Usage.Subject, doc.Usage.Actor, doc.Usage.Task} {
		if by != nil {
			by.Day.Requests = max(0, by.Day.Requests-t.counted)
			by.Hour.Requests = max(0, by.Hour.Requests-t.counted)
		}
	}
}

// shown counts what the agent is about to see.
func (t *Turn) shown(rows, bytes int64) {
	if t.account != nil {
		t.account.Count(usage.Counts{Rows: rows, Bytes: bytes, Sensitive: rows * t.sensitive})
	}
}

// spent is `input.usage`: nil, which is null, where it is not known.
func spent(u usage.Usage, known bool) *input.Spent {
	if !known {
		return nil
	}
	by := func(w usage.Windows) input.SpentBy {
		return input.SpentBy{Day: input.SpentCounts(w.Day), Hour: input.SpentCounts(w.Hour)}
	}
	out := &input.Spent{Subject: by(u.Subject)}
	if u.Actor != nil {
		w := by(*u.Actor)
		out.Actor = &w
	}
	if u.Task != nil {
		w := by(*u.Task)
		out.Task = &w
	}
	return out
}
