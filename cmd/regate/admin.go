package main

import (
	"context"
	"crypto/tls"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/console"
)

func (g *gateway) openAdmin(ctx context.Context) (err error) {
	if !g.cfg.Admin.Enabled() {
		return nil
	}
	g.admin, err = console.New(console.Config{
		Verifier: g.verifier, Revocations: g.revocations, Approvals: g.approvals, Roles: consoleRoles(g.cfg.Admin.Roles), Tools: g.tools,
		Dependencies: g.dependencies(), Status: g.status, Sessions: g.liveSessions, Audit: g.audit, Explain: g.explainer(),
		// Without TLS the API is on loopback alone: whoever asks is on this machine.
		Metrics: g.metrics, Details: !g.cfg.Admin.TLS.Enabled(), Logger: g.log.WithField("component", "admin"),
	})
	if err != nil {
		return err
	}
	return g.openConsole(ctx)
}

// audit puts a change made through the admin API into the journal.
func (g *gateway) audit(ctx context.Context, e console.Event) error {
	return g.gate.Audit(ctx, engine.AuditEvent{
		Time: e.Time, Action: e.Action, By: e.By, Issuer: e.Issuer, Target: e.Target, Outcome: e.Outcome, Detail: e.Detail,
	})
}

// serveAdmin answers until ctx ends.
func (g *gateway) serveAdmin(ctx context.Context) error {
	var conf *tls.Config
	if g.cfg.Admin.TLS.Enabled() {
		var err error
		if conf, err = serverTLS(g.cfg.Admin.TLS, g.log); err != nil {
			return err
		}
	}
	if g.pages != nil { // streams of events would keep it from ending
		defer context.AfterFunc(ctx, g.pages.Close)()
	}
	return g.admin.Serve(ctx, g.adminListener, conf)
}
