package backtest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// SuggestOptions say what to draft.
type SuggestOptions struct {
	Options
	Agent   string // as corpus.Agent.Is names one
	Package string // below regate.policies, e.g. "drafts.agent_7"; "" makes one of the agent's name
	// Group, where it is not empty, lets every member of the group do what the
	// agent's subject did, instead of the subject alone.
	Group    string
	MaxRules int // 0 means 500: the most frequent shapes are kept
}

const defaultMaxRules = 500

// maxShapes bounds the shapes that are told apart.
const maxShapes = 20_000

// maxPrincipals bounds the identities that a draft names.
const maxPrincipals = 1_000

// Suggestion is a draft and what it was made from.
type Suggestion struct {
	Agent     string     `json:"agent"`
	Decisions int64      `json:"decisions"` // of the agent
	Allowed   int64      `json:"allowed"`   // that policies allowed without a person
	Covered   int64      `json:"covered"`   // of them, that the draft is made from
	First     *time.Time `json:"first"`
	Last      *time.Time `json:"last"`
	Rules     int        `json:"rules"`
	// LeftOut are the allowed requests that the draft does not cover, and why.
	LeftOut     []Count           `json:"left_out"`
	Files       map[string]string `json:"files"` // of the draft, by name: .manifest, Rego and tests
	Proof       Proof             `json:"proof"`
	Interrupted bool              `json:"interrupted"`
	Source      Unread            `json:"source"`
}

// Proof is what a replay of the draft alone found.
type Proof struct {
	Allows int64 `json:"allows"` // covered requests that the draft allows
	Misses int64 `json:"misses"` // covered requests that it does not allow
	// StillDenied are requests that it would allow and that a rule denied or held:
	// such rules keep their effect beside it. By rule.
	StillDenied []Count `json:"still_denied"`
	// Widens are requests that it would allow and that nothing but a missing rule
	// denied, or that were left out. It is 0 for a draft that can be used.
	Widens   int64     `json:"widens"`
	Examples []Example `json:"examples"` // of Misses and Widens
}

// Exact reports whether the draft allows the covered requests and nothing else,
// but for what other rules deny or hold.
func (p *Proof) Exact() bool { return p.Misses == 0 && p.Widens == 0 }

// gathered is what a draft is made from.
type gathered struct {
	mu         sync.Mutex
	shapes     map[string]*shape
	principals map[corpus.Agent]bool
	leftOut    counts
	decisions  int64
	allowed    int64
	tally      tally // of times
}

// Suggest drafts the tightest rules that allow what an agent was allowed to do,
// and proves it by putting the agent's requests to the draft. The source is read
// twice.
func Suggest(ctx context.Context, source corpus.Source, o SuggestOptions) (*Suggestion, error) {
	o.Options = o.filled()
	if o.Agent == "" {
		return nil, errors.New("suggest: no agent")
	}
	if o.MaxRules <= 0 {
		o.MaxRules = defaultMaxRules
	}
	if o.Package == "" {
		o.Package = "drafts." + identifier(o.Agent)
	}
	source = mine(source, o.Agent)
	g := &gathered{shapes: map[string]*shape{}, principals: map[corpus.Agent]bool{}}
	readers := make([]*reader, o.Workers)
	for i := range readers {
		readers[i] = newReader()
	}
	verdicts := newRecordedVerdicts()
	u := work(ctx, source, &o.Options, func(i int, r *corpus.Recorded) { g.take(r, readers[i], verdicts, &o) })
	out := &Suggestion{
		Agent: o.Agent, Decisions: g.decisions, Allowed: g.allowed, Files: map[string]string{},
		Interrupted: ctx.Err() != nil,
		Source:      Unread{Problems: u.count, Messages: append([]string{}, u.messages...), NotYet: u.notYet},
	}
	if !g.tally.first.IsZero() {
		first, last := g.tally.first.UTC(), g.tally.last.UTC()
		out.First, out.Last = &first, &last
	}
	shapes := g.choose(o.MaxRules)
	for _, s := range shapes {
		out.Covered += s.count
	}
	out.Rules = len(shapes)
	out.LeftOut = g.leftOut.list()
	if len(shapes) == 0 || out.Interrupted {
		return out, nil
	}
	d := &draft{options: &o, shapes: shapes, principals: slices.Collect(maps.Keys(g.principals)), from: out}
	files, err := d.files()
	if err != nil {
		return nil, fmt.Errorf("suggest: %w", err)
	}
	out.Files = files
	covered := map[string]bool{}
	for _, s := range shapes {
		covered[s.name] = true
	}
	if err := out.prove(ctx, source, covered, &o, verdicts); err != nil {
		return nil, fmt.Errorf("suggest: %w", err)
	}
	return out, nil
}

// mine keeps one agent's requests.
func mine(source corpus.Source, agent string) corpus.Source {
	return func(yield func(corpus.Recorded, error) bool) {
		var agents corpus.Agents
		for r, err := range source {
			if err == nil {
				who, bad := agents.Of(&r)
				if bad != nil || !who.Is(agent) {
					continue
				}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// recordedVerdicts remembers rulings and shapes that were read.
type recordedVerdicts struct {
	mu     sync.Mutex
	known  map[string]*verdict
	shapes *shapes
}

func newRecordedVerdicts() *recordedVerdicts {
	return &recordedVerdicts{known: map[string]*verdict{}, shapes: newShapes()}
}

// of is nil for a decision that no policy made.
func (v *recordedVerdicts) of(r *corpus.Recorded) *verdict {
	if len(r.Ruling) == 0 {
		return nil
	}
	key := r.Effect + " " + string(r.Ruling)
	v.mu.Lock()
	defer v.mu.Unlock()
	if known, ok := v.known[key]; ok {
		return known
	}
	parsed, err := parseVerdict(r.Ruling, r.Effect)
	if err != nil || parsed.outside != "" {
		parsed = nil
	}
	if len(v.known) >= keptPerWorker {
		clear(v.known)
	}
	v.known[key] = parsed
	return parsed
}

// uncovered says why an allowed request is not drafted from; "" where it is.
func uncovered(r *corpus.Recorded, v *verdict, known *shapes, o *SuggestOptions) (*shape, string) {
	if v.asked {
		return nil, "a person approved it"
	}
	if o.Group != "" {
		var subject struct{ Groups []string }
		if json.Unmarshal(r.Entry("subject"), &subject) != nil || !slices.Contains(subject.Groups, o.Group) {
			return nil, "its subject is not in the group " + o.Group
		}
	}
	return known.of(r)
}

func (g *gathered) take(r *corpus.Recorded, reader *reader, verdicts *recordedVerdicts, o *SuggestOptions) {
	v := verdicts.of(r)
	if v == nil || r.Stage == string(input.StageResponse) || text(r.Entry("schema")) != input.Schema {
		return
	}
	var s *shape
	var why string
	allowed := v.effect == policy.Allow
	if allowed {
		s, why = uncovered(r, v, verdicts.shapes, o)
	}
	f := reader.read(r)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.decisions++
	g.tally.at(r.Time)
	if !allowed {
		return
	}
	g.allowed++
	if why != "" {
		g.leftOut.add(why, 1)
		return
	}
	known := g.shapes[s.name]
	if known == nil && len(g.shapes) >= maxShapes {
		g.leftOut.add(fmt.Sprintf("there are more than %d different shapes", maxShapes), 1)
		return
	}
	if !g.principals[f.agent] && len(g.principals) >= maxPrincipals {
		g.leftOut.add(fmt.Sprintf("it acted for more than %d identities: --group names them together", maxPrincipals), 1)
		return
	}
	g.principals[f.agent] = true
	if known == nil {
		known = s.clone()
		known.statements = sample[Example]{most: o.Examples, order: earlier}
		g.shapes[s.name] = known
	} else {
		known.grow(s)
	}
	if e := (Example{DecisionID: r.At(), Time: r.Time}); o.Statement != nil && known.statements.wants(e) {
		e.Statement = o.Statement(r)
		known.statements.add(e)
	}
}

// choose returns the shapes to draft, by protocol, the most frequent first.
func (g *gathered) choose(most int) []*shape {
	shapes := slices.Collect(maps.Values(g.shapes))
	slices.SortFunc(shapes, func(a, b *shape) int { return cmp.Or(cmp.Compare(b.count, a.count), strings.Compare(a.name, b.name)) })
	if len(shapes) > most {
		for _, s := range shapes[most:] {
			g.leftOut.add(fmt.Sprintf("it is not among the %d most frequent shapes", most), s.count)
		}
		shapes = shapes[:most]
	}
	slices.SortStableFunc(shapes, func(a, b *shape) int {
		return cmp.Or(strings.Compare(a.protocol, b.protocol), strings.Compare(b.stage, a.stage)) // connecting first
	})
	return shapes
}

// maxIdentifier bounds a name that is made up, which is a file's name too.
const maxIdentifier = 60

// identifier makes a name that Rego takes as it is.
func identifier(name string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(name) {
		switch {
		case b.Len() >= maxIdentifier:
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9' && b.Len() > 0:
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
		}
	}
	out := strings.TrimRight(b.String(), "_")
	if out == "" {
		return "agent"
	}
	if slices.Contains(regoKeywords, out) {
		out += "_agent"
	}
	return out
}

var regoKeywords = []string{"and", "as", "contains", "data", "default", "else", "every", "false", "if", "import", "in", "input", "not", "null", "or", "package", "some", "true", "with"}
