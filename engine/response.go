package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
)

// FieldRule says how a proxy must change the values of one result field. The
// zero rule lets them pass.
type FieldRule struct {
	// Whole: the value is replaced as a whole, because a masked field may be
	// in it but is not simply its value.
	Whole bool
	// Spec masks the value by a field mask; Field is the mask's field, which
	// keyed methods use.
	Spec  *mask.Spec
	Field string
	// Detect finds kinds in what is left; DetectSpec says what to do with one.
	Detect     *mask.Detector
	DetectSpec func(kind string) mask.Spec
}

// Passes reports whether values go through unchanged.
func (r FieldRule) Passes() bool { return !r.Whole && r.Spec == nil && r.Detect == nil }

// Response decides how the fields of a result are shown: the masks of the
// request's ruling, joined with what policies say at stage "response" where
// any of them looks at it, which may also make Limit smaller. It returns one
// rule a field, or nil when nothing has to be changed. The error is a *Denial: the result must not be shown.
func (t *Turn) Response(ctx context.Context, fields []input.Field) ([]FieldRule, error) {
	masks, err := t.masks(ctx, fields)
	if err != nil {
		return nil, err
	}
	g := t.sess.gate
	if len(masks) == 0 {
		return nil, nil
	}
	rules := make([]FieldRule, len(fields))
	detect, specs, err := g.detector(masks)
	if err != nil {
		return nil, err
	}
	busy := false
	for i, f := range fields {
		rules[i] = fieldRule(f, masks)
		if !rules[i].Whole {
			rules[i].Detect, rules[i].DetectSpec = detect, specs
		}
		busy = busy || !rules[i].Passes()
	}
	if !busy {
		return nil, nil
	}
	return rules, nil
}

// masks are those of the request's ruling and of what policies say at stage
// "response", where any of them looks at it.
func (t *Turn) masks(ctx context.Context, fields []input.Field) ([]policy.Mask, error) {
	ruling := t.Ruling
	g := t.sess.gate
	if t.shows != nil || g.cfg.Policy.Reads(t.sess.hello.Protocol, "response") {
		doc := *t.doc
		if t.shows != nil {
			doc.Detail = t.shows
		}
		doc.Stage, doc.Time = input.StageResponse, g.cfg.Clock()
		doc.Response = input.NewPart(describe(fields))
		t.respend(&doc)
		ruling = g.cfg.Policy.Evaluate(ctx, &doc)
		after := &Turn{sess: t.sess, n: t.n, id: t.id + "r", doc: &doc, started: doc.Time, Ruling: ruling}
		after.record()
		if ruling.Effect != policy.Allow {
			return nil, after.denial()
		}
	}
	masks := t.Ruling.Masks
	if ruling != t.Ruling {
		masks = append(slices.Clone(masks), ruling.Masks...)
		t.sess.reached(ruling)
		if err := t.sess.putLabels(ctx, ruling); err != nil {
			return nil, err
		}
		t.Limit = t.Limit.Join(ruling.Limit)
	}
	if t.account != nil {
		t.sensitive = countSensitive(fields, masks, g.cfg.Policy.Sensitive())
	}
	return masks, nil
}

// countSensitive returns how many fields a mask on a field reaches, or one of
// the names of sensitive fields.
func countSensitive(fields []input.Field, masks []policy.Mask, names []string) (n int64) {
	for _, f := range fields {
		if slices.ContainsFunc(masks, func(m policy.Mask) bool { return m.Field != "" && Reaches(f, m.Field) }) ||
			slices.ContainsFunc(names, func(name string) bool { return Reaches(f, name) }) {
			n++
		}
	}
	return n
}

// fieldRule joins the field masks that reach f. They are joined as a set: two
// different partial masks redact, whatever else there is.
func fieldRule(f input.Field, masks []policy.Mask) FieldRule {
	var rule FieldRule
	var partial, strongest *mask.Spec
	for _, m := range masks {
		if m.Field == "" || !Reaches(f, m.Field) {
			continue
		}
		if f.Derivation != input.Exact {
			return FieldRule{Whole: true}
		}
		spec := specOf(m)
		if spec.Method == mask.Partial {
			if partial != nil && *partial != spec {
				spec = mask.Spec{Method: mask.Redact}
			} else {
				partial = &spec
			}
		}
		if strongest != nil {
			spec = mask.Join(*strongest, spec)
		}
		strongest, rule.Field = &spec, m.Field
	}
	rule.Spec = strongest
	return rule
}

// Reaches reports whether a value of the named column may be in field f. A
// source "schema.table.*" stands for every column of the table; a field of
// unknown derivation that names no source may hold anything.
func Reaches(f input.Field, column string) bool {
	if f.Derivation == input.Opaque && len(f.Sources) == 0 {
		return true
	}
	for _, source := range f.Sources {
		if source == column {
			return true
		}
		if table, all := strings.CutSuffix(source, ".*"); all && strings.HasPrefix(column, table+".") && !strings.Contains(column[len(table)+1:], ".") {
			return true
		}
	}
	return false
}

func specOf(m policy.Mask) mask.Spec {
	return mask.Spec{Method: m.Method, Keep: m.Keep, KeepFirst: m.KeepFirst, KeepDomain: m.KeepDomain}
}

// detector returns the detector of every kind that masks ask for, and what to
// do with a finding. Detectors are kept: there are few sets of kinds.
func (g *Gate) detector(masks []policy.Mask) (*mask.Detector, func(string) mask.Spec, error) {
	var kinds []string
	specs := map[string]mask.Spec{}
	for _, m := range masks {
		if m.Detect == "" {
			continue
		}
		spec := specOf(m)
		if old, twice := specs[m.Detect]; twice {
			spec = mask.Join(old, spec)
		} else {
			kinds = append(kinds, m.Detect)
		}
		specs[m.Detect] = spec
	}
	if len(kinds) == 0 {
		return nil, nil, nil
	}
	slices.Sort(kinds)
	key := strings.Join(kinds, ",")
	d, ok := g.detectors.Load(key)
	if !ok {
		made, err := mask.NewDetector(kinds)
		if err != nil {
			g.cfg.Logger.WithError(err).Error("a policy asks for a kind that no detector knows")
			return nil, nil, &Denial{Reasons: []string{policy.ReasonError}, Message: "a mask of the policy cannot be carried out", Hint: "Tell the policy's owner."}
		}
		d, _ = g.detectors.LoadOrStore(key, made)
	}
	return d.(*mask.Detector), func(kind string) mask.Spec { return specs[kind] }, nil
}

// Detects reports whether text, such as an error's, holds a value of a kind
// that a mask of the turn's ruling hides. What cannot be looked for counts as
// found.
func (t *Turn) Detects(text []byte) bool {
	d, _, err := t.sess.gate.detector(t.Ruling.Masks)
	return err != nil || d != nil && len(d.Scan(text, nil)) > 0
}

func describe(fields []input.Field) input.Response {
	r := input.Response{Fields: make([]input.Field, 0, len(fields)), FieldNames: []string{}, SourceNames: []string{}}
	for _, f := range fields {
		if f.Sources == nil {
			f.Sources = []string{}
		}
		r.Fields = append(r.Fields, f)
		r.FieldNames = append(r.FieldNames, f.Name)
		r.SourceNames = append(r.SourceNames, f.Sources...)
	}
	slices.Sort(r.SourceNames)
	r.SourceNames = slices.Compact(r.SourceNames)
	return r
}

// Release is a promise that something was recorded.
type Release struct {
	gate         *Gate
	decided, out *record.Ack
}

// Wait blocks until the bytes and the decision that let them out are recorded.
// The error is a *Denial: the bytes must not be released.
func (r Release) Wait(ctx context.Context) error {
	if r.decided != nil {
		if err := r.gate.recorded(ctx, r.decided); err != nil {
			return err
		}
	}
	if r.out != nil {
		return r.gate.recorded(ctx, r.out)
	}
	return nil
}

// Ready reports whether Wait would return at once.
func (r Release) Ready() bool {
	for _, a := range []*record.Ack{r.decided, r.out} {
		if a == nil {
			continue
		}
		if done, _ := a.Ready(); !done {
			return false
		}
	}
	return true
}

// MaxOutput is how many bytes one call of Output may take.
const MaxOutput = record.MaxChunk

// Output records bytes that are about to be shown to the agent, masked. The
// proxy releases them after the Release's Wait has returned nil. format names
// the encoding for replay, e.g. "postgres/backend". data may be reused after
// the call.
func (t *Turn) Output(format string, data []byte, rows int64) Release {
	s := t.sess
	s.bytes.Add(int64(len(data)))
	s.rows.Add(rows)
	t.shown(rows, int64(len(data)))
	s.meters.bytes.Add(float64(len(data)))
	if rows > 0 {
		s.meters.rows.Add(float64(rows))
	}
	s.mu.Lock()
	s.encoded = record.Chunk{Turn: t.n, Format: format, Data: data}.Encode(s.encoded[:0])
	ack := s.writer.Append(record.KindChunk, s.encoded)
	s.mu.Unlock()
	return Release{gate: s.gate, decided: t.decided, out: ack}
}

// Input records bytes that the agent sent as part of the request, beside what
// was decided on: the rows of a COPY. The outcome's Release covers it. It may
// be called from another goroutine than Output.
func (t *Turn) Input(format string, data []byte) Release {
	s := t.sess
	ack := s.writer.Append(record.KindChunk, record.Chunk{Turn: t.n, Format: format, Data: data}.Encode(nil))
	return Release{gate: s.gate, decided: t.decided, out: ack}
}

// Done records how the request ended. It may be called once. The Release
// covers the outcome too.
func (t *Turn) Done(o Outcome) Release {
	s := t.sess
	now := s.gate.cfg.Clock()
	ack := s.writer.Append(record.KindOutcome, record.Outcome{
		Turn: t.n, Rows: o.Rows, Bytes: o.Bytes, Tag: o.Tag, ErrorCode: o.Code, ErrorMessage: o.Message,
		Cancelled: o.Cancelled, Limited: o.Limited, DurationNS: int64(now.Sub(t.started)),
	}.Encode(nil))
	return Release{gate: s.gate, decided: t.decided, out: ack}
}

// ID names the decision of this turn.
func (t *Turn) ID() string { return t.id }

// Number counts the session's turns from 1.
func (t *Turn) Number() uint64 { return t.n }
