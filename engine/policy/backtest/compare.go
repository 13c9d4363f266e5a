package backtest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/policy"
)

// change is one difference between what was decided and what would be.
type change struct {
	kind  Kind
	what  string   // the mask's field or kind, the limit: "rows 100 → 1000"
	group string   // what it is counted under: the field, "rows"
	rules []string // "+acme/new" the candidate's alone, "-acme/old" the recording's alone
	mask  string   // the masked field, where the change counts only for requests that it reaches
}

// diff are the changes between two verdicts.
type diff struct {
	changes []change
	reasons bool // other rules say the same
}

// compare returns what would change from was to now. It is a pure function of
// the two.
func compare(was, now *verdict) diff {
	var d diff
	if k := flip(was, now); k != "" {
		d.changes = append(d.changes, change{kind: k, rules: signed(was.ids(), now.ids())})
	} else if !slices.Equal(was.ids(), now.ids()) && !was.ended {
		d.reasons = true
	}
	if now.failed {
		what := policy.ReasonError
		if now.timeout {
			what = policy.ReasonTimeout
		}
		text := what
		if len(now.errors) > 0 {
			text += ": " + firstLine(now.errors[0])
		}
		d.changes = append(d.changes, change{kind: CandidateError, what: text, group: what})
	}
	if was.effect == policy.Deny || now.effect == policy.Deny {
		return d // what would have been masked is not shown at all
	}
	if was.asked && now.asked && !slices.Equal(was.approvals, now.approvals) {
		d.changes = append(d.changes, change{
			kind: ApprovalChanged, what: strings.Join(was.approvals, " and ") + " → " + strings.Join(now.approvals, " and "),
			rules: signed(was.ids(), now.ids()),
		})
	}
	d.masks(was.masks, now.masks)
	d.limits(was, now)
	d.labels(was.labels, now.labels)
	if was.sealed != now.sealed {
		k := RecordRaised
		if was.sealed {
			k = RecordLowered
		}
		d.changes = append(d.changes, change{kind: k})
	}
	return d
}

// flip says how the effect changes, "" where it does not.
func flip(was, now *verdict) Kind {
	passed, passes := was.effect == policy.Allow, now.effect == policy.Allow
	switch {
	case now.effect == policy.Deny:
		if was.effect != policy.Deny {
			return NewlyDenied
		}
	case was.effect == policy.Deny:
		if passes {
			return NewlyAllowed
		}
		return NewlyApprovable
	case !passed && passes:
		return NewlyAllowed
	case passed && (!passes || now.asked && !was.asked):
		return NewlyHeld
	case passed && was.asked && !now.asked:
		return ApprovalDropped
	}
	return ""
}

// signed marks the rules that only one side names.
func signed(was, now []string) []string {
	var out []string
	for _, id := range now {
		if !slices.Contains(was, id) {
			out = append(out, "+"+id)
		}
	}
	for _, id := range was {
		if !slices.Contains(now, id) {
			out = append(out, "-"+id)
		}
	}
	if len(out) == 0 {
		return slices.Clone(now)
	}
	return out
}

// maskStrength orders the methods by what they leave; see engine/policy.
var maskStrength = map[string]int{"partial": 1, "tokenise": 2, "hash": 3, "redact": 4, "null": 5}

func (d *diff) masks(was, now []maskOf) {
	old := map[string]maskOf{}
	for _, m := range was {
		old[m.On] = m
	}
	add := func(k Kind, on, what string, rules []string) {
		d.changes = append(d.changes, change{kind: k, what: what, group: on, rules: rules, mask: on})
	}
	for _, m := range now {
		before, ok := old[m.On]
		delete(old, m.On)
		switch {
		case !ok:
			add(NewlyMasked, m.On, m.On+" by "+m.text(), signed(nil, m.Because))
		case before.Method == m.Method && before.Shows == m.Shows:
		case maskStrength[m.Method] > maskStrength[before.Method]:
			add(StrongerMask, m.On, m.On+": "+before.text()+" → "+m.text(), signed(before.Because, m.Because))
		default: // two different partial masks: each shows what the other hides
			add(WeakerMask, m.On, m.On+": "+before.text()+" → "+m.text(), signed(before.Because, m.Because))
		}
	}
	for _, m := range was {
		if _, gone := old[m.On]; gone {
			add(NewlyUnmasked, m.On, m.On+", was "+m.text(), signed(m.Because, nil))
		}
	}
}

func (m maskOf) text() string {
	if m.Shows == "" {
		return m.Method
	}
	parts := strings.Split(m.Shows, "/")
	text := "partial (keep_first " + parts[0] + ", keep " + parts[1]
	if parts[2] == "true" {
		text += ", keep_domain"
	}
	return text + ")"
}

func (d *diff) limits(was, now *verdict) {
	for _, l := range []struct {
		name     string
		was, now float64
	}{
		{"rows", float64(was.limit.Rows), float64(now.limit.Rows)},
		{"bytes", float64(was.limit.Bytes), float64(now.limit.Bytes)},
		{"seconds", was.limit.Seconds, now.limit.Seconds},
	} {
		if l.was == l.now {
			continue
		}
		k := LimitLowered
		if l.now == 0 || l.was != 0 && cmp.Less(l.was, l.now) {
			k = LimitRaised
		}
		d.changes = append(d.changes, change{
			kind: k, what: fmt.Sprintf("%s %s → %s", l.name, bound(l.was), bound(l.now)), group: l.name, rules: signed(was.limitFrom, now.limitFrom),
		})
	}
}

func (d *diff) labels(was, now []maskOf) {
	for _, side := range []struct {
		kind         Kind
		these, those []maskOf
	}{{LabelDropped, was, now}, {NewlyLabelled, now, was}} {
		for _, l := range side.these {
			if slices.ContainsFunc(side.those, func(o maskOf) bool { return o.On == l.On }) {
				continue
			}
			rules := signed(nil, l.Because)
			if side.kind == LabelDropped {
				rules = signed(l.Because, nil)
			}
			d.changes = append(d.changes, change{kind: side.kind, what: l.On, group: l.On, rules: rules})
		}
	}
}

func bound(n float64) string {
	if n == 0 {
		return "none"
	}
	return fmt.Sprintf("%g", n)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
