package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/policy"
)

// errDraining is what /readyz says after SIGTERM, so that load balancers look
// elsewhere.
var errDraining = errors.New("the gateway is shutting down")

// dependencies are what /readyz reports: without any of them requests are
// denied.
func (g *gateway) dependencies() []console.Dependency {
	plain := func(fn func() error) func(context.Context) error {
		return func(context.Context) error { return fn() }
	}
	return []console.Dependency{
		{Name: "state", Check: g.state.Healthy},
		{Name: "journal", Check: func(context.Context) error {
			if g.cfg.Record.Mode == "best_effort" {
				return nil // requests pass without it: see the status
			}
			return g.journal.Healthy()
		}},
		{Name: "policy", Check: plain(g.policy.Ready)},
		{Name: "revocations", Check: plain(g.revocations.Healthy)},
		{Name: "approvals", Check: plain(g.approvals.Healthy)},
		{Name: "accepting", Check: func(context.Context) error {
			if g.draining.Load() {
				return errDraining
			}
			return nil
		}},
	}
}

// gatewayStatus is the body of GET /api/v1/status.
type gatewayStatus struct {
	Name      string           `json:"name"`
	Build     buildInfo        `json:"build"`
	StartedAt time.Time        `json:"started_at"`
	Draining  bool             `json:"draining"`
	Record    recordStatus     `json:"record"`
	Listeners []listenerStatus `json:"listeners"`
	Targets   []targetStatus   `json:"targets"`
	Sessions  int              `json:"sessions"`
	Policy    policy.Status    `json:"policy"`
}

type recordStatus struct {
	Mode     string `json:"mode"`
	Journal  string `json:"journal,omitempty"`  // why it refuses; empty: well
	Recorder string `json:"recorder,omitempty"` // why it waits; empty: well, or elsewhere
}

type listenerStatus struct {
	Protocol string   `json:"protocol"`
	Address  string   `json:"address"`
	TLS      bool     `json:"tls"`
	Targets  []string `json:"targets"`
}

type targetStatus struct {
	Name     string            `json:"name"`
	Protocol string            `json:"protocol"`
	Labels   map[string]string `json:"labels"`
}

func (g *gateway) status() any { return g.gatewayStatus() }

func (g *gateway) gatewayStatus() gatewayStatus {
	s := gatewayStatus{
		Name: g.cfg.Record.Gateway, Build: readBuildInfo(), StartedAt: g.started.UTC(), Draining: g.draining.Load(),
		Record:   recordStatus{Mode: g.cfg.Record.Mode, Journal: text(g.journal.Healthy())},
		Sessions: len(g.gate.Live()), Policy: g.policy.Status(),
	}
	if g.recorder != nil {
		s.Record.Recorder = text(g.recorder.Healthy())
	}
	for _, l := range g.postgresListeners {
		s.Listeners = append(s.Listeners, listenerStatus{"postgres", l.Net.Addr().String(), l.Front.TLS != nil, l.Targets})
	}
	for _, l := range g.clusterListeners {
		s.Listeners = append(s.Listeners, listenerStatus{"kubernetes", l.Net.Addr().String(), l.TLS != nil, l.Targets})
	}
	for _, l := range g.mcpListeners {
		s.Listeners = append(s.Listeners, listenerStatus{"mcp", l.Net.Addr().String(), l.TLS != nil, l.Targets})
	}
	for _, l := range g.httpListeners {
		what := "http"
		if l.Forward {
			what = "http forward proxy"
		}
		s.Listeners = append(s.Listeners, listenerStatus{what, l.Net.Addr().String(), l.TLS != nil, l.Targets})
	}
	for _, t := range g.cfg.Targets {
		s.Targets = append(s.Targets, targetStatus{t.Name, t.Protocol, t.Labels})
	}
	for _, t := range g.cfg.MCP.Targets {
		s.Targets = append(s.Targets, targetStatus{t.Name, "mcp", t.Labels})
	}
	for _, t := range g.cfg.HTTP.Targets {
		s.Targets = append(s.Targets, targetStatus{t.Name, "http", t.Labels})
	}
	return s
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// liveSessions is the list of GET /api/v1/sessions, the newest first.
func (g *gateway) liveSessions() any {
	list := g.gate.Live()
	slices.SortFunc(list, func(a, b engine.LiveSession) int {
		return cmp.Or(b.StartedAt.Compare(a.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	if list == nil {
		list = []engine.LiveSession{}
	}
	return list
}

// dependencyGauge shows each dependency as a metric: an alert can name what is
// down.
type dependencyGauge struct{ dependencies []console.Dependency }

var dependencyDesc = prometheus.NewDesc("regate_dependency_up", "1 while the dependency is well; requests are denied without it.", []string{"name"}, nil)

// Describe implements prometheus.Collector.
func (dependencyGauge) Describe(ch chan<- *prometheus.Desc) { ch <- dependencyDesc }

// Collect implements prometheus.Collector.
func (d dependencyGauge) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	for _, dep := range d.dependencies {
		up := 1.0
		if dep.Check(ctx) != nil {
			up = 0
		}
		ch <- prometheus.MustNewConstMetric(dependencyDesc, prometheus.GaugeValue, up, dep.Name)
	}
}
