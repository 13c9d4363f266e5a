package body

import (
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
)

// Masks say how a value is shown; *engine.Tree does.
type Masks interface {
	// Fields lists the fields that masks name.
	Fields() []string
	// Rule returns how a value is shown that the masks on these fields reach;
	// with none, what is looked for in any value.
	Rule(reached ...string) engine.FieldRule
}

// Rules are the masks of one answer. Rules are for one goroutine at a time.
type Rules struct {
	keyring *mask.Keyring
	tree    Masks
	paths   *place              // of fields that are paths
	names   map[string][]string // lower case → fields that are names
	rest    engine.FieldRule    // for every other value

	// Reused from value to value.
	plain, masked []byte
	known         map[string]engine.FieldRule // by the one field that reaches a value
}

// place is a step of the paths of fields.
type place struct {
	next   map[string]*place
	fields []string // that end here
}

// NewRules returns the rules of masks.
func NewRules(keyring *mask.Keyring, tree Masks) *Rules {
	r := &Rules{keyring: keyring, tree: tree, paths: &place{}, names: map[string][]string{}, rest: tree.Rule()}
	for _, field := range tree.Fields() {
		if !strings.HasPrefix(field, "/") {
			name := strings.ToLower(field)
			r.names[name] = append(r.names[name], field)
			continue
		}
		at := r.paths
		for step := range strings.SplitSeq(field[1:], "/") {
			step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
			if at.next == nil {
				at.next = map[string]*place{}
			}
			if at.next[step] == nil {
				at.next[step] = &place{}
			}
			at = at.next[step]
		}
		at.fields = append(at.fields, field)
	}
	return r
}

// Fields reports whether any mask is on a field: a body that has no fields
// cannot be shown then.
func (r *Rules) Fields() bool { return len(r.tree.Fields()) > 0 }

// rule is how a value is shown that fields reach.
func (r *Rules) rule(reached []string) engine.FieldRule {
	if len(reached) != 1 {
		return r.tree.Rule(reached...)
	}
	rule, ok := r.known[reached[0]]
	if !ok {
		rule = r.tree.Rule(reached...)
		if r.known == nil {
			r.known = map[string]engine.FieldRule{}
		}
		r.known[reached[0]] = rule
	}
	return rule
}

// under returns what is known below the member name of p, and the fields that
// reach it.
func (r *Rules) under(p *place, name string) (next *place, reached []string) {
	if p != nil {
		if next = p.next[name]; next != nil {
			reached = next.fields
		}
	}
	if len(r.names) > 0 {
		if more := r.names[strings.ToLower(name)]; len(more) > 0 && len(reached) == 0 {
			reached = more
		} else if len(more) > 0 {
			reached = append(reached[:len(reached):len(reached)], more...)
		}
	}
	return next, reached
}
