package web

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/record"
)

const (
	// pageRows is how many rows a list has.
	pageRows = 50
	// searchTime bounds a search: what takes longer needs a narrower question.
	searchTime = 5 * time.Second
)

// sessionLine is a session in a list.
type sessionLine struct{ record.SessionRow }

// Who is who acted.
func (s sessionLine) Who() string { return whoActs(s.Subject, s.Actor) }

// Lasted is how long it took, 0 while it goes on.
func (s sessionLine) Lasted() time.Duration {
	if s.Ended.IsZero() {
		return 0
	}
	return s.Ended.Sub(s.Started)
}

// search is what a list's form holds. Its names are those of the query.
type search struct {
	Subject, Actor, Target, Effect, Table, Reason, Text, Since string
}

func readSearch(q url.Values) search {
	get := func(name string) string { return clip(q.Get(name), 200) }
	return search{
		Subject: get("subject"), Actor: get("actor"), Target: get("target"), Effect: get("effect"), Table: get("table"),
		Reason: get("reason"), Text: get("text"), Since: get("since"),
	}
}

// Given reports whether anything is searched for.
func (s search) Given() bool { return s != search{} }

// query is the search as a query string, with the page that follows a key.
func (s search) query(before string) string {
	q := url.Values{}
	for name, value := range map[string]string{
		"subject": s.Subject, "actor": s.Actor, "target": s.Target, "effect": s.Effect, "table": s.Table,
		"reason": s.Reason, "text": s.Text, "since": s.Since, "before": before,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return q.Encode()
}

func noRecordings() *console.Problem {
	return &console.Problem{Status: http.StatusNotFound, Reason: console.ReasonNotFound, Title: "Not found", Detail: "This gateway keeps no recordings.", Hint: "Ask the one that archives."}
}

func slowSearch() *console.Problem {
	return &console.Problem{
		Status: http.StatusServiceUnavailable, Reason: console.ReasonBusy, Title: "Too slow",
		Detail: "There is too much to look through.", Hint: "Choose a shorter time, or name a subject or a target.",
	}
}

func (p *Pages) sessions(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	switch {
	case !v.May.Activity:
		return forbidden("viewer, auditor or operator")
	case p.cfg.Recordings == nil:
		return noRecordings()
	}
	q := readSearch(r.URL.Query())
	if !v.May.Recordings {
		q.Text, q.Table = "", "" // an answer would tell what was asked
	}
	within, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	rows, err := p.cfg.Recordings.Index.Sessions(within, record.SessionFilter{
		Subject: q.Subject, Actor: q.Actor, Target: q.Target, Effect: q.Effect, Table: q.Table, Reason: q.Reason, Text: q.Text,
		Since: since(q.Since, p.now()), Before: r.URL.Query().Get("before"), Limit: pageRows + 1,
	})
	if err != nil {
		if within.Err() != nil && ctx.Err() == nil {
			return slowSearch()
		}
		return err
	}
	next := ""
	if len(rows) > pageRows {
		rows = rows[:pageRows]
		next = q.query(rows[pageRows-1].ID)
	}
	list := make([]sessionLine, len(rows))
	for i, row := range rows {
		list[i] = sessionLine{row}
	}
	p.render(w, http.StatusOK, "sessions", v, page{Title: "Sessions", Nav: "sessions", Content: struct {
		Search  search
		List    []sessionLine
		Next    string
		Targets []string
		First   bool
		Query   string
		May     may
	}{q, list, next, p.targetNames(), r.URL.Query().Get("before") == "", q.query(""), v.May}})
	return nil
}

func (p *Pages) targetNames() []string {
	var names []string
	for _, t := range p.cfg.Status().Targets {
		names = append(names, t.Name)
	}
	return names
}
