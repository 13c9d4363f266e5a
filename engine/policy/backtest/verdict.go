package backtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine/policy"
)

// verdict is what policies said of one document, read from a ruling's JSON: of
// a recorded one and of an evaluated one in the same way. It is immutable and
// shared.
type verdict struct {
	effect policy.Effect
	asked  bool // a person's approval is required, met or not
	// outside is the reason id of a decision that policies did not make: what
	// the proxy or the gateway refused itself. "" for all others.
	outside string
	// ended: a request that was held, and recorded when its hold ended without
	// an approval. The effect is what the policies had said.
	ended bool
	// failed: the policies could not be evaluated.
	failed  bool
	timeout bool

	reasons   []reason
	masks     []maskOf
	limit     policy.Limit
	limitFrom []string // rules
	approvals []string // requirements in one line each, sorted
	sealed    bool
	labels    []maskOf // On is "scope/label"
	errors    []string

	same string // equal where effect, reasons and obligations are

	bundles string // that decided, for people; "" for none
	digests string // of those bundles, sorted
}

// size estimates the memory of v, in bytes.
func (v *verdict) size() int64 {
	n := 600 + 2*len(v.same)
	for _, e := range v.errors {
		n += len(e)
	}
	return int64(n)
}

// digestsOf names the content of bundles, whatever they are called.
func digestsOf(bundles map[string]policy.BundleRef) string {
	var all []string
	for _, b := range bundles {
		all = append(all, b.Digest)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// bundlesText names bundles for people: "main 2026-11-23 (sha256:0123456789ab)".
func bundlesText(bundles map[string]policy.BundleRef) string {
	var all []string
	for name, b := range bundles {
		if b.Revision != "" {
			name += " " + b.Revision
		}
		digest := b.Digest
		if len(digest) > len("sha256:")+12 {
			digest = digest[:len("sha256:")+12]
		}
		all = append(all, name+" ("+digest+")")
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

type reason struct {
	ID     string        `json:"id"`
	Effect policy.Effect `json:"effect"`
	Owner  string        `json:"owner"`
}

// maskOf is one mask of a verdict.
type maskOf struct {
	On      string // "public.users.email", or "detect:iban"
	Method  string
	Shows   string // what a partial mask shows, for messages and comparing
	Because []string
}

// wire is a ruling's JSON, as far as it counts.
type wire struct {
	Effect      policy.Effect `json:"effect"`
	Reasons     []reason      `json:"reasons"`
	Obligations []struct {
		ID         string   `json:"id"`
		Type       string   `json:"type"`
		Because    []string `json:"because"`
		Properties struct {
			Field      string   `json:"field"`
			Detect     string   `json:"detect"`
			Method     string   `json:"method"`
			Keep       int      `json:"keep"`
			KeepFirst  int      `json:"keep_first"`
			KeepDomain bool     `json:"keep_domain"`
			Rows       int64    `json:"rows"`
			Bytes      int64    `json:"bytes"`
			Seconds    float64  `json:"seconds"`
			From       []string `json:"from"`
			Count      int      `json:"count"`
			TTL        string   `json:"ttl"`
			Level      string   `json:"level"`
			Label      string   `json:"label"`
			Scope      string   `json:"scope"`
		} `json:"properties"`
	} `json:"obligations"`
	Errors []string `json:"errors"`
	Policy struct {
		Bundles map[string]policy.BundleRef `json:"bundles"`
	} `json:"policy"`
}

const engineOwner = "engine"

// notPolicy are the engine's reasons that say nothing of policies: they depend
// on the moment, not on the input.
var notPolicy = []string{policy.ReasonNoBundle, policy.ReasonTimeout}

// parseVerdict reads a ruling's JSON. effect is what was recorded beside it, ""
// where it stands alone.
func parseVerdict(raw []byte, effect string) (*verdict, error) {
	var w wire
	if err := json.Unmarshal(raw, &w); err != nil {
		return nil, fmt.Errorf("ruling: %w", err)
	}
	v := &verdict{
		effect: w.Effect, reasons: w.Reasons, errors: w.Errors,
		bundles: bundlesText(w.Policy.Bundles), digests: digestsOf(w.Policy.Bundles),
	}
	if effect != "" && effect != w.Effect.String() {
		return nil, fmt.Errorf("ruling: its effect is %s, the decision's %s", w.Effect, effect)
	}
	for _, o := range w.Obligations {
		p := &o.Properties
		switch o.Type {
		case "mask":
			m := maskOf{On: p.Field, Method: p.Method, Because: o.Because}
			if p.Field == "" {
				m.On = "detect:" + p.Detect
			}
			if p.Method == "partial" {
				m.Shows = fmt.Sprintf("%d/%d/%t", p.KeepFirst, p.Keep, p.KeepDomain)
			}
			v.masks = append(v.masks, m)
		case "limit":
			v.limit = policy.Limit{Rows: p.Rows, Bytes: p.Bytes, Seconds: p.Seconds}
			v.limitFrom = append(v.limitFrom, o.Because...)
		case "require_approval":
			v.asked = true
			v.approvals = append(v.approvals, fmt.Sprintf("%d from %s within %s", p.Count, strings.Join(p.From, " or "), p.TTL))
		case "label":
			v.labels = append(v.labels, maskOf{On: p.Scope + "/" + p.Label, Because: o.Because})
		case "record":
			v.sealed = p.Level == policy.RecordSealed.String()
		default:
			return nil, fmt.Errorf("ruling: obligation of type %q is not known", o.Type)
		}
	}
	slices.Sort(v.approvals)
	v.approvals = slices.Compact(v.approvals)
	slices.SortFunc(v.masks, func(a, b maskOf) int { return strings.Compare(a.On, b.On) })
	v.classify(w.Policy.Bundles != nil)
	var err error
	v.same, err = sameness(raw)
	return v, err
}

// classify finds out whether the policies decided. byPolicies: the ruling names
// bundles.
func (v *verdict) classify(byPolicies bool) {
	if v.effect != policy.Deny || len(v.reasons) == 0 {
		return
	}
	first := v.reasons[0]
	ours := first.Owner == engineOwner
	switch {
	case !ours:
	case first.ID == policy.ReasonError || first.ID == policy.ReasonTimeout:
		v.failed, v.timeout = true, first.ID == policy.ReasonTimeout
		if slices.Contains(notPolicy, first.ID) {
			v.outside = first.ID
		}
	case first.ID == policy.ReasonNoAllow || first.ID == policy.ReasonUnsupported:
		// Made of the input and what the policies said.
	case v.asked && byPolicies:
		// The gate puts the hold's end before what the policies said.
		v.effect, v.ended = policy.RequireApproval, true
		v.reasons = v.reasons[1:]
	default:
		v.outside = first.ID
	}
}

// sameness is the canonical JSON of what must be equal in two rulings that say
// the same.
func sameness(raw []byte) (string, error) {
	var w struct {
		Effect      json.RawMessage `json:"effect"`
		Reasons     json.RawMessage `json:"reasons"`
		Obligations json.RawMessage `json:"obligations"`
	}
	if err := json.Unmarshal(raw, &w); err != nil {
		return "", fmt.Errorf("ruling: %w", err)
	}
	out := jsontext.Value(bytes.Join([][]byte{[]byte(`{"e":`), orNull(w.Effect), []byte(`,"r":`), orNull(w.Reasons), []byte(`,"o":`), orNull(w.Obligations), []byte(`}`)}, nil))
	if err := out.Canonicalize(); err != nil {
		return "", fmt.Errorf("ruling: %w", err)
	}
	return string(out), nil
}

func orNull(raw []byte) []byte {
	if len(raw) == 0 {
		return []byte("null")
	}
	return raw
}

// reproduces reports whether v, evaluated, is what was recorded as r.
func (v *verdict) reproduces(r *verdict) bool {
	if r.ended {
		// The hold's end is recorded without the approvals that had come by then,
		// so what was met by them is not known any more.
		return v.asked && v.effect != policy.Deny && masksEqual(v.masks, r.masks) && v.limit == r.limit
	}
	return v.same == r.same
}

func masksEqual(a, b []maskOf) bool {
	return slices.EqualFunc(a, b, func(a, b maskOf) bool {
		return a.On == b.On && a.Method == b.Method && a.Shows == b.Shows
	})
}

// ids are the reasons' ids, sorted, each once.
func (v *verdict) ids() []string {
	ids := make([]string, len(v.reasons))
	for i, r := range v.reasons {
		ids[i] = r.ID
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// word is the effect for people.
func (v *verdict) word() string {
	switch {
	case v.effect == policy.Allow && v.asked:
		return "allow, approved"
	case v.effect == policy.RequireApproval:
		return "hold"
	}
	return v.effect.String()
}
