package engine

import (
	"testing"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
)

func TestReaches(t *testing.T) {
	for _, c := range []struct {
		name       string
		derivation input.Derivation
		sources    []string
		column     string
		want       bool
	}{
		{"the column itself", input.Exact, []string{"public.users.email"}, "public.users.email", true},
		{"another column", input.Exact, []string{"public.users.name"}, "public.users.email", false},
		{"one of several", input.Derived, []string{"public.a.x", "public.users.email"}, "public.users.email", true},
		{"any column of the table", input.Opaque, []string{"public.users.*"}, "public.users.email", true},
		{"any column of another table", input.Opaque, []string{"public.users2.*"}, "public.users.email", false},
		{"a table whose name begins the same", input.Opaque, []string{"public.use.*"}, "public.users.email", false},
		{"a star is no prefix of a deeper name", input.Opaque, []string{"public.*"}, "public.users.email", false},
		{"from nobody knows where", input.Opaque, nil, "public.users.email", true},
		{"from nothing", input.Constant, nil, "public.users.email", false},
	} {
		if got := Reaches(input.Field{Derivation: c.derivation, Sources: c.sources}, c.column); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestFieldRule(t *testing.T) {
	email := policy.Mask{Field: "public.users.email", Method: mask.Partial, Keep: 2}
	contact := policy.Mask{Field: "public.contacts.email", Method: mask.Hash}
	exact := input.Field{Derivation: input.Exact, Sources: []string{"public.contacts.email", "public.users.email"}}
	rule := fieldRule(exact, []policy.Mask{email, contact})
	if rule.Whole || rule.Spec == nil || rule.Spec.Method != mask.Hash {
		t.Errorf("two masks on one value: %+v, want the stronger", rule)
	}
	last4, first1 := policy.Mask{Field: "public.users.email", Method: mask.Partial, Keep: 4}, policy.Mask{Field: "public.contacts.email", Method: mask.Partial, KeepFirst: 1}
	for _, order := range [][]policy.Mask{{last4, contact, first1}, {contact, last4, first1}, {first1, last4, contact}} {
		if rule := fieldRule(exact, order); rule.Spec == nil || rule.Spec.Method != mask.Redact {
			t.Errorf("two different partial masks and a hash: %+v, want redact", rule.Spec)
		}
	}
	derived := input.Field{Derivation: input.Derived, Sources: exact.Sources}
	if rule := fieldRule(derived, []policy.Mask{email}); !rule.Whole {
		t.Errorf("a masked field in an expression: %+v, want the whole value masked", rule)
	}
	if rule := fieldRule(input.Field{Derivation: input.Constant}, []policy.Mask{email}); !rule.Passes() {
		t.Errorf("a constant: %+v, want it to pass", rule)
	}
	if rule := fieldRule(input.Field{}, []policy.Mask{{Detect: "email", Method: mask.Redact}}); !rule.Passes() {
		t.Errorf("a detected kind is no field mask: %+v", rule)
	}
}

func TestDenialOf(t *testing.T) {
	turn := &Turn{id: "s-1", Ruling: &policy.Ruling{Effect: policy.Deny, Reasons: []policy.Reason{
		{ID: "a/allow", Effect: policy.Allow, Msg: "fine"},
		{ID: "b/deny", Effect: policy.Deny, Msg: "no", Hint: "ask"},
		{ID: "c/deny", Effect: policy.Deny, Msg: "never"},
	}}}
	d := turn.denial()
	if d.Reason() != "b/deny" || len(d.Reasons) != 2 || d.Message != "no" || d.Hint != "ask" || d.DecisionID != "s-1" {
		t.Errorf("%+v", d)
	}
	if empty := (&Turn{Ruling: &policy.Ruling{}}).denial(); empty.Reason() != policy.ReasonError || empty.Message == "" {
		t.Errorf("a ruling without reasons: %+v", empty)
	}
	if (&Denial{}).Reason() != ReasonInternal {
		t.Error("a denial without reasons has none")
	}
}
