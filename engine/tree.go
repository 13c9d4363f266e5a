package engine

import (
	"context"
	"slices"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
)

// Tree says how a result that is a tree (JSON, say) is shown, where Response
// does it for one that has columns. What the fields of masks mean in it is for
// the proxy to say: it names those that reach a value, and gets that value's
// rule. A nil Tree changes nothing.
type Tree struct {
	fields []string
	masks  []policy.Mask
	rest   FieldRule
}

// Fields lists the fields that masks name, sorted.
func (t *Tree) Fields() []string {
	if t == nil {
		return nil
	}
	return t.fields
}

// Rule returns how a value is shown that the masks on the given fields reach,
// some of Fields. With none it is what kinds to look for in any value.
func (t *Tree) Rule(reached ...string) FieldRule {
	if t == nil {
		return FieldRule{}
	}
	if len(reached) == 0 {
		return t.rest
	}
	rule := fieldRule(input.Field{Sources: reached, Derivation: input.Exact}, t.masks)
	rule.Detect, rule.DetectSpec = t.rest.Detect, t.rest.DetectSpec
	return rule
}

// Tree decides how a tree is shown, as Response does for fields, which describe
// it to policies. The error is a *Denial: the result must not be shown.
func (t *Turn) Tree(ctx context.Context, fields []input.Field) (*Tree, error) {
	masks, err := t.masks(ctx, fields)
	if err != nil || len(masks) == 0 {
		return nil, err
	}
	detect, specs, err := t.sess.gate.detector(masks)
	if err != nil {
		return nil, err
	}
	return NewTree(masks, detect, specs), nil
}

// Found says what was found in an answer: detail stands at stage "response" for
// that of the request, and Tree and Response ask policies whatever they read.
func (t *Turn) Found(detail *input.Part) { t.shows = detail }

// Masks are what the tree was made of.
func (t *Tree) Masks() []policy.Mask {
	if t == nil {
		return nil
	}
	return t.masks
}

// Tree returns the tree of masks of more than one ruling, as where an answer is
// fetched later than it was asked for. The error is a *Denial.
func (s *Session) Tree(masks []policy.Mask) (*Tree, error) {
	if len(masks) == 0 {
		return nil, nil
	}
	detect, specs, err := s.gate.detector(masks)
	if err != nil {
		return nil, err
	}
	return NewTree(masks, detect, specs), nil
}

// NewTree returns the tree of some masks. detect looks for the kinds among them;
// both it and specs are nil where there are none.
func NewTree(masks []policy.Mask, detect *mask.Detector, specs func(kind string) mask.Spec) *Tree {
	tree := &Tree{masks: masks, rest: FieldRule{Detect: detect, DetectSpec: specs}}
	for _, m := range masks {
		if m.Field != "" {
			tree.fields = append(tree.fields, m.Field)
		}
	}
	slices.Sort(tree.fields)
	tree.fields = slices.Compact(tree.fields)
	return tree
}
