package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/regate-dev/regate/engine/record"
)

const (
	shownLive   = 50
	shownRecent = 40
)

// activity is what happens now: who is connected, what waits, what was decided
// last.
func (p *Pages) activity(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	if !v.May.Activity {
		return forbidden("viewer, auditor or operator")
	}
	live := p.live()
	var requests, denials int64
	for _, l := range live {
		requests += l.Requests
		denials += l.Denials
	}
	waiting, _, err := p.tickets(v, "pending")
	if err != nil {
		return err
	}
	var recent []record.DecisionHit
	if p.cfg.Recordings != nil {
		if recent, err = p.cfg.Recordings.Index.SearchDecisions(ctx, record.DecisionSearch{Limit: shownRecent}); err != nil {
			return err
		}
	}
	p.render(w, http.StatusOK, "activity", v, page{Title: "Activity", Nav: "activity", Content: struct {
		Live              []Live
		Count             int
		Requests, Denials int64
		Waiting           []ticketLine
		Recent            []record.DecisionHit
		Recorded          bool
		May               may
	}{live[:min(len(live), shownLive)], len(live), requests, denials, waiting, recent, p.cfg.Recordings != nil, v.May}})
	return nil
}

// live are the open sessions of this gateway, the newest first.
func (p *Pages) live() []Live {
	list := p.cfg.Live()
	slices.SortFunc(list, func(a, b Live) int { return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(a.ID, b.ID)) })
	return list
}

// Who is who acts: the agent, and for whom where that is somebody else.
func (l Live) Who() string { return whoActs(l.Subject, l.Actor) }

func whoActs(subject, actor string) string {
	if actor == "" || actor == subject {
		return subject
	}
	return actor + " for " + subject
}

// since reads a span before now, as the pages' lists offer it.
func since(s string, now time.Time) time.Time {
	spans := map[string]time.Duration{"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour}
	if d, ok := spans[s]; ok {
		return now.Add(-d)
	}
	return time.Time{}
}
