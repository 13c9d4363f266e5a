package engine

import (
	"context"
	"slices"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// reach is what the masks of a session's rulings have hidden so far.
type reach struct {
	last    *policy.Ruling // the last one looked at: most requests share theirs
	fields  bool           // there was a mask on a field
	detects []policy.Mask  // those that detect, each once
}

func (r *reach) add(ruling *policy.Ruling) {
	if ruling == r.last {
		return
	}
	r.last = ruling
	for _, m := range ruling.Masks {
		if m.Field != "" {
			r.fields = true
			continue
		}
		known := false
		for _, old := range r.detects {
			known = known || old.Detect == m.Detect && specOf(old) == specOf(m)
		}
		if !known {
			r.detects = append(r.detects, m)
		}
	}
}

func (s *Session) reached(ruling *policy.Ruling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reach.add(ruling)
}

// Aside decides how a value is shown that is no part of the turn's result but
// reaches the agent because of it: a notification. Nothing is known of where
// it comes from, so every mask that any ruling of the session has had counts,
// and any on a field withholds it as a whole. The error is a *Denial: it must
// not be shown.
func (t *Turn) Aside(ctx context.Context, name string) (FieldRule, error) {
	before := t.sensitive
	defer func() { t.sensitive = before }() // a value aside is no row of the result
	rules, err := t.Response(ctx, []input.Field{{Name: name, Type: "text", Sources: []string{}, Derivation: input.Opaque}})
	if err != nil {
		return FieldRule{}, err
	}
	t.sess.mu.Lock()
	fields, detects := t.sess.reach.fields, slices.Clone(t.sess.reach.detects)
	t.sess.mu.Unlock()
	if fields || len(rules) > 0 && rules[0].Whole {
		return FieldRule{Whole: true}, nil
	}
	detect, specs, err := t.sess.gate.detector(detects)
	if err != nil {
		return FieldRule{}, err
	}
	return FieldRule{Detect: detect, DetectSpec: specs}, nil
}
