package prove

import (
	"slices"
	"testing"

	"github.com/regate-dev/regate/engine/policy"
)

// Our own packs and the demo stay closed, whatever is missing. Every eighth
// input is tried here; `make lint` tries all.
func TestOurPoliciesStayClosed(t *testing.T) {
	set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: []string{repo + "/policies", repo + "/bundles/demo"}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Capture(t.Context(), set, TestOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Cases) < 100 {
		t.Errorf("the tests use %d inputs", len(c.Cases))
	}
	some := func(yield func(Case) bool) {
		for i := 0; i < len(c.Cases) && yield(c.Cases[i]); i += 8 {
		}
	}
	r, err := Mutate(t.Context(), set, some, MutationOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Failures() {
		t.Errorf("%s:%d %s: %s -> %s when %s is %v; %s", f.Rule.File, f.Rule.Line, f.Rule.ID, f.Before, f.After, f.Field, f.Mutations, f.From)
	}
	d, err := Differential(t.Context(), set, slices.Values(c.Cases))
	if err != nil || len(d.Disagreements) != 0 || d.Inputs != len(c.Cases) {
		t.Errorf("%v %+v", err, d)
	}
}
