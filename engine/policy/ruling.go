package policy

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// Effect is what a ruling says. The zero value denies.
type Effect int

// The effects, the strictest first.
const (
	Deny Effect = iota
	RequireApproval
	Allow
)

var effectNames = [...]string{"deny", "require_approval", "allow"}

// String returns the contract's word.
func (e Effect) String() string {
	if e < 0 || int(e) >= len(effectNames) {
		return effectNames[Deny]
	}
	return effectNames[e]
}

// MarshalText implements encoding.TextMarshaler.
func (e Effect) MarshalText() ([]byte, error) { return []byte(e.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (e *Effect) UnmarshalText(text []byte) error {
	for i, name := range effectNames {
		if name == string(text) {
			*e = Effect(i)
			return nil
		}
	}
	return fmt.Errorf("effect %q is not deny, require_approval or allow", text)
}

// Ruling is what the policies say of one document. It is immutable: the cache
// hands the same one to many requests, so its address may key what is planned
// from it.
type Ruling struct {
	Effect Effect `json:"effect"`
	// Reasons say why: for a denial the denying rules, for a hold the unmet
	// requirements, for an allow the rules that allow. Sorted by id.
	Reasons     []Reason     `json:"reasons"`
	Obligations []Obligation `json:"obligations"`
	// Masks, Limit, Approvals, Record and Labels are the obligations again, typed.
	Masks     []Mask        `json:"-"`
	Limit     Limit         `json:"-"`
	Approvals []Requirement `json:"-"` // unmet first
	Record    Level         `json:"-"`
	Labels    []Label       `json:"-"`

	Bundles   map[string]BundleRef `json:"-"`
	Evaluated []string             `json:"-"` // packages below regate.policies, sorted
	Shadow    []string             `json:"-"` // shadow packages that look at it too, sorted; see Config.OnShadow
	// Errors are what went wrong inside, for the operator and the record; the
	// agent sees only the reason.
	Errors []string `json:"errors"`

	once   sync.Once
	json   []byte
	digest [sha256.Size]byte
}

// Reason is one rule's voice.
type Reason struct {
	ID       string `json:"id"` // stable, e.g. "acme.sql/no-where"
	Effect   Effect `json:"effect"`
	Owner    string `json:"owner"` // the <owner> of regate.policies.<owner>.<name>; "engine"
	Msg      string `json:"msg"`
	Severity string `json:"severity"` // "", "info", "low", "medium", "high" or "critical"
	Hint     string `json:"hint"`     // what to do about it
}

// Obligation is something that must be done for the ruling to hold, in
// AuthZEN's shape.
type Obligation struct {
	ID         string         `json:"id"`
	Type       string         `json:"type"` // mask, limit, require_approval or record
	Properties map[string]any `json:"properties"`
	Because    []string       `json:"because"` // ids of the rules that ask for it, sorted
}

// Mask hides one field, or every value of one detected kind.
type Mask struct {
	ID         string   // of the obligation, e.g. "mask/field/public.users.email"
	Field      string   // "schema.table.column", or ""
	Detect     string   // kind, or ""
	Method     string   // null, redact, hash, tokenise or partial
	Keep       int      // partial: characters shown at the end
	KeepFirst  int      // partial: characters shown at the start
	KeepDomain bool     // partial: an e-mail address keeps its domain
	Because    []string // ids of rules, sorted
}

// Limit bounds what a request may return and take. 0 means no limit.
type Limit struct {
	Rows, Bytes int64
	Seconds     float64
}

// Join returns the limits of which each is the smaller one.
func (l Limit) Join(o Limit) Limit {
	return Limit{Rows: least(l.Rows, o.Rows), Bytes: least(l.Bytes, o.Bytes), Seconds: least(l.Seconds, o.Seconds)}
}

// Requirement asks for approval. Requirements count independently: one
// person's approval may serve several of them.
type Requirement struct {
	ID    string
	From  []string      // "group:x", "subject:y" or "any", sorted
	Count int           // distinct approvers, at least 1
	TTL   time.Duration // how long an approval stays good; the shortest of all requirements
	Wait  time.Duration // how long a request is held before the agent gets the approval's id
	Msg   string
	Owner string
	Met   bool
}

// Label is put on the task, or on the agent, for later requests to see.
type Label struct {
	Name    string
	Scope   string   // LabelTask or LabelAgent
	Because []string // ids of rules, sorted
}

// The scopes of labels.
const (
	LabelTask  = "task"  // subject, actor and asserted task
	LabelAgent = "agent" // subject and actor, whatever the task
)

// Level says what is recorded. The zero value records in full, masked.
type Level int

// The levels of recording, the least first.
const (
	RecordFull   Level = iota // everything, as the agent saw it
	RecordSealed              // and the raw payload, sealed to a key that the gateway does not hold
)

var levelNames = [...]string{"full", "sealed"}

// String returns the contract's word.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return levelNames[RecordFull]
	}
	return levelNames[l]
}

// BundleRef names the exact bundle that decided.
type BundleRef struct {
	Revision string `json:"revision"` // as the manifest says, maybe ""
	Digest   string `json:"digest"`   // "sha256:…" over the bundle's content
}

// ShadowRuling is what the enforced packages and one shadow package would have
// decided together, or what would be decided with a shadow bundle in force.
type ShadowRuling struct {
	Bundle      string       `json:"bundle"`  // the shadow bundle; "" where a package is in shadow
	Package     string       `json:"package"` // "" where a whole bundle is
	Effect      Effect       `json:"effect"`
	Reasons     []Reason     `json:"reasons"`
	Obligations []Obligation `json:"obligations"`
	Errors      []string     `json:"errors"`
}

// ShadowReport is what all shadow packages that apply say of one document.
type ShadowReport struct {
	Document *input.Document
	Ruling   *Ruling // the one in force
	Shadow   []ShadowRuling
}

type policyJSON struct {
	Bundles   map[string]BundleRef `json:"bundles"`
	Evaluated []string             `json:"evaluated"`
	Shadow    []string             `json:"shadow"`
}

// JSON returns the decision body: {effect, reasons, obligations, policy,
// errors} of `regate.decision/v1`, without id, time, stage and input_digest,
// which differ from request to request. The caller must not change it.
func (r *Ruling) JSON() []byte {
	r.once.Do(func() {
		type plain Ruling
		raw, err := json.Marshal(struct {
			*plain
			Policy policyJSON `json:"policy"`
		}{
			plain:  (*plain)(r),
			Policy: policyJSON{Bundles: r.Bundles, Evaluated: nonNil(r.Evaluated), Shadow: nonNil(r.Shadow)},
		})
		if err != nil {
			// Only numbers, strings and lists: it marshals.
			panic(fmt.Sprintf("policy: ruling does not marshal: %v", err))
		}
		r.json, r.digest = raw, sha256.Sum256(raw)
	})
	return r.json
}

// Digest returns the SHA-256 of JSON.
func (r *Ruling) Digest() [sha256.Size]byte {
	r.JSON()
	return r.digest
}

func nonNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
