package policy

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// maxFlipSeries bounds the counters of rules: an id may be made from the input.
const maxFlipSeries = 1_000

// otherRule stands for rules beyond the bound.
const otherRule = "(other)"

// ShadowFlip counts how often one rule of what is in shadow would have changed
// an answer.
type ShadowFlip struct {
	Bundle  string `json:"bundle"`
	Package string `json:"package"` // below regate.policies; "" where a whole bundle is in shadow
	// Rule is the id of the rule that makes the difference: the one that denies,
	// holds or allows, or where an enforced rule denied and would no more, that one.
	Rule string `json:"rule"`
	// From is the effect in force, To what it would be. Where they are equal an
	// obligation is: Obligation says which kind, Change whether it is added or
	// removed.
	From       Effect `json:"from"`
	To         Effect `json:"to"`
	Obligation string `json:"obligation,omitempty"` // mask, limit, require_approval or record
	Change     string `json:"change,omitempty"`     // added or removed

	Count   uint64    `json:"count"` // since this revision is in shadow
	Total   uint64    `json:"total"` // since the start
	Last    time.Time `json:"last"`
	Request string    `json:"request"` // the last one's id, as in the recording
}

// flipKey is what flips are counted by.
type flipKey struct {
	bundle, pkg, rule  string
	from, to           Effect
	obligation, change string
}

// flips counts by rule.
type flips struct {
	mu    sync.Mutex
	known map[flipKey]*ShadowFlip
}

func newFlips() *flips { return &flips{known: map[flipKey]*ShadowFlip{}} }

// note counts what a shadow ruling would have changed.
func (f *flips) note(bundle string, was *Ruling, would *ShadowRuling, request string, now time.Time) {
	keys := differences(bundle, was, would)
	if len(keys) == 0 {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range keys {
		s := f.known[k]
		if s == nil && len(f.known) >= maxFlipSeries {
			k.rule = otherRule
			s = f.known[k]
		}
		if s == nil {
			s = &ShadowFlip{Bundle: k.bundle, Package: k.pkg, Rule: k.rule, From: k.from, To: k.to, Obligation: k.obligation, Change: k.change}
			f.known[k] = s
		}
		s.Count++
		s.Total++
		s.Last, s.Request = now, request
	}
}

// forget begins the count of a bundle anew: another revision is in shadow.
func (f *flips) forget(bundle string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, s := range f.known {
		if k.bundle == bundle {
			s.Count = 0
		}
	}
}

// list returns the flips, the most frequent of each bundle first.
func (f *flips) list() []ShadowFlip {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]ShadowFlip, 0, len(f.known))
	for _, s := range f.known {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b ShadowFlip) int {
		return cmp.Or(strings.Compare(a.Bundle, b.Bundle), strings.Compare(a.Package, b.Package), cmp.Compare(b.Count, a.Count),
			strings.Compare(a.Rule, b.Rule), cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To),
			strings.Compare(a.Obligation, b.Obligation), strings.Compare(a.Change, b.Change))
	})
	return out
}

// differences names the rules that make would differ from was: each once.
func differences(bundle string, was *Ruling, would *ShadowRuling) []flipKey {
	key := flipKey{bundle: bundle, pkg: would.Package, from: was.Effect, to: would.Effect}
	seen := map[flipKey]bool{}
	if was.Effect != would.Effect {
		for _, rule := range causes(was, would) {
			key.rule = rule
			seen[key] = true
		}
	} else if was.Effect != Deny {
		changed := func(from, in []Obligation, change string) {
			key.change = change
			for _, o := range from {
				if slices.ContainsFunc(in, func(x Obligation) bool { return x.ID == o.ID && sameProperties(x, o) }) {
					continue
				}
				key.obligation = o.Type
				for _, rule := range o.Because {
					key.rule = rule
					seen[key] = true
				}
			}
		}
		changed(would.Obligations, was.Obligations, "added")
		changed(was.Obligations, would.Obligations, "removed")
	}
	out := make([]flipKey, 0, len(seen))
	for k := range seen {
		out = append(out, k)
	}
	return out
}

// causes are the ids of the rules that explain another effect: what restricts
// now, or where less is restricted, what allows now or has ceased to restrict.
func causes(was *Ruling, would *ShadowRuling) []string {
	ids := func(reasons []Reason) []string {
		var out []string
		for _, r := range reasons {
			out = append(out, r.ID)
		}
		return sortedSet(out)
	}
	before, after := ids(was.Reasons), ids(would.Reasons)
	if would.Effect < was.Effect || slices.Contains(before, ReasonNoAllow) {
		return after
	}
	gone := slices.DeleteFunc(slices.Clone(before), func(id string) bool { return slices.Contains(after, id) })
	if len(gone) == 0 {
		return before
	}
	return gone
}

// sameProperties compares obligations of one id. What an approval lacks is no
// property of the rule.
func sameProperties(a, b Obligation) bool {
	if a.Type != b.Type || len(a.Properties) != len(b.Properties) {
		return false
	}
	for k, v := range a.Properties {
		w, ok := b.Properties[k]
		if list, isList := v.([]string); isList {
			other, _ := w.([]string)
			if !slices.Equal(list, other) {
				return false
			}
			continue
		}
		if !ok || v != w {
			return false
		}
	}
	return true
}

var (
	flipLabels = []string{"bundle", "package", "rule", "from", "to"}
	flipDesc   = prometheus.NewDesc("regate_policy_shadow_rule_flips_total",
		"How often a rule of what is in shadow would have changed the effect. A document counts for each such rule.", flipLabels, nil)
	changeLabels = []string{"bundle", "package", "rule", "obligation", "change"}
	changeDesc   = prometheus.NewDesc("regate_policy_shadow_rule_obligations_total",
		"How often a rule of what is in shadow would have added or removed an obligation while the effect stays.", changeLabels, nil)
)

// collect gives the counters to Prometheus.
func (f *flips) collect(ch chan<- prometheus.Metric) {
	for _, s := range f.list() {
		if s.Obligation != "" {
			ch <- prometheus.MustNewConstMetric(changeDesc, prometheus.CounterValue, float64(s.Total), s.Bundle, s.Package, s.Rule, s.Obligation, s.Change)
			continue
		}
		ch <- prometheus.MustNewConstMetric(flipDesc, prometheus.CounterValue, float64(s.Total), s.Bundle, s.Package, s.Rule, s.From.String(), s.To.String())
	}
}
