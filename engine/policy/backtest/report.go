package backtest

import (
	"maps"
	"slices"
	"time"

	"github.com/regate-dev/regate/engine/policy"
)

// ReportSchema names the form of Report's JSON.
const ReportSchema = "regate.replay/v1"

// Report is what a replay found.
type Report struct {
	Schema    string                      `json:"schema"`
	Candidate map[string]policy.BundleRef `json:"candidate"`
	Baseline  Baseline                    `json:"baseline"`

	Decisions   int64      `json:"decisions"`   // read
	Compared    int64      `json:"compared"`    // put to the candidate
	Evaluated   int64      `json:"evaluated"`   // different inputs among them
	Unchanged   int64      `json:"unchanged"`   // same effect, reasons and obligations, or none that reaches the request
	OtherRules  int64      `json:"other_rules"` // same effect and obligations for other reasons
	First       *time.Time `json:"first"`       // time of the earliest decision, null for none
	Last        *time.Time `json:"last"`
	Interrupted bool       `json:"interrupted"`

	Changes []Changes `json:"changes"` // that there are; looser first
	// Untouched are mask changes that reach nothing that the request shows.
	Untouched int64     `json:"masks_not_reached"`
	Approvals Approvals `json:"approvals"`

	// What was not compared, and why.
	Outside      []Count `json:"outside"`        // decided by no policy, by reason
	OtherSchemas []Count `json:"other_schemas"`  // inputs of a form that is not known here
	NoDecision   int64   `json:"no_decision"`    // inputs alone, without a baseline to say what was decided
	Missing      []Count `json:"missing_inputs"` // what the candidate reads and older inputs lack, by path
	Unread       Unread  `json:"unread"`
}

// Unread is what could not be read.
type Unread struct {
	Problems int64    `json:"problems"` // damaged or unreadable
	Messages []string `json:"messages"` // the first of them
	NotYet   int64    `json:"not_yet"`  // recordings that are not archived yet
}

// Baseline is the check that what decided decides the same again.
type Baseline struct {
	Given   bool                        `json:"given"`
	Bundles map[string]policy.BundleRef `json:"bundles"`
	// Reproduced and Differs are decisions of exactly these bundles. Where
	// Differs is not 0, a replay does not tell what a candidate would do.
	Reproduced int64 `json:"reproduced"`
	Differs    int64 `json:"differs"`
	// OtherBundles were decided by others: OtherDiffers of them otherwise than
	// the baseline would.
	OtherBundles int64     `json:"other_bundles"`
	OtherDiffers int64     `json:"other_differs"`
	Deciders     []Count   `json:"deciders"` // which bundles decided, by how many decisions
	Examples     []Example `json:"examples"` // of Differs
}

// Changes are all changes of one kind.
type Changes struct {
	Kind      Kind      `json:"kind"`
	Direction Direction `json:"direction"`
	Count     int64     `json:"count"`    // decisions
	ByRule    []Count   `json:"by_rule"`  // "+id": the candidate's alone, "-id": no longer
	ByAgent   []Count   `json:"by_agent"` // "actor for subject"
	ByTable   []Count   `json:"by_table"`
	ByWhat    []Count   `json:"by_what"` // field of a mask, name of a limit
	Examples  []Example `json:"examples"`
}

// Approvals are the requests that a person must look at.
type Approvals struct {
	Was  int64 `json:"was"`
	Now  int64 `json:"now"`
	Days []Day `json:"days"`
	// NewPerDay is how many more a day there would be, over the days between the
	// first and the last decision.
	NewPerDay float64 `json:"new_per_day"`
}

// Day is one day's, in UTC.
type Day struct {
	Day string `json:"day"`
	Was int64  `json:"was"`
	Now int64  `json:"now"`
}

// Of returns the changes of one kind; their Count is 0 where there are none.
func (r *Report) Of(k Kind) Changes {
	for _, c := range r.Changes {
		if c.Kind == k {
			return c
		}
	}
	return Changes{Kind: k, Direction: k.Direction()}
}

// Flips is how many changes there are, of every kind but those of direction
// Other.
func (r *Report) Flips() int64 {
	var n int64
	for _, c := range r.Changes {
		if c.Direction != Other {
			n += c.Count
		}
	}
	return n
}

func makeReport(t *tally, u unread, candidate, baseline *policy.Set, c *Counter, interrupted bool) *Report {
	r := &Report{
		Schema: ReportSchema, Candidate: candidate.Bundles(),
		Decisions: t.decisions, Compared: t.compared, Evaluated: c.Evaluated.Load(), Unchanged: t.unchanged, OtherRules: t.reasonsOnly,
		Interrupted: interrupted, Untouched: t.untouched, Changes: []Changes{},
		Outside: t.outside.list(), OtherSchemas: t.schemas.list(), NoDecision: t.noDecision, Missing: t.missing.list(),
		Unread: Unread{Problems: u.count + t.errors, Messages: append([]string{}, u.messages...), NotYet: u.notYet},
	}
	r.Baseline = Baseline{
		Given: baseline != nil, Bundles: map[string]policy.BundleRef{}, Reproduced: t.base.same, Differs: t.base.differs,
		OtherBundles: t.base.otherSame + t.base.otherDiffers, OtherDiffers: t.base.otherDiffers,
		Deciders: t.base.deciders.list(), Examples: append([]Example{}, t.base.wrong.kept...),
	}
	if baseline != nil {
		r.Baseline.Bundles = baseline.Bundles()
	}
	if t.decisions > 0 {
		first, last := t.first.UTC(), t.last.UTC()
		r.First, r.Last = &first, &last
	}
	for _, k := range kinds {
		if g := t.groups[k]; g != nil {
			r.Changes = append(r.Changes, Changes{
				Kind: k, Direction: k.Direction(), Count: g.count, ByRule: g.rules.list(), ByAgent: g.agents.list(), ByTable: g.tables.list(),
				ByWhat: g.whats.list(), Examples: append([]Example{}, g.examples.kept...),
			})
		}
	}
	r.Approvals.Days = []Day{}
	for _, name := range slices.Sorted(maps.Keys(t.days)) {
		d := t.days[name]
		r.Approvals.Days = append(r.Approvals.Days, Day{name, d.was, d.now})
		r.Approvals.Was += d.was
		r.Approvals.Now += d.now
	}
	if r.First != nil {
		days := r.Last.Truncate(24*time.Hour).Sub(r.First.Truncate(24*time.Hour)).Hours()/24 + 1
		r.Approvals.NewPerDay = float64(r.Approvals.Now-r.Approvals.Was) / days
	}
	return r
}
