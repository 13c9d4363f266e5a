package web

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
)

func (p *Pages) policies(_ context.Context, v *visit, w http.ResponseWriter, _ *http.Request) error {
	if !v.May.Gateway {
		return forbidden("viewer")
	}
	p.render(w, http.StatusOK, "policies", v, page{Title: "Policies", Nav: "policies", Content: p.cfg.Policy()})
	return nil
}

func (p *Pages) health(ctx context.Context, v *visit, w http.ResponseWriter, _ *http.Request) error {
	if !v.May.Gateway {
		return forbidden("viewer")
	}
	dependencies, well := p.cfg.API.Health(ctx)
	p.render(w, http.StatusOK, "health", v, page{Title: "Health", Nav: "health", Content: struct {
		Well         bool
		Dependencies []console.DependencyState
		Status       Status
		Counters     policy.Counters
	}{well, dependencies, p.cfg.Status(), p.cfg.Policy().Counters}})
	return nil
}

// targetLine is a target with what goes on there.
type targetLine struct {
	Target
	Sessions int
	Revoked  *console.Revoked
}

// identityLine is somebody who is connected, or was lately.
type identityLine struct {
	ID, Issuer string
	Agent      bool // acts for others
	Sessions   int  // open
	Requests   int64
	Denials    int64
	Targets    []string
	Revoked    *console.Revoked
}

// lookBack is how many of the last sessions are looked through for identities.
const lookBack = 200

func (p *Pages) targets(ctx context.Context, v *visit, w http.ResponseWriter, _ *http.Request) error {
	if !v.May.Gateway {
		return forbidden("viewer")
	}
	revoked, err := p.cfg.API.Revocations(v.who)
	if err != nil {
		return err
	}
	live := p.live()
	var targets []targetLine
	for _, t := range p.cfg.Status().Targets {
		line := targetLine{Target: t}
		for _, l := range live {
			if l.Target == t.Name {
				line.Sessions++
			}
		}
		for i := range revoked {
			if revoked[i].Kind == "target" && revoked[i].Value == t.Name {
				line.Revoked = &revoked[i]
			}
		}
		targets = append(targets, line)
	}
	people, err := p.identities(ctx, live, revoked)
	if err != nil {
		return err
	}
	p.render(w, http.StatusOK, "targets", v, page{Title: "Targets and identities", Nav: "targets", Content: struct {
		Targets    []targetLine
		Identities []*identityLine
		Revoked    []console.Revoked
		May        may
	}{targets, people, revoked, v.May}})
	return nil
}

// identities are those with open sessions, and those of the last sessions.
func (p *Pages) identities(ctx context.Context, live []Live, revoked []console.Revoked) ([]*identityLine, error) {
	byID := map[string]*identityLine{}
	add := func(id, issuer string, agent bool, target string) *identityLine {
		if id == "" {
			return &identityLine{}
		}
		line := byID[id+"\x00"+issuer]
		if line == nil {
			line = &identityLine{ID: id, Issuer: issuer}
			byID[id+"\x00"+issuer] = line
		}
		line.Agent = line.Agent || agent
		if !slices.Contains(line.Targets, target) {
			line.Targets = append(line.Targets, target)
		}
		return line
	}
	for _, l := range live {
		for _, line := range []*identityLine{add(l.Subject, l.Issuer, false, l.Target), add(l.Actor, l.Issuer, true, l.Target)} {
			line.Sessions++
			line.Requests += l.Requests
			line.Denials += l.Denials
		}
	}
	if p.cfg.Recordings != nil {
		rows, err := p.cfg.Recordings.Index.Sessions(ctx, record.SessionFilter{Limit: lookBack})
		if err != nil {
			return nil, err
		}
		for _, s := range rows {
			if s.Protocol == "regate" { // the gateway's own audit trail
				continue
			}
			add(s.Subject, s.Issuer, false, s.Target)
			add(s.Actor, s.Issuer, true, s.Target)
		}
	}
	var list []*identityLine
	for _, line := range byID {
		for i := range revoked {
			if r := &revoked[i]; r.Kind == "subject" && r.Value == line.ID && (r.Issuer == "" || r.Issuer == line.Issuer) {
				line.Revoked = r
			}
		}
		slices.Sort(line.Targets)
		list = append(list, line)
	}
	slices.SortFunc(list, func(a, b *identityLine) int {
		return cmp.Or(cmp.Compare(b.Sessions, a.Sessions), cmp.Compare(a.ID, b.ID))
	})
	return list, nil
}

func (p *Pages) revoke(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	_, err := p.cfg.API.Revoke(ctx, v.who, console.Revocation{
		Kind: r.PostFormValue("kind"), Value: strings.TrimSpace(r.PostFormValue("value")), Issuer: strings.TrimSpace(r.PostFormValue("issuer")),
		Reason: strings.TrimSpace(r.PostFormValue("reason")),
	})
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/targets", http.StatusSeeOther)
	return nil
}

func (p *Pages) restore(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	if err := p.cfg.API.Restore(ctx, v.who, r.PathValue("key")); err != nil {
		return err
	}
	http.Redirect(w, r, "/targets", http.StatusSeeOther)
	return nil
}
