package backtest

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// CoverageSchema names the form of CoverageReport's JSON.
const CoverageSchema = "regate.coverage/v1"

// CoverageReport says what recorded traffic and policies have to do with each
// other.
type CoverageReport struct {
	Schema      string                      `json:"schema"`
	Bundles     map[string]policy.BundleRef `json:"bundles"`
	Decisions   int64                       `json:"decisions"` // read
	Counted     int64                       `json:"counted"`   // put to the policies
	Evaluated   int64                       `json:"evaluated"` // different inputs among them
	First       *time.Time                  `json:"first"`
	Last        *time.Time                  `json:"last"`
	Interrupted bool                        `json:"interrupted"`

	Rules []RuleHits `json:"rules"` // every rule of an enforced package, by place
	// Default is the traffic that is denied because no rule allows it.
	Default Default `json:"default"`
	Agents  []Agent `json:"agents"` // the busiest first
	// Unread are parts of the inputs that no package reads, by protocol.
	Unread map[string][]string `json:"fields_nobody_reads"`

	Outside      []Count `json:"outside"`
	OtherSchemas []Count `json:"other_schemas"`
	Source       Unread  `json:"source"`
}

// RuleHits is one rule and how many decisions it held for.
type RuleHits struct {
	ID      string `json:"id"`
	Entry   string `json:"entry"`
	Package string `json:"package"`
	File    string `json:"file"`
	Line    int    `json:"line"`
	Hits    int64  `json:"hits"`
	// Asked is how many decisions the package was asked about: a rule without
	// hits that was never asked says nothing.
	Asked int64 `json:"asked"`
}

// Default is what no rule allows.
type Default struct {
	Count    int64     `json:"count"`
	ByAgent  []Count   `json:"by_agent"`
	ByVerb   []Count   `json:"by_verb"`
	ByTable  []Count   `json:"by_table"`
	Examples []Example `json:"examples"`
}

// Agent is one agent's traffic.
type Agent struct {
	Name      string `json:"name"`
	Decisions int64  `json:"decisions"`
	Default   int64  `json:"default"` // denied because no rule allows it
	// Own says that some rule that held reads who asks. Without one, all that
	// the agent may do everybody may.
	Own bool `json:"own_rule"`
}

// coverer is one worker of Coverage.
type coverer struct {
	judge  *judge
	rules  []rule
	trace  func() (topdown.QueryTracer, func() []int32)
	opts   *Options
	reader *reader

	decisions, counted int64
	first, last        time.Time
	hits               []int64
	asked              map[[2]string]int64 // decisions by protocol and target
	none               *group
	agents             map[string]*Agent
	others             Agent
	fields             map[string]map[string]bool // protocol → paths that inputs have
	outside, schemas   counts
	elsewhere          map[string]string // by ruling
}

// Coverage puts every decision of the source to the Set and counts which rules
// held. When ctx ends, the report is of what was read until then.
func Coverage(ctx context.Context, source corpus.Source, set *policy.Set, o Options) (*CoverageReport, error) {
	if set == nil {
		return nil, errors.New("coverage: no policies")
	}
	o = o.filled()
	rules := rulesOf(set)
	numbers := map[*ast.Rule]int32{}
	for i, r := range rules {
		numbers[r.pointer] = int32(i)
	}
	j := newJudge(set)
	workers := make([]*coverer, o.Workers)
	for i := range workers {
		workers[i] = newCoverer(j, rules, &o)
		workers[i].trace = func() (topdown.QueryTracer, func() []int32) {
			t := &hitTracer{numbers: numbers, hit: map[int32]bool{}}
			return t, t.list
		}
	}
	u := work(ctx, source, &o, func(i int, r *corpus.Recorded) { workers[i].take(ctx, r) })
	sum := newCoverer(j, rules, &o)
	for _, w := range workers {
		sum.merge(w)
	}
	return sum.report(set, u, ctx.Err() != nil), nil
}

func newCoverer(j *judge, rules []rule, o *Options) *coverer {
	return &coverer{
		judge: j, rules: rules, opts: o, reader: newReader(), hits: make([]int64, len(rules)), asked: map[[2]string]int64{},
		none: newGroup(o.Examples), agents: map[string]*Agent{}, elsewhere: map[string]string{}, others: Agent{Name: othersName}, fields: map[string]map[string]bool{},
	}
}

func (w *coverer) take(ctx context.Context, r *corpus.Recorded) {
	w.decisions++
	w.at(r.Time)
	if schema := text(r.Entry("schema")); schema != input.Schema {
		w.schemas.add(nameOr(schema, "(none)"), 1)
		return
	}
	if why := w.decidedElsewhere(r); why != "" {
		w.outside.add(why, 1)
		return
	}
	f := w.reader.read(r)
	out, made := w.judge.of(ctx, r, f.target.Name, w.trace)
	if ctx.Err() != nil {
		return
	}
	protocol := text(r.Entry("protocol"))
	if made {
		w.opts.Counter.Evaluated.Add(1)
		w.noteFields(protocol, r)
	}
	w.counted++
	if key := [2]string{protocol, f.target.Name}; w.asked[key] > 0 || len(w.asked) < maxNames {
		w.asked[key]++
	}
	own := false
	for _, n := range out.hits {
		w.hits[n]++
		own = own || w.rules[n].who
	}
	name := f.agent.String()
	a := w.agents[name]
	if a == nil {
		if len(w.agents) >= maxNames {
			a = &w.others
		} else {
			a = &Agent{Name: name}
			w.agents[name] = a
		}
	}
	a.Decisions++
	a.Own = a.Own || own
	if v := out.verdict; len(v.reasons) == 1 && v.reasons[0].ID == policy.ReasonNoAllow {
		a.Default++
		w.noAllow(r, &f, v)
	}
}

// decidedElsewhere says why no policy was asked, "" where one was.
func (w *coverer) decidedElsewhere(r *corpus.Recorded) string {
	if len(r.Ruling) == 0 {
		return ""
	}
	key := string(r.Ruling)
	why, known := w.elsewhere[key]
	if known {
		return why
	}
	switch v, err := parseVerdict(r.Ruling, r.Effect); {
	case err != nil:
		why = "(a ruling that cannot be read)"
	case !v.failed: // what failed or took too long is asked again
		why = v.outside
	}
	if len(w.elsewhere) >= keptPerWorker {
		clear(w.elsewhere)
	}
	w.elsewhere[key] = why
	return why
}

func (w *coverer) noAllow(r *corpus.Recorded, f *facts, v *verdict) {
	w.none.count++
	w.none.agents.add(f.agent.String(), 1)
	w.none.whats.add(nameOr(f.action.Verb, "(none)"), 1)
	for _, table := range f.res.tables() {
		w.none.tables.add(table, 1)
	}
	e := Example{
		DecisionID: r.At(), Time: r.Time, Stage: r.Stage, Agent: f.agent.String(), Target: f.target.Name,
		Verb: f.action.Verb, Tables: f.res.tables(), Was: Side{Effect: r.Effect, Reasons: []string{}}, Now: Side{Effect: v.word(), Reasons: v.ids()},
	}
	if w.none.examples.wants(e) {
		if w.opts.Statement != nil {
			e.Statement = w.opts.Statement(r)
		}
		w.none.examples.add(e)
	}
}

func (w *coverer) at(when time.Time) {
	if w.first.IsZero() || when.Before(w.first) {
		w.first = when
	}
	if when.After(w.last) {
		w.last = when
	}
}

// noteFields notes which parts an input has, two keys deep.
func (w *coverer) noteFields(protocol string, r *corpus.Recorded) {
	known := w.fields[protocol]
	if known == nil {
		if len(w.fields) >= maxNames {
			return
		}
		known = map[string]bool{}
		w.fields[protocol] = known
	}
	for i := range r.Entries {
		e := &r.Entries[i]
		if len(known) >= maxNames {
			return
		}
		if len(e.JSON) == 0 || e.JSON[0] != '{' {
			known[e.Key] = known[e.Key] || string(e.JSON) != "null" // null says that there may be more
			continue
		}
		_ = eachKey(e.JSON, func(key string) { known[e.Key+"."+key] = true }) // as far as it is an object
	}
}

func (w *coverer) merge(o *coverer) {
	w.decisions += o.decisions
	w.counted += o.counted
	if !o.first.IsZero() {
		w.at(o.first)
		w.at(o.last)
	}
	for i, n := range o.hits {
		w.hits[i] += n
	}
	for key, n := range o.asked {
		w.asked[key] += n
	}
	w.none.merge(o.none)
	for _, name := range slices.Sorted(maps.Keys(o.agents)) {
		a := o.agents[name]
		sum := w.agents[name]
		if sum == nil {
			sum = &Agent{Name: name}
			w.agents[name] = sum
		}
		sum.Decisions += a.Decisions
		sum.Default += a.Default
		sum.Own = sum.Own || a.Own
	}
	w.others.Decisions += o.others.Decisions
	w.others.Default += o.others.Default
	w.others.Own = w.others.Own || o.others.Own
	for protocol, paths := range o.fields {
		if w.fields[protocol] == nil {
			w.fields[protocol] = map[string]bool{}
		}
		for path, filled := range paths {
			w.fields[protocol][path] = w.fields[protocol][path] || filled
		}
	}
	w.outside.merge(&o.outside)
	w.schemas.merge(&o.schemas)
}

func (w *coverer) report(set *policy.Set, u unread, interrupted bool) *CoverageReport {
	r := &CoverageReport{
		Schema: CoverageSchema, Bundles: set.Bundles(), Decisions: w.decisions, Counted: w.counted,
		Evaluated: w.opts.Counter.Evaluated.Load(), Interrupted: interrupted,
		Rules: []RuleHits{}, Agents: []Agent{}, Unread: map[string][]string{},
		Outside: w.outside.list(), OtherSchemas: w.schemas.list(),
		Source: Unread{Problems: u.count, Messages: append([]string{}, u.messages...), NotYet: u.notYet},
		Default: Default{
			Count: w.none.count, ByAgent: w.none.agents.list(), ByVerb: w.none.whats.list(), ByTable: w.none.tables.list(),
			Examples: append([]Example{}, w.none.examples.kept...),
		},
	}
	if w.decisions > 0 {
		first, last := w.first.UTC(), w.last.UTC()
		r.First, r.Last = &first, &last
	}
	for i, one := range w.rules {
		h := RuleHits{ID: one.id, Entry: one.entry, Package: one.pkg.Name, File: one.file, Line: one.line, Hits: w.hits[i]}
		for key, n := range w.asked {
			if applies(one.pkg, key[0], key[1]) {
				h.Asked += n
			}
		}
		r.Rules = append(r.Rules, h)
	}
	for _, a := range w.agents {
		r.Agents = append(r.Agents, *a)
	}
	slices.SortFunc(r.Agents, func(a, b Agent) int {
		return cmp.Or(cmp.Compare(b.Decisions, a.Decisions), strings.Compare(a.Name, b.Name))
	})
	if w.others.Decisions > 0 {
		r.Agents = append(r.Agents, w.others)
	}
	for protocol, paths := range w.fields {
		r.Unread[protocol] = unreadFields(set, protocol, paths)
	}
	return r
}

// readByEngine are parts that regate itself reads when it decides.
var readByEngine = []string{"approvals", "enforcer.obligations", "protocol", "schema", "stage", "target.name"}

// unreadFields are the parts of a protocol's inputs that no enforced package
// reads.
func unreadFields(set *policy.Set, protocol string, paths map[string]bool) []string {
	var reads [][]string
	for _, info := range set.Packages() {
		if info.Mode == "enforce" && (len(info.Protocols) == 0 || slices.Contains(info.Protocols, protocol)) {
			reads = append(reads, set.Reads(info.Name)...)
		}
	}
	out := []string{}
	for path, filled := range paths {
		keys := strings.SplitN(path, ".", 2)
		covered := slices.ContainsFunc(reads, func(read []string) bool {
			for i := range min(len(read), len(keys)) {
				if read[i] != "*" && read[i] != keys[i] {
					return false
				}
			}
			return true
		})
		if filled && !covered && !slices.Contains(readByEngine, path) {
			out = append(out, path)
		}
	}
	slices.Sort(out)
	return out
}

// Unused are the rules that were asked and never held.
func (r *CoverageReport) Unused() []RuleHits {
	return slices.DeleteFunc(slices.Clone(r.Rules), func(h RuleHits) bool { return h.Hits > 0 || h.Asked == 0 })
}

// NotAsked are the rules whose package was never asked: there was no traffic of
// its protocols on its targets.
func (r *CoverageReport) NotAsked() []RuleHits {
	return slices.DeleteFunc(slices.Clone(r.Rules), func(h RuleHits) bool { return h.Asked > 0 })
}

// Common are the agents that have no rule of their own.
func (r *CoverageReport) Common() []Agent {
	return slices.DeleteFunc(slices.Clone(r.Agents), func(a Agent) bool { return a.Own })
}
