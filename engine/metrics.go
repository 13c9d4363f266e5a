package engine

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/regate-dev/regate/engine/policy"
)

// metrics counts what the gate does. The counters of a session are looked up
// once, when it opens.
type metrics struct {
	decisions *prometheus.CounterVec   // protocol, target, effect
	denials   *prometheus.CounterVec   // target, reason
	held      *prometheus.CounterVec   // target
	identity  *prometheus.CounterVec   // target, reason
	rows      *prometheus.CounterVec   // target
	bytes     *prometheus.CounterVec   // target
	waited    *prometheus.HistogramVec // target
	live      *prometheus.Desc
	gate      *Gate
}

func newMetrics(g *Gate) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "regate", Name: name, Help: help}, labels)
	}
	return &metrics{
		decisions: counter("decisions_total", "Requests decided, by effect.", "protocol", "target", "effect"),
		denials:   counter("denials_total", "Requests denied, by the first reason.", "target", "reason"),
		held:      counter("held_total", "Requests held for approval.", "target"),
		identity:  counter("identity_refusals_total", "Agents refused before a session, by reason.", "target", "reason"),
		rows:      counter("rows_total", "Rows shown to agents.", "target"),
		bytes:     counter("bytes_total", "Bytes shown to agents.", "target"),
		waited: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "regate", Name: "hold_seconds", Help: "How long held requests kept their agents waiting.",
			Buckets: []float64{0.1, 1, 5, 15, 30, 60, 120, 300, 900, 3600},
		}, []string{"target"}),
		live: prometheus.NewDesc("regate_sessions", "Open sessions.", []string{"protocol", "target"}, nil),
		gate: g,
	}
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, c := range []prometheus.Collector{m.decisions, m.denials, m.held, m.identity, m.rows, m.bytes, m.waited} {
		c.Describe(ch)
	}
	ch <- m.live
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	for _, c := range []prometheus.Collector{m.decisions, m.denials, m.held, m.identity, m.rows, m.bytes, m.waited} {
		c.Collect(ch)
	}
	type key struct{ protocol, target string }
	live := map[key]int{}
	for _, s := range m.gate.sessions.all() {
		live[key{string(s.hello.Protocol), s.hello.Target.Name}]++
	}
	for k, n := range live {
		ch <- prometheus.MustNewConstMetric(m.live, prometheus.GaugeValue, float64(n), k.protocol, k.target)
	}
}

// Collector returns the gate's metrics for a Prometheus registry.
func (g *Gate) Collector() prometheus.Collector { return g.metrics }

// meters are one session's counters.
type meters struct {
	allowed, held, rows, bytes prometheus.Counter
	waited                     prometheus.Observer // seconds
}

func (m *metrics) session(protocol, target string) meters {
	return meters{
		allowed: m.decisions.WithLabelValues(protocol, target, policy.Allow.String()),
		held:    m.held.WithLabelValues(target),
		rows:    m.rows.WithLabelValues(target),
		bytes:   m.bytes.WithLabelValues(target),
		waited:  m.waited.WithLabelValues(target),
	}
}

// denied counts a denial. Reasons come from policies: their number is bounded
// by the rules there are, except for an error's, which is the engine's own.
func (m *metrics) denied(s *Session, r *policy.Ruling) {
	m.decisions.WithLabelValues(string(s.hello.Protocol), s.hello.Target.Name, policy.Deny.String()).Inc()
	reason := policy.ReasonError
	for _, why := range r.Reasons {
		if why.Effect != policy.Allow {
			reason = why.ID
			break
		}
	}
	m.denials.WithLabelValues(s.hello.Target.Name, reason).Inc()
}
