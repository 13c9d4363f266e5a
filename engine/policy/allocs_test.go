package policy

import (
	"testing"
)

// A decision that is not in the cache, its input built anew, stays within a
// number of allocations that does not grow with rules that the index leaves out.
func TestUncachedDecisionsDoNotGrowWithRules(t *testing.T) {
	const most = 300
	doc := selectDoc()
	for _, more := range []int{0, 290, 2_990} {
		e := policyEngine(t, rules(more), func(c *Config) { c.Cache.Disabled = true })
		expect(t, e.Evaluate(t.Context(), freshParts(doc)), Allow, "t.p/read")
		if got := testing.AllocsPerRun(100, func() { e.Evaluate(t.Context(), freshParts(doc)) }); got > most {
			t.Errorf("%d rules: %.0f allocations, more than %d", 10+more, got, most)
		}
	}
}
