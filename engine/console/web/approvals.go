package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/record"
)

// shownTickets bounds a list of held requests.
const shownTickets = 100

// ticketLine is a held request in a list.
type ticketLine struct {
	*approval.Ticket
	Mine bool // this person can decide it now
}

// Who is who asked: the agent, and for whom where that is somebody else.
func (t ticketLine) Who() string { return requester(t.Ticket) }

func requester(t *approval.Ticket) string {
	if t.Actor != nil && t.Actor.ID != t.Subject.ID {
		return t.Actor.ID + " for " + t.Subject.ID
	}
	return t.Subject.ID
}

func (p *Pages) tickets(v *visit, state string) (list []ticketLine, more bool, err error) {
	tickets, more, err := p.cfg.API.Tickets(v.who, state, shownTickets)
	if err != nil {
		return nil, false, err
	}
	for _, t := range slices.Backward(tickets) {
		list = append(list, ticketLine{t, p.mayDecide(v, t) == nil})
	}
	return list, more, nil
}

// mayDecide says why this person cannot decide on a request, nil where they can.
func (p *Pages) mayDecide(v *visit, t *approval.Ticket) error {
	if err := p.cfg.API.MayDecide(v.who); err != nil {
		return err
	}
	return t.Decidable(approval.Identity{Subject: v.who.Identity.Subject, Actor: v.who.Identity.Actor})
}

func (p *Pages) approvals(_ context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	state := cmp.Or(r.URL.Query().Get("state"), "open")
	list, more, err := p.tickets(v, state)
	if err != nil {
		return err
	}
	if state == "open" { // what runs out first comes first
		slices.SortStableFunc(list, func(a, b ticketLine) int {
			if a.Mine != b.Mine {
				return cmp.Compare(b2i(b.Mine), b2i(a.Mine))
			}
			return a.ExpiresAt.Compare(b.ExpiresAt)
		})
	}
	p.render(w, http.StatusOK, "approvals", v, page{Title: "Approvals", Nav: "approvals", Content: struct {
		State string
		List  []ticketLine
		More  bool
	}{state, list, more}})
	return nil
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// ticketView is one held request, as an approver judges it.
type ticketView struct {
	*approval.Ticket
	Verb         string
	Statement    template.HTML
	Label        string // what the statement is
	Parameters   template.HTML
	Things       []thing
	Detail       template.HTML // the request as policy saw it
	Requirements []requirementView
	Have, Need   int
	CannotDecide string // why this person cannot; "": they can
	Open         bool
	Before       *before
	May          may
}

// Who is who asked.
func (t *ticketView) Who() string { return requester(t.Ticket) }

// thing is a table, an object or whatever else a request touches.
type thing struct {
	Name    string
	Access  []string
	Columns []string
}

type requirementView struct {
	approval.Requirement
	Given []approval.Approval
	Left  int
}

// before is what became of requests like this one.
type before struct {
	Allowed, Denied, Held int
	More                  bool
	Tickets               []ticketLine
	Decisions             []record.DecisionHit
}

func (p *Pages) approval(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	t, err := p.cfg.API.Ticket(ctx, v.who, r.PathValue("id"))
	if err != nil {
		return err
	}
	view := describe(t)
	view.May = v.May
	if err := p.mayDecide(v, t); err != nil {
		view.CannotDecide = sentence(err)
	}
	if view.Before, err = p.before(ctx, v, t); err != nil {
		return err
	}
	p.render(w, http.StatusOK, "approval", v, page{Title: "Approval " + t.ID, Nav: "approvals", Content: view})
	return nil
}

// sentence is an error of the desk or the API for the person it concerns.
func sentence(err error) string {
	text := console.ProblemOf(err).Detail
	var e *approval.Error
	if errors.As(err, &e) {
		text = e.Message
	}
	if text == "" {
		return "You cannot decide this."
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

func describe(t *approval.Ticket) *ticketView {
	view := &ticketView{Ticket: t, Open: t.State.Open(), Statement: visible(clip(t.Summary, maxShown)), Label: "Request"}
	var doc map[string]json.RawMessage
	_ = json.Unmarshal(t.Request, &doc) // what is not there is not shown
	var action struct{ Verb string }
	_ = json.Unmarshal(doc["action"], &action)
	view.Verb = action.Verb
	if raw := doc["sql"]; len(raw) > 0 {
		var sql struct{ Text string }
		_ = json.Unmarshal(raw, &sql)
		view.Statement, view.Label = highlight("sql", cmp.Or(sql.Text, t.Summary)), "Statement"
	} else {
		for _, part := range []string{"http", "mcp", "kubernetes"} {
			if raw := doc[part]; len(raw) > 0 {
				view.Detail = prettyJSON(raw)
			}
		}
	}
	if raw := strings.TrimSpace(string(doc["parameters"])); raw != "" && raw != "null" && raw != "[]" && raw != "{}" {
		view.Parameters = prettyJSON([]byte(raw))
	}
	view.Things = things(doc["resource"])
	for _, q := range t.Requirements {
		one := requirementView{Requirement: q, Left: max(q.Count, 1)}
		for _, a := range t.Approvals {
			if slices.Contains(a.Meets, q.ID) {
				one.Given = append(one.Given, a)
				one.Left = max(0, one.Left-1)
			}
		}
		view.Need += max(q.Count, 1)
		view.Have += max(q.Count, 1) - one.Left
		view.Requirements = append(view.Requirements, one)
	}
	return view
}

// things are what a request touches, from the resource of its document.
func things(raw json.RawMessage) []thing {
	var resource struct {
		Names  []string
		Tables map[string]struct{ Access, Columns []string }
	}
	_ = json.Unmarshal(raw, &resource)
	var list []thing
	for _, name := range slices.Sorted(maps.Keys(resource.Tables)) {
		list = append(list, thing{name, resource.Tables[name].Access, resource.Tables[name].Columns})
	}
	if list == nil {
		for _, name := range resource.Names {
			list = append(list, thing{Name: name})
		}
	}
	return list
}

const (
	// similarSince is how far back the history of a request goes.
	similarSince = 30 * 24 * time.Hour
	// similarTime bounds the search for it: the request waits.
	similarTime  = 2 * time.Second
	similarCount = 200
	similarShown = 5
)

// before looks for requests like this one: those of the same agent, and what
// was decided on the same verb and tables of the same target.
func (p *Pages) before(ctx context.Context, v *visit, t *approval.Ticket) (*before, error) {
	b := &before{}
	all, _, err := p.cfg.API.Tickets(v.who, "all", approval.MaxList)
	if err != nil {
		return nil, err
	}
	verb, tables := action(t)
	for _, old := range slices.Backward(all) {
		if oldVerb, oldTables := action(old); old.ID == t.ID || old.Target.Name != t.Target.Name || requester(old) != requester(t) || oldVerb != verb || oldTables != tables {
			continue
		}
		if b.Tickets = append(b.Tickets, ticketLine{Ticket: old}); len(b.Tickets) == similarShown {
			break
		}
	}
	if p.cfg.Recordings == nil || verb == "" || tables == "" {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(ctx, similarTime)
	defer cancel()
	hits, err := p.cfg.Recordings.Index.SearchDecisions(ctx, record.DecisionSearch{
		Target: t.Target.Name, Verb: verb, Tables: tables, Since: p.now().Add(-similarSince), Limit: similarCount,
	})
	if err != nil {
		if ctx.Err() != nil {
			return b, nil // too much to look through while an agent waits
		}
		return nil, err
	}
	b.More = len(hits) == similarCount
	for _, h := range hits {
		switch h.Effect {
		case "allow":
			b.Allowed++
		case "deny":
			b.Denied++
		default:
			b.Held++
		}
	}
	b.Decisions = hits[:min(len(hits), similarShown)]
	return b, nil
}

// action is what a request does and to which tables, as the index has it.
func action(t *approval.Ticket) (verb, tables string) {
	var doc struct {
		Action   struct{ Verb string }
		Resource struct {
			TableNames []string `json:"table_names"`
			Names      []string
		}
	}
	if json.Unmarshal(t.Request, &doc) != nil {
		return "", ""
	}
	names := doc.Resource.TableNames
	if names == nil {
		names = doc.Resource.Names
	}
	if len(names) == 0 {
		return doc.Action.Verb, ""
	}
	raw, err := json.Marshal(names)
	if err != nil {
		return doc.Action.Verb, ""
	}
	return doc.Action.Verb, string(raw)
}

func (p *Pages) approve(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	if _, err := p.cfg.API.Approve(ctx, v.who, r.PathValue("id"), strings.TrimSpace(r.PostFormValue("note"))); err != nil {
		return err
	}
	http.Redirect(w, r, "/approvals/"+r.PathValue("id"), http.StatusSeeOther)
	return nil
}

func (p *Pages) deny(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	reason := strings.TrimSpace(r.PostFormValue("reason"))
	if reason == "" {
		return &console.Problem{
			Status: http.StatusBadRequest, Reason: console.ReasonMalformed, Title: "Bad request",
			Detail: "A refusal needs a reason: the agent and its person will read it.", Hint: "Go back and say why.",
		}
	}
	if _, err := p.cfg.API.Deny(ctx, v.who, r.PathValue("id"), reason); err != nil {
		return err
	}
	http.Redirect(w, r, "/approvals/"+r.PathValue("id"), http.StatusSeeOther)
	return nil
}
