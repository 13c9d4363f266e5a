package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
)

// Options say what to explain.
type Options struct {
	Set   *policy.Set
	Input []byte // the document, JSON
	// Recorded is the decision as it was recorded. nil: there is none, the input
	// is from somebody's hands.
	Recorded *Recorded
	// Data lets the search try values that the bundles' data holds, such as the
	// groups of a setting. Whoever sees the result then sees some of the data.
	Data bool
	// MaxNear bounds the rules that nearly fired, MaxChanges the changes that are
	// told, MaxTries the evaluations of the search. 0 means 5, 8 and 3,000.
	MaxNear, MaxChanges, MaxTries int
}

// Recorded is what a recording says of a decision.
type Recorded struct {
	DecisionID string                      `json:"decision_id"`
	SessionID  string                      `json:"session_id"`
	Turn       uint64                      `json:"turn"`
	Time       time.Time                   `json:"time"`
	Effect     string                      `json:"effect"`
	Reasons    []string                    `json:"reasons"` // ids
	Bundles    map[string]policy.BundleRef `json:"bundles"`
}

// Explanation is why a decision is what it is.
type Explanation struct {
	Recorded *Recorded `json:"recorded"` // null: the input has no recorded decision
	Stage    string    `json:"stage"`
	Protocol string    `json:"protocol"`
	Target   string    `json:"target"`
	// Effect and Reasons are of the evaluation now, Errors what went wrong in it.
	Effect  policy.Effect   `json:"effect"`
	Reasons []policy.Reason `json:"reasons"`
	Errors  []string        `json:"errors"`
	// Bundles compares what decided with what is at hand. Warnings say where the
	// explanation may not be that of the recorded decision.
	Bundles  []Bundle `json:"bundles"`
	Warnings []string `json:"warnings"`
	// Fired are the rules whose conditions all hold; Near those that came closest,
	// the fewest failing conditions first.
	Fired []Rule `json:"fired"`
	Near  []Rule `json:"near"`
	// Changes are single values of the input with each of which the effect would
	// have been another. Each was evaluated.
	Changes []Change `json:"changes"`
	// Tried counts the evaluations of the search; Exhausted is false where it was
	// ended by its bound and there may be more.
	Tried     int  `json:"tried"`
	Exhausted bool `json:"exhausted"`
}

// Bundle is one bundle that decided or that is at hand.
type Bundle struct {
	Name    string            `json:"name"`
	Decided *policy.BundleRef `json:"decided"` // null: it did not
	AtHand  *policy.BundleRef `json:"at_hand"` // null: it is not
	Same    bool              `json:"same"`    // by digest
}

// Rule is one rule of a policy package: one `if` with its conditions.
type Rule struct {
	IDs     []string `json:"ids"` // that it gave, or would give; empty where they depend on the input
	Package string   `json:"package"`
	Entry   string   `json:"entry"` // allow, deny, require_approval, mask, limit, record or label
	File    string   `json:"file"`
	Line    int      `json:"line"`
	// Failing are the conditions that do not hold. Of a rule that fired there are
	// none. NotReached counts those that could not be looked at, for they need a
	// value of one that failed.
	Failing    []Condition `json:"failing"`
	NotReached int         `json:"not_reached"`
	Conditions int         `json:"conditions"` // all of them
}

// Condition is one expression of a rule that does not hold.
type Condition struct {
	File   string  `json:"file"`
	Line   int     `json:"line"`
	Text   string  `json:"text"` // as it is written
	Values []Value `json:"values"`
	Error  string  `json:"error,omitempty"` // a built-in function failed
	// Inside are the conditions that fail in the helper that it asks.
	Inside []Condition `json:"inside,omitempty"`
}

// Value is something of the input that a condition saw.
type Value struct {
	Name  string          `json:"name"`  // "input.action.verb", or a variable
	Value json.RawMessage `json:"value"` // null where Undefined
	// Undefined: the input has nothing there.
	Undefined bool `json:"undefined,omitempty"`
}

// Change is one value of the input that would have changed the outcome.
type Change struct {
	Path    string          `json:"path"` // "input.action.has_where"
	From    json.RawMessage `json:"from"`
	To      json.RawMessage `json:"to"`
	Effect  policy.Effect   `json:"effect"`
	Reasons []string        `json:"reasons"` // ids, of the evaluation with the change
}

// explainer holds what one explanation needs.
type explainer struct {
	Options
	in     *policy.Input
	doc    ast.Object
	schema *schemaNode // nil: not known
	eval   *evaluator
}

// Explain evaluates the input anew and says why. The error is that the input is
// no JSON object, or ctx's; a search that ctx ends is told as one that is not
// exhausted.
func Explain(ctx context.Context, o Options) (*Explanation, error) {
	if o.Set == nil {
		return nil, errors.New("explain: no policies")
	}
	bound(&o.MaxNear, 5)
	bound(&o.MaxChanges, 8)
	bound(&o.MaxTries, 3_000)
	in, err := policy.ParseInput(o.Input)
	if err != nil {
		return nil, err
	}
	x := &explainer{Options: o, in: in, doc: in.Term().Value.(ast.Object), schema: schemaOf(in.Protocol())}
	if x.eval, err = newEvaluator(ctx, o.Set, in.Term()); err != nil {
		return nil, err
	}
	defer x.eval.close(ctx)

	ruling := o.Set.Decide(ctx, in, in.Term())
	out := &Explanation{
		Recorded: o.Recorded, Stage: in.Stage(), Protocol: in.Protocol(), Target: in.Target(),
		Effect: ruling.Effect, Reasons: ruling.Reasons, Errors: ruling.Errors,
		Fired: []Rule{}, Near: []Rule{}, Changes: []Change{},
	}
	out.Bundles, out.Warnings = compareBundles(o.Recorded, o.Set.Bundles())
	if r := o.Recorded; r != nil && r.Effect != "" && r.Effect != ruling.Effect.String() {
		out.Warnings = append(out.Warnings, fmt.Sprintf("recorded was %s, the policies at hand say %s", r.Effect, ruling.Effect))
	}
	var rules []rule
	for _, p := range o.Set.Packages() {
		if slices.Contains(ruling.Evaluated, p.Name) {
			rules = append(rules, x.rulesOf(p)...)
		}
	}
	var near []Rule
	for _, r := range rules {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("explain: %w", err)
		}
		shown := x.look(ctx, r)
		if len(shown.Failing) == 0 && shown.NotReached == 0 {
			out.Fired = append(out.Fired, shown)
		} else {
			near = append(near, shown)
		}
	}
	slices.SortStableFunc(out.Fired, func(a, b Rule) int { return entryRank(a.Entry) - entryRank(b.Entry) })
	slices.SortStableFunc(near, func(a, b Rule) int {
		if d := len(a.Failing) + a.NotReached - len(b.Failing) - b.NotReached; d != 0 {
			return d
		}
		if ruling.Effect == policy.Deny && (a.Entry == "allow") != (b.Entry == "allow") {
			if a.Entry == "allow" { // it is what would be needed
				return -1
			}
			return 1
		}
		return entryRank(a.Entry) - entryRank(b.Entry)
	})
	out.Near = append(out.Near, near[:min(len(near), o.MaxNear)]...)
	x.search(ctx, ruling, near, out) // where ctx ends it, what was found is true
	return out, nil
}

func bound(n *int, otherwise int) {
	if *n <= 0 {
		*n = otherwise
	}
}

// entryRank orders rules of equal distance: what decides first.
func entryRank(entry string) int {
	return slices.Index([]string{"deny", "allow", "require_approval", "mask", "limit", "record", "label"}, entry)
}

// compareBundles holds what decided against what is at hand: by name, or where
// the names are those of paths, by digest.
func compareBundles(r *Recorded, atHand map[string]policy.BundleRef) ([]Bundle, []string) {
	out, warnings := []Bundle{}, []string{}
	if r == nil {
		for _, name := range slices.Sorted(maps.Keys(atHand)) {
			ref := atHand[name]
			out = append(out, Bundle{Name: name, AtHand: &ref})
		}
		return out, warnings
	}
	used := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(r.Bundles)) {
		decided := r.Bundles[name]
		b := Bundle{Name: name, Decided: &decided}
		found, ok := name, false
		if _, ok = atHand[name]; !ok {
			for other, ref := range atHand {
				if ref.Digest == decided.Digest {
					found, ok = other, true
				}
			}
		}
		if ref, there := atHand[found]; ok && there {
			b.AtHand, b.Same = &ref, ref.Digest == decided.Digest
			used[found] = true
		}
		switch {
		case b.AtHand == nil:
			warnings = append(warnings, fmt.Sprintf("bundle %s%s decided and is not at hand", name, revision(decided)))
		case !b.Same:
			warnings = append(warnings, fmt.Sprintf("bundle %s is another one now: %s decided, at hand is %s", name, describe(decided), describe(*b.AtHand)))
		}
		out = append(out, b)
	}
	for _, name := range slices.Sorted(maps.Keys(atHand)) {
		if !used[name] {
			ref := atHand[name]
			out = append(out, Bundle{Name: name, AtHand: &ref})
			warnings = append(warnings, fmt.Sprintf("bundle %s%s is at hand and did not decide", name, revision(ref)))
		}
	}
	return out, warnings
}

func revision(r policy.BundleRef) string {
	if r.Revision == "" {
		return ""
	}
	return " (" + r.Revision + ")"
}

// describe is a revision and enough of the digest to tell two apart.
func describe(r policy.BundleRef) string {
	digest := strings.TrimPrefix(r.Digest, "sha256:")
	if len(digest) > 12 {
		digest = digest[:12]
	}
	if r.Revision == "" {
		return digest
	}
	return r.Revision + " " + digest
}
