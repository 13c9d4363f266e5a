package prove

import (
	"fmt"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/policy"
)

// Loss is one way in which a ruling lets more through than another.
type Loss struct {
	// Rules are the ids of the rules that no longer speak, or, where something
	// is allowed that was not, of those that now do.
	Rules []string
	// Gained says that Rules are those that now speak.
	Gained bool
	Before string // e.g. "deny"
	After  string // e.g. "allow"
}

// Loosened compares two rulings of one request. The result is empty unless the
// second is more permissive: a weaker effect, a mask lost or weakened, a limit
// raised, an approval dropped or made easier, less recorded.
func Loosened(before, after *policy.Ruling) []Loss {
	var out []Loss
	if after.Effect > before.Effect {
		loss := Loss{Before: before.Effect.String(), After: after.Effect.String(), Rules: lost(reasons(before), reasons(after))}
		if before.Effect == policy.Deny && len(before.Reasons) == 1 && before.Reasons[0].ID == policy.ReasonNoAllow {
			loss.Rules, loss.Gained = allowing(after), true
		}
		return append(out, loss)
	}
	if before.Effect == policy.Deny || after.Effect == policy.Deny {
		return out
	}
	out = append(out, masksLost(before, after)...)
	out = append(out, limitsRaised(before, after)...)
	out = append(out, approvalsLost(before, after)...)
	for _, l := range before.Labels {
		if !slices.ContainsFunc(after.Labels, func(o policy.Label) bool { return o.Name == l.Name && o.Scope == l.Scope }) {
			out = append(out, Loss{Rules: l.Because, Before: "label " + l.Name + " on the " + l.Scope, After: "no label"})
		}
	}
	if after.Record < before.Record {
		out = append(out, Loss{Rules: because(before, "record"), Before: "recorded " + before.Record.String(), After: "recorded " + after.Record.String()})
	}
	return out
}

func reasons(r *policy.Ruling) []string {
	ids := make([]string, len(r.Reasons))
	for i := range r.Reasons {
		ids[i] = r.Reasons[i].ID
	}
	return ids
}

// allowing returns the ids of the rules that allow; where the request is held,
// those of nobody: the ruling names what it waits for.
func allowing(r *policy.Ruling) []string {
	if r.Effect == policy.Allow {
		return reasons(r)
	}
	return nil
}

func lost(before, after []string) []string {
	return slices.DeleteFunc(slices.Clone(before), func(id string) bool { return slices.Contains(after, id) })
}

func because(r *policy.Ruling, typ string) []string {
	var out []string
	for _, o := range r.Obligations {
		if o.Type == typ {
			out = append(out, o.Because...)
		}
	}
	return out
}

// strength orders masking methods as combining does.
var strength = []string{"partial", "tokenise", "hash", "redact", "null"}

func masksLost(before, after *policy.Ruling) []Loss {
	var out []Loss
	for _, m := range before.Masks {
		what := m.Field
		if what == "" {
			what = "every " + m.Detect
		}
		i := slices.IndexFunc(after.Masks, func(o policy.Mask) bool { return o.Field == m.Field && o.Detect == m.Detect })
		if i < 0 {
			out = append(out, Loss{Rules: m.Because, Before: fmt.Sprintf("mask %s (%s)", what, m.Method), After: "no mask"})
			continue
		}
		o := after.Masks[i]
		weaker := slices.Index(strength, o.Method) < slices.Index(strength, m.Method) ||
			o.Method == "partial" && m.Method == "partial" && (o.Keep > m.Keep || o.KeepFirst > m.KeepFirst || o.KeepDomain && !m.KeepDomain)
		if weaker {
			out = append(out, Loss{Rules: lost(m.Because, o.Because), Before: fmt.Sprintf("mask %s (%s)", what, m.Method), After: fmt.Sprintf("mask %s (%s)", what, o.Method)})
		}
	}
	return out
}

func limitsRaised(before, after *policy.Ruling) []Loss {
	var raised []string
	for _, l := range []struct {
		name          string
		before, after float64
	}{
		{"rows", float64(before.Limit.Rows), float64(after.Limit.Rows)},
		{"bytes", float64(before.Limit.Bytes), float64(after.Limit.Bytes)},
		{"seconds", before.Limit.Seconds, after.Limit.Seconds},
	} {
		if l.before > 0 && (l.after == 0 || l.after > l.before) {
			raised = append(raised, l.name)
		}
	}
	if len(raised) == 0 {
		return nil
	}
	ids := lost(because(before, "limit"), because(after, "limit"))
	if len(ids) == 0 { // the rule still speaks, and says something else
		ids = because(before, "limit")
	}
	return []Loss{{Rules: ids, Before: "limit of " + strings.Join(raised, ", ") + ": " + limitText(before.Limit), After: limitText(after.Limit)}}
}

func limitText(l policy.Limit) string {
	var parts []string
	if l.Rows > 0 {
		parts = append(parts, fmt.Sprintf("%d rows", l.Rows))
	}
	if l.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", l.Bytes))
	}
	if l.Seconds > 0 {
		parts = append(parts, fmt.Sprintf("%g seconds", l.Seconds))
	}
	if len(parts) == 0 {
		return "no limit"
	}
	return strings.Join(parts, ", ")
}

func approvalsLost(before, after *policy.Ruling) []Loss {
	var out []Loss
	for _, r := range before.Approvals {
		was := fmt.Sprintf("approval by %d of %s", r.Count, strings.Join(r.From, ", "))
		covered := slices.ContainsFunc(after.Approvals, func(o policy.Requirement) bool {
			return o.ID == r.ID && o.Count >= r.Count && len(lost(o.From, r.From)) == 0
		})
		if !covered {
			now := "no such approval"
			for _, o := range after.Approvals {
				if o.ID == r.ID {
					now = fmt.Sprintf("approval by %d of %s", o.Count, strings.Join(o.From, ", "))
				}
			}
			out = append(out, Loss{Rules: []string{r.ID}, Before: was, After: now})
		}
	}
	return out
}
