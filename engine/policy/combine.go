package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// elements is what one package said, decoded.
type elements struct {
	pkg         string // below regate.policies
	owner       string
	allowCounts bool // by Config.AllowFrom, for this target

	allow   []Reason
	deny    []Reason
	require []Requirement
	masks   []Mask // Because holds the rule's id, ID is empty
	limits  []limitElement
	record  []recordElement
	labels  []Label
}

type limitElement struct {
	id    string
	limit Limit
}

type recordElement struct {
	id    string
	level Level
}

// facts is what combining takes from the document.
type facts struct {
	stage      input.Stage
	now        time.Time
	approvals  []input.Approval
	requesters []string // ids of subject and actor
	supported  []string // enforcer.obligations
}

// combine applies the contract's laws to what the packages said. It is a pure
// function of its arguments, in which the order of sets and of their elements
// has no meaning: what counts is the union.
//
// What is said at a stage that it means nothing for is left out: at stage
// session there is nothing to mask or to limit; at stage response the request
// was allowed and approved already, so allow and require_approval are not asked
// again while every other entry may still restrict.
func combine(f facts, sets []elements) *Ruling {
	var all elements
	for i := range sets {
		s := &sets[i]
		all.deny = append(all.deny, s.deny...)
		all.record = append(all.record, s.record...)
		if f.stage != input.StageResponse {
			if s.allowCounts {
				all.allow = append(all.allow, s.allow...)
			}
			all.require = append(all.require, s.require...)
		}
		if f.stage != input.StageSession {
			all.masks = append(all.masks, s.masks...)
			all.limits = append(all.limits, s.limits...)
			all.labels = append(all.labels, s.labels...)
		}
	}

	r := &Ruling{Reasons: []Reason{}, Obligations: []Obligation{}, Errors: []string{}}
	level, recordObligation := joinRecord(all.record)
	r.Record = level

	// A denial keeps what is to be recorded and nothing else.
	deny := func(reasons ...Reason) *Ruling {
		r.Effect = Deny
		r.Reasons = reasons
		r.Masks, r.Limit, r.Approvals, r.Labels = nil, Limit{}, nil, nil
		r.Obligations = nonNil(recordObligation)
		return r
	}

	if len(all.deny) > 0 {
		return deny(sortReasons(all.deny)...)
	}
	if f.stage != input.StageResponse && len(all.allow) == 0 {
		return deny(engineReason(ReasonNoAllow))
	}

	var obligations [5][]Obligation
	r.Masks, obligations[0] = joinMasks(all.masks)
	r.Limit, obligations[1] = joinLimits(all.limits)
	r.Approvals, obligations[2] = joinRequirements(f, all.require)
	obligations[3] = recordObligation
	r.Labels, obligations[4] = joinLabels(all.labels)
	for _, o := range obligations {
		r.Obligations = append(r.Obligations, o...)
	}

	// Nobody is asked to approve what could not be carried out afterwards.
	if unsupported := unsupportedReason(f.supported, r.Obligations); unsupported != nil {
		return deny(*unsupported)
	}
	if unmet := unmetReasons(r.Approvals); len(unmet) > 0 {
		r.Effect = RequireApproval
		r.Reasons = unmet
		return r
	}
	r.Effect = Allow
	r.Reasons = sortReasons(all.allow)
	return r
}

func sortReasons(reasons []Reason) []Reason {
	out := slices.Clone(reasons)
	slices.SortFunc(out, func(a, b Reason) int {
		return cmp.Or(
			strings.Compare(a.ID, b.ID), strings.Compare(a.Owner, b.Owner), strings.Compare(a.Msg, b.Msg),
			strings.Compare(a.Severity, b.Severity), strings.Compare(a.Hint, b.Hint))
	})
	return nonNil(slices.Compact(out))
}

var maskStrength = map[string]int{"partial": 1, "tokenise": 2, "hash": 3, "redact": 4, "null": 5}

// joinMasks leaves one mask for each field and each detected kind: the
// strongest one asked for; two different partial masks of one thing make
// redact, for neither hides all that the other hides.
func joinMasks(masks []Mask) ([]Mask, []Obligation) {
	type target struct{ field, detect string }
	groups := map[target][]Mask{}
	for _, m := range masks {
		t := target{m.Field, m.Detect}
		groups[t] = append(groups[t], m)
	}
	out := make([]Mask, 0, len(groups))
	for t, group := range groups {
		joined := Mask{Field: t.field, Detect: t.detect, ID: "mask/field/" + t.field}
		if t.field == "" {
			joined.ID = "mask/detect/" + t.detect
		}
		var partial *Mask
		for i, m := range group {
			if maskStrength[m.Method] > maskStrength[joined.Method] {
				joined.Method, joined.Keep, joined.KeepFirst, joined.KeepDomain = m.Method, m.Keep, m.KeepFirst, m.KeepDomain
			}
			joined.Because = append(joined.Because, m.Because...)
			if m.Method != "partial" {
				continue
			}
			if partial == nil {
				partial = &group[i]
			}
			if (partial.Keep != m.Keep || partial.KeepFirst != m.KeepFirst || partial.KeepDomain != m.KeepDomain) &&
				maskStrength[joined.Method] < maskStrength["redact"] {
				joined.Method, joined.Keep, joined.KeepFirst, joined.KeepDomain = "redact", 0, 0, false
			}
		}
		joined.Because = sortedSet(joined.Because)
		out = append(out, joined)
	}
	slices.SortFunc(out, func(a, b Mask) int { return strings.Compare(a.ID, b.ID) })

	obligations := make([]Obligation, len(out))
	for i, m := range out {
		properties := map[string]any{"method": m.Method}
		if m.Field != "" {
			properties["field"] = m.Field
		} else {
			properties["detect"] = m.Detect
		}
		if m.Method == "partial" {
			properties["keep"], properties["keep_first"], properties["keep_domain"] = m.Keep, m.KeepFirst, m.KeepDomain
		}
		obligations[i] = Obligation{ID: m.ID, Type: "mask", Properties: properties, Because: m.Because}
	}
	return out, obligations
}

func joinLimits(limits []limitElement) (Limit, []Obligation) {
	if len(limits) == 0 {
		return Limit{}, nil
	}
	var out Limit
	var because []string
	for _, l := range limits {
		out = out.Join(l.limit)
		because = append(because, l.id)
	}
	properties := map[string]any{}
	if out.Rows > 0 {
		properties["rows"] = out.Rows
	}
	if out.Bytes > 0 {
		properties["bytes"] = out.Bytes
	}
	if out.Seconds > 0 {
		properties["seconds"] = out.Seconds
	}
	return out, []Obligation{{ID: "limit", Type: "limit", Properties: properties, Because: sortedSet(because)}}
}

// joinLabels is the union of all labels, each once for each scope.
func joinLabels(labels []Label) ([]Label, []Obligation) {
	type key struct{ name, scope string }
	because := map[key][]string{}
	for _, l := range labels {
		k := key{l.Name, l.Scope}
		because[k] = append(because[k], l.Because...)
	}
	var out []Label
	for k, ids := range because {
		out = append(out, Label{Name: k.name, Scope: k.scope, Because: sortedSet(ids)})
	}
	slices.SortFunc(out, func(a, b Label) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Scope, b.Scope))
	})
	var obligations []Obligation
	for _, l := range out {
		obligations = append(obligations, Obligation{
			ID: "label/" + l.Scope + "/" + l.Name, Type: "label", Properties: map[string]any{"label": l.Name, "scope": l.Scope}, Because: l.Because,
		})
	}
	return out, obligations
}

// least returns the smaller limit, where 0 is none.
func least[T int64 | float64](a, b T) T {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

func joinRecord(levels []recordElement) (Level, []Obligation) {
	if len(levels) == 0 {
		return RecordFull, nil
	}
	var out Level
	var because []string
	for _, l := range levels {
		out = max(out, l.level)
		because = append(because, l.id)
	}
	return out, []Obligation{{ID: "record", Type: "record", Properties: map[string]any{"level": out.String()}, Because: sortedSet(because)}}
}

// joinRequirements keeps every different requirement and gives all of them the
// shortest time to live. Each counts independently: one approval may serve
// several requirements.
func joinRequirements(f facts, requirements []Requirement) ([]Requirement, []Obligation) {
	out := slices.Clone(requirements)
	if len(out) == 0 {
		return nil, nil
	}
	shortest := out[0].TTL
	for _, q := range out {
		shortest = min(shortest, q.TTL)
	}
	for i := range out {
		out[i].TTL = shortest
		out[i].From = sortedSet(out[i].From)
		out[i].Met = approvers(f, out[i]) >= out[i].Count
	}
	slices.SortFunc(out, func(a, b Requirement) int {
		if a.Met != b.Met {
			if b.Met {
				return -1
			}
			return 1
		}
		return cmp.Or(strings.Compare(a.ID, b.ID), slices.Compare(a.From, b.From), cmp.Compare(a.Count, b.Count),
			cmp.Compare(a.Wait, b.Wait), strings.Compare(a.Msg, b.Msg), strings.Compare(a.Owner, b.Owner))
	})
	out = slices.CompactFunc(out, func(a, b Requirement) bool {
		return a.ID == b.ID && a.Owner == b.Owner && slices.Equal(a.From, b.From) && a.Count == b.Count && a.Wait == b.Wait && a.Msg == b.Msg
	})
	obligations := make([]Obligation, len(out))
	for i, q := range out {
		obligations[i] = Obligation{
			ID: "approval/" + q.ID, Type: "require_approval",
			Properties: map[string]any{
				"from": q.From, "count": q.Count, "ttl": q.TTL.String(), "wait": q.Wait.String(), "msg": q.Msg, "met": q.Met,
			},
			Because: []string{q.ID},
		}
	}
	return out, obligations
}

// approvers counts the different people whose approval serves q now. People are
// told apart by id alone, and nobody who has the id of the requester counts:
// one person known to two issuers must not approve twice, or for themselves.
func approvers(f facts, q Requirement) int {
	var seen []string
	for _, a := range f.approvals {
		if a.By.ID == "" || slices.Contains(f.requesters, a.By.ID) || slices.Contains(seen, a.By.ID) {
			continue
		}
		at, err := time.Parse(time.RFC3339Nano, a.At)
		if err != nil || !f.now.Before(at.Add(q.TTL)) {
			continue
		}
		expires, err := time.Parse(time.RFC3339Nano, a.ExpiresAt)
		if err != nil || !f.now.Before(expires) {
			continue
		}
		if slices.ContainsFunc(q.From, func(from string) bool { return mayApprove(from, a.By) }) {
			seen = append(seen, a.By.ID)
		}
	}
	return len(seen)
}

// mayApprove matches one element of a requirement's `from`.
func mayApprove(from string, by input.Approver) bool {
	kind, name, _ := strings.Cut(from, ":")
	switch kind {
	case "any":
		return name == ""
	case "group":
		return slices.Contains(by.Groups, name)
	case "subject":
		return by.ID == name
	}
	return false
}

func unmetReasons(requirements []Requirement) []Reason {
	var reasons []Reason
	for _, q := range requirements {
		if q.Met {
			continue
		}
		msg := q.Msg
		people := fmt.Sprintf("%d approvals are", q.Count)
		if q.Count == 1 {
			people = "one approval is"
		}
		hint := people + " needed from " + strings.Join(q.From, " or ")
		if msg == "" {
			msg = hint
		}
		reasons = append(reasons, Reason{ID: q.ID, Effect: RequireApproval, Owner: q.Owner, Msg: msg, Hint: hint})
	}
	return reasons
}

// needs are the words by which a proxy declares that it can carry o out: the
// type, and for a record of more than what is shown also the level. Whatever
// a stronger obligation needs is more than what a weaker one does.
func (o *Obligation) needs() []string {
	if o.Type == "label" {
		return nil // the gate's own
	}
	if level, _ := o.Properties["level"].(string); o.Type == "record" && level != RecordFull.String() {
		return []string{o.Type, o.Type + "/" + level}
	}
	return []string{o.Type}
}

// unsupportedReason returns a denial when the proxy did not declare what an
// obligation needs.
func unsupportedReason(supported []string, obligations []Obligation) *Reason {
	var what []string
	for _, o := range obligations {
		for _, need := range o.needs() {
			if !slices.Contains(supported, need) {
				what = append(what, fmt.Sprintf("%s (asked for by %s)", need, strings.Join(o.Because, ", ")))
			}
		}
	}
	if len(what) == 0 {
		return nil
	}
	r := engineReason(ReasonUnsupported)
	r.Msg += ": " + strings.Join(sortedSet(what), "; ")
	return &r
}

func sortedSet(s []string) []string {
	s = slices.Clone(s)
	slices.Sort(s)
	return nonNil(slices.Compact(s))
}
