package web

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/policy/explain"
	"github.com/regate-dev/regate/engine/record"
)

func (p *Pages) decisions(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	switch {
	case !v.May.Recordings:
		return forbidden("auditor or operator")
	case p.cfg.Recordings == nil:
		return noRecordings()
	}
	q := readSearch(r.URL.Query())
	within, cancel := context.WithTimeout(ctx, searchTime)
	defer cancel()
	hits, err := p.cfg.Recordings.Index.SearchDecisions(within, record.DecisionSearch{
		Effect: q.Effect, Subject: q.Subject, Actor: q.Actor, Target: q.Target, Table: q.Table, Reason: q.Reason, Text: q.Text,
		Since: since(q.Since, p.now()), Before: r.URL.Query().Get("before"), Limit: pageRows + 1,
	})
	switch {
	case errors.Is(err, record.ErrPageKey):
		return notFound("There is no such page.")
	case err != nil && within.Err() != nil && ctx.Err() == nil:
		return slowSearch()
	case err != nil:
		return err
	}
	next := ""
	if len(hits) > pageRows {
		hits = hits[:pageRows]
		next = q.query(hits[pageRows-1].Key())
	}
	p.render(w, http.StatusOK, "decisions", v, page{Title: "Decisions", Nav: "decisions", Content: struct {
		Search  search
		List    []record.DecisionHit
		Next    string
		Targets []string
		First   bool
		Query   string
	}{q, hits, next, p.targetNames(), r.URL.Query().Get("before") == "", q.query("")}})
	return nil
}

// decision is one decision and why it is what it is. The search for what would
// have changed it takes a while: the page comes first and asks for it then.
func (p *Pages) decision(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	switch {
	case !v.May.Recordings:
		return forbidden("auditor or operator")
	case p.cfg.Recordings == nil:
		return noRecordings()
	}
	id := strings.ToUpper(r.PathValue("id"))
	rows, err := p.cfg.Recordings.Index.Decisions(ctx, record.DecisionFilter{ID: id, Limit: 4})
	if err != nil {
		return err
	}
	content := struct {
		ID        string
		Rows      []record.DecisionRow
		Session   record.SessionRow
		Who       string
		Explained *explain.Explanation
		Problem   *console.Problem
		Before    uint64 // the page of the session begins after this request
	}{ID: id, Rows: rows}
	if len(rows) > 0 {
		if content.Session, err = p.cfg.Recordings.Index.Session(ctx, rows[0].Session); err != nil && !errors.Is(err, record.ErrNoSession) {
			return err
		}
		content.Before = rows[0].Turn - min(rows[0].Turn, pageTurns/2)
		content.Who = whoActs(content.Session.Subject, content.Session.Actor)
	}
	if r.URL.Query().Get("explain") != "" {
		found, err := p.cfg.API.Explain(ctx, v.who, id, r.URL.Query().Get("stage"))
		var ok bool
		switch content.Explained, ok = found.(*explain.Explanation); {
		case err != nil:
			content.Problem = console.ProblemOf(err)
		case !ok:
			return errors.New("the explanation has another form")
		}
	}
	if len(rows) == 0 && content.Explained == nil && content.Problem == nil {
		return notFound("There is no such decision in the recordings of this gateway.")
	}
	p.render(w, http.StatusOK, "decision", v, page{Title: "Decision " + id, Nav: "decisions", Content: content})
	return nil
}
