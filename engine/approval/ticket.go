package approval

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// State is where a ticket is in its life. The zero State is no state and
// allows nothing.
type State string

// The states of a ticket. Pending and Approved are open; the others are final.
const (
	Pending   State = "pending"   // requirements are not all met
	Approved  State = "approved"  // may be consumed once
	Consumed  State = "consumed"  // the request ran
	Denied    State = "denied"    // a person said no
	Expired   State = "expired"   // nobody decided, or nobody used it, in time
	Cancelled State = "cancelled" // the requester went away
)

// Open tells whether the ticket can still change.
func (s State) Open() bool { return s == Pending || s == Approved }

// Bounds of a ticket.
const (
	// DefaultTTL is how long a ticket lives when no requirement says.
	DefaultTTL = 15 * time.Minute
	// MaxTTL bounds what a requirement may say.
	MaxTTL = 24 * time.Hour
	// MaxSize is the longest ticket in bytes of JSON. A message of NATS holds
	// 1 MB by default; what a person is to judge should be far shorter.
	MaxSize = 256 << 10
)

// Requirement is what a policy asks for before a request may run.
type Requirement struct {
	ID string `json:"id"`
	// From lists who may approve: "group:x", "subject:y" (the id of a
	// principal), "any" (whoever is not the requester). Empty: nobody.
	From  []string      `json:"from"`
	Count int           `json:"count"` // approvers needed; less than 1 means 1
	TTL   time.Duration `json:"ttl"`   // how long the ticket lives; the shortest counts; 0: DefaultTTL
	Wait  time.Duration `json:"wait"`  // how long the request waits on its connection
	Msg   string        `json:"msg"`
}

// Reason is why a request is held.
type Reason struct {
	ID    string `json:"id"`
	Owner string `json:"owner"`
	Msg   string `json:"msg"`
}

// Mask is one mask that the result of the request will have.
type Mask struct {
	Field  string `json:"field"`  // "schema.table.column", or ""
	Detect string `json:"detect"` // a kind of value, or ""
	Method string `json:"method"`
}

// Limit bounds the result of the request; 0 is none.
type Limit struct {
	Rows    int64   `json:"rows"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

// Identity is who approves or denies, from a verified token.
type Identity struct {
	Subject input.Principal
	Actor   *input.Principal
}

// Approver is a person as a ticket keeps them.
type Approver struct {
	ID     string   `json:"id"`
	Issuer string   `json:"issuer"`
	Groups []string `json:"groups"`
}

// Approval is one approver's yes.
type Approval struct {
	By   Approver  `json:"by"`
	At   time.Time `json:"at"`
	Note string    `json:"note,omitempty"`
	// Meets lists the requirements that it counts for.
	Meets []string `json:"meets"`
}

// Resolution is how a ticket left the open states.
type Resolution struct {
	By     *Approver `json:"by,omitempty"` // who denied; nil where no person did
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
}

// Ticket is one held request. A ticket that the Desk returned is not changed
// afterwards and must not be changed by others.
type Ticket struct {
	ID        string           `json:"id"`
	Digest    string           `json:"digest"` // of all that the approval is bound to
	State     State            `json:"state"`
	SessionID string           `json:"session_id"` // the session that asked first
	Subject   input.Principal  `json:"subject"`    // without its claims
	Actor     *input.Principal `json:"actor"`      // without its claims
	Asserted  input.Asserted   `json:"asserted"`   // what the agent says of itself: not verified
	Target    input.Target     `json:"target"`
	Summary   string           `json:"summary"` // the request in one line or statement
	// Request is the request as policy saw it: the input document's action,
	// resource, parameters and the protocol's own part.
	Request      json.RawMessage `json:"request"`
	Reasons      []Reason        `json:"reasons"`
	Requirements []Requirement   `json:"requirements"`
	Masks        []Mask          `json:"masks"`
	Limit        Limit           `json:"limit"`
	CreatedAt    time.Time       `json:"created_at"`
	ExpiresAt    time.Time       `json:"expires_at"`
	Approvals    []Approval      `json:"approvals"`
	Resolution   *Resolution     `json:"resolution"` // nil while open

	revision uint64
}

// InputApprovals returns the approvals in the form that policy reads.
func (t *Ticket) InputApprovals() []input.Approval {
	list := make([]input.Approval, 0, len(t.Approvals))
	for _, a := range t.Approvals {
		list = append(list, input.Approval{
			ID:        t.ID,
			By:        input.Approver{ID: a.By.ID, Issuer: a.By.Issuer, Groups: a.By.Groups},
			At:        a.At.UTC().Format(time.RFC3339),
			ExpiresAt: t.ExpiresAt.UTC().Format(time.RFC3339),
		})
	}
	return list
}

// Missing returns the requirements that are not met, with Count lowered by
// the approvals there are.
func (t *Ticket) Missing() []Requirement {
	var list []Requirement
	for _, r := range t.Requirements {
		need := max(r.Count, 1)
		for _, a := range t.Approvals {
			if slices.Contains(a.Meets, r.ID) {
				need--
			}
		}
		if need > 0 {
			r.Count = need
			list = append(list, r)
		}
	}
	return list
}

// takes tells whether the requirement counts this principal.
func (r Requirement) takes(p input.Principal) bool {
	for _, from := range r.From {
		switch kind, name, _ := strings.Cut(from, ":"); kind {
		case "any":
			if from == "any" {
				return true
			}
		case "group":
			if name != "" && slices.Contains(p.Groups, name) {
				return true
			}
		case "subject":
			if name != "" && p.ID == name {
				return true
			}
		}
	}
	return false
}

// at returns the ticket as it is at a time: an open one that ran out is
// expired, whether or not anybody has written that down.
func (t *Ticket) at(now time.Time) *Ticket {
	if !t.State.Open() || now.Before(t.ExpiresAt) {
		return t
	}
	late := *t
	late.State = Expired
	late.Resolution = &Resolution{At: t.ExpiresAt}
	return &late
}

// ttl is the shortest of the requirements'.
func ttl(list []Requirement) time.Duration {
	least := time.Duration(0)
	for _, r := range list {
		if r.TTL > 0 && (least == 0 || r.TTL < least) {
			least = r.TTL
		}
	}
	if least == 0 {
		return DefaultTTL
	}
	return min(least, MaxTTL)
}

// plain drops what a ticket does not keep of a principal: claims hold more
// about a person than an approver needs.
func plain(p input.Principal) input.Principal {
	p.Claims = nil
	return p
}
