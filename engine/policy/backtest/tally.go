package backtest

import (
	"cmp"
	"maps"
	"slices"
	"time"
)

// Count is how often something was seen.
type Count struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

// counts counts by name. Names beyond a bound are counted together, so that
// traffic with ever new names takes no more memory.
type counts struct {
	by     map[string]int64
	others int64
}

// maxNames is how many names one grouping tells apart.
const maxNames = 10_000

// othersName stands for the names beyond maxNames.
const othersName = "(others)"

func (c *counts) add(name string, n int64) {
	if c.by == nil {
		c.by = map[string]int64{}
	}
	if _, ok := c.by[name]; !ok && len(c.by) >= maxNames {
		c.others += n
		return
	}
	c.by[name] += n
}

func (c *counts) merge(o *counts) {
	for _, name := range slices.Sorted(maps.Keys(o.by)) {
		c.add(name, o.by[name])
	}
	c.others += o.others
}

// list returns the counts, the largest first, then by name.
func (c *counts) list() []Count {
	out := make([]Count, 0, len(c.by)+1)
	for name, n := range c.by {
		out = append(out, Count{name, n})
	}
	slices.SortFunc(out, func(a, b Count) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Name, b.Name)) })
	if c.others > 0 {
		out = append(out, Count{othersName, c.others})
	}
	return out
}

// sample keeps the first few of many by an order, whatever order they come in.
type sample[T any] struct {
	most  int
	order func(a, b T) int
	kept  []T
}

// wants reports whether add would keep v.
func (s *sample[T]) wants(v T) bool {
	return len(s.kept) < s.most || len(s.kept) > 0 && s.order(v, s.kept[len(s.kept)-1]) < 0
}

func (s *sample[T]) add(v T) {
	if !s.wants(v) {
		return
	}
	at, _ := slices.BinarySearchFunc(s.kept, v, s.order)
	s.kept = slices.Insert(s.kept, at, v)
	if len(s.kept) > s.most {
		s.kept = s.kept[:s.most]
	}
}

func (s *sample[T]) merge(o *sample[T]) {
	for _, v := range o.kept {
		s.add(v)
	}
}

// Example is one decision that stands for others.
type Example struct {
	DecisionID string    `json:"decision_id"` // or the place in a file
	Time       time.Time `json:"time"`
	Stage      string    `json:"stage"`
	Agent      string    `json:"agent"`
	Target     string    `json:"target"`
	Verb       string    `json:"verb"`
	Tables     []string  `json:"tables"`
	Statement  string    `json:"statement"` // without values; "" where it is not known
	Was        Side      `json:"was"`
	Now        Side      `json:"now"`
	What       string    `json:"what"` // of a mask or limit; the error
}

// Side is one of two verdicts.
type Side struct {
	Effect  string   `json:"effect"`
	Reasons []string `json:"reasons"`
}

func earlier(a, b Example) int {
	return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.DecisionID, b.DecisionID), cmp.Compare(a.Stage, b.Stage), cmp.Compare(a.What, b.What))
}

// group is everything of one kind of change.
type group struct {
	count                        int64
	rules, agents, tables, whats counts
	examples                     sample[Example]
}

func newGroup(examples int) *group {
	return &group{examples: sample[Example]{most: examples, order: earlier}}
}

func (g *group) merge(o *group) {
	g.count += o.count
	g.rules.merge(&o.rules)
	g.agents.merge(&o.agents)
	g.tables.merge(&o.tables)
	g.whats.merge(&o.whats)
	g.examples.merge(&o.examples)
}

// day is what a day's requests ask of people.
type day struct{ was, now int64 }

// tally is what one worker of a replay has counted. Tallies may be merged in any
// order.
type tally struct {
	examples int

	decisions, compared, unchanged, reasonsOnly int64
	noDecision, untouched, errors               int64
	first, last                                 time.Time
	outside                                     counts
	ended                                       int64
	schemas                                     counts
	missing                                     counts
	groups                                      map[Kind]*group
	days                                        map[string]day

	base baselineTally
}

// baselineTally is the check of the bundles that decided.
type baselineTally struct {
	same, differs           int64 // decided by the baseline: reproduced or not
	otherSame, otherDiffers int64 // decided by other bundles
	notReplayable           int64
	deciders                counts
	wrong                   sample[Example]
}

func newTally(examples int) *tally {
	return &tally{
		examples: examples, groups: map[Kind]*group{}, days: map[string]day{},
		base: baselineTally{wrong: sample[Example]{most: examples, order: earlier}},
	}
}

func (t *tally) group(k Kind) *group {
	g := t.groups[k]
	if g == nil {
		g = newGroup(t.examples)
		t.groups[k] = g
	}
	return g
}

func (t *tally) at(when time.Time) {
	if t.first.IsZero() || when.Before(t.first) {
		t.first = when
	}
	if when.After(t.last) {
		t.last = when
	}
}

func (t *tally) merge(o *tally) {
	t.decisions += o.decisions
	t.compared += o.compared
	t.unchanged += o.unchanged
	t.reasonsOnly += o.reasonsOnly
	t.noDecision += o.noDecision
	t.untouched += o.untouched
	t.errors += o.errors
	t.ended += o.ended
	if !o.first.IsZero() {
		t.at(o.first)
		t.at(o.last)
	}
	t.outside.merge(&o.outside)
	t.schemas.merge(&o.schemas)
	t.missing.merge(&o.missing)
	for k, g := range o.groups {
		t.group(k).merge(g)
	}
	for name, d := range o.days {
		sum := t.days[name]
		t.days[name] = day{sum.was + d.was, sum.now + d.now}
	}
	b, ob := &t.base, &o.base
	b.same += ob.same
	b.differs += ob.differs
	b.otherSame += ob.otherSame
	b.otherDiffers += ob.otherDiffers
	b.notReplayable += ob.notReplayable
	b.deciders.merge(&ob.deciders)
	b.wrong.merge(&ob.wrong)
}
