package engine

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/labels"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/engine/usage"
)

// A proxy serves one agent connection in these steps:
//
//	id, err   := gate.Authenticate(ctx, token, target)  // who is it; err is a *Denial
//	sess, err := gate.Open(ctx, Hello{...})             // stage "session": may it connect
//	for each request (one statement, API call, tool call):
//	    turn, err := sess.Request(ctx, req)             // stage "request": evaluate, hold, journal
//	    ... forward the request, read the answer ...
//	    rules, err := turn.Response(fields)             // stage "response": how to mask each field
//	    ack := turn.Output(bytes)                       // journal what the agent will see
//	    ack.Wait(ctx)                                   // record before release
//	    turn.Done(outcome)
//	sess.Close(reason)
//
// Whatever goes wrong on the way is a *Denial. There is no path on which an
// error lets a request through.

// Gate decides, holds and records for every proxy of one process. Its methods
// may be called from many goroutines at once.
type Gate struct {
	cfg      Config
	sessions *registry
	audit    *auditLog
	metrics  *metrics
	stop     []func()

	detectors sync.Map // sorted kinds → *mask.Detector
}

// Config is what a Gate is made of. Every field but Logger, Usage and Labels is required.
type Config struct {
	Gateway     string // this gateway's name in records
	Verifier    *identity.Verifier
	Revocations *identity.Revocations
	Policy      *policy.Engine
	Approvals   *approval.Desk
	Journal     *record.Journal
	Keyring     *mask.Keyring
	// Usage counts for policies that read `usage`; nil: it is never known to
	// them.
	Usage *usage.Ledger
	// Labels keeps what policies put on tasks; nil: requests that put or need a
	// label are denied.
	Labels *labels.Store
	// BestEffort lets requests pass while the journal is unavailable. The
	// default, false, denies them.
	BestEffort bool
	Clock      func() time.Time
	Logger     logrus.FieldLogger
}

// Hello opens a session.
type Hello struct {
	Identity    *identity.Identity
	Protocol    input.Protocol
	Target      input.Target
	Client      input.Client
	Asserted    input.Asserted
	Action      *input.Part // the protocol's action whose verb is "connect"
	Resource    *input.Part
	Detail      *input.Part
	Obligations []string // the obligation types that the proxy can carry out
}

// Session is one agent's verified connection to one target. Its methods may be
// called from many goroutines, as protocols with several requests at once on a
// connection need it; Close comes after all others, and a Turn's methods are for
// one goroutine.
type Session struct {
	scene
	gate   *Gate
	writer *record.Writer

	requests, rows, bytes, denials atomic.Int64
	meters                         meters

	mu      sync.Mutex // guards what follows
	turns   uint64
	account *usage.Account // see spending
	reach   reach
	// Reused from event to event.
	encoded, scratch []byte
	entries          []input.Entry
	inputs           []record.InputEntry

	done  chan struct{}
	ended atomic.Pointer[Denial]
	timer *time.Timer
}

// Request is one request to be decided. The parts are immutable and shared
// between the requests of all sessions; a proxy keeps them with the analysed
// statement.
type Request struct {
	Action     *input.Part
	Resource   *input.Part
	Detail     *input.Part
	Unknown    *input.Part // []input.Unknown
	Complete   bool
	Parameters *input.Part // nil when there are none
	// Role is the role that the target acts as for this request, where it is
	// not the one that the session began with: input.target.role. "unknown"
	// where the proxy cannot tell.
	Role string
	// Writes makes Request wait until the journal has acknowledged the
	// decision: a write is never forwarded before that.
	Writes bool
	// Summary is one line for approvers, e.g. the statement's text.
	Summary string
	// NoWait: where a person would have to be asked, the request is put to them
	// and refused at once with ReasonPending: the proxy's protocol has a way to
	// tell the agent to come back.
	NoWait bool
	// Bind, where it is not nil, is called when a person would have to be asked, or an
	// approval used: the request that it returns, which says more of what the
	// request is about, is decided in its place. So an approval holds for that alone.
	// Its own Bind is not called. A *Denial refuses the request.
	Bind func(ctx context.Context) (*Request, *Denial)
	// BeforeHold, where it is not nil, is called when a person would have to be
	// asked, or an approval used: a *Denial from it refuses the request at
	// once. It may call Peek.
	BeforeHold func(ctx context.Context) *Denial
	// OnHold is called when the request is held, before the wait, and then
	// about every 15 seconds. An error from it (the agent is gone) cancels the
	// hold.
	OnHold func(Held) error
}

// Held describes a request that waits for a person.
type Held struct {
	ApprovalID string
	Wait       time.Duration // how long this call will wait
	ExpiresAt  time.Time
	Reasons    []string // ids
	From       []string // who may approve
	Repeat     bool     // not the first call for this hold
}

// Turn is one allowed request, from its decision to its outcome.
type Turn struct {
	Ruling *policy.Ruling
	// Limit is the ruling's, and from Response on what a policy has said at
	// that stage, too, where it is smaller.
	Limit policy.Limit

	sess    *Session
	n       uint64
	id      string
	doc     *input.Document
	started time.Time
	decided *record.Ack

	shows *input.Part // see Found

	account   *usage.Account // nil: nobody asks what is used
	counted   int64          // 1 when the turn counts as a request
	sensitive int64          // fields of the result under way
}

// Outcome says how a request ended.
type Outcome struct {
	Rows, Bytes int64
	Tag         string // the protocol's own word of success, e.g. "SELECT 3"
	Code        string // the protocol's error code, "" on success
	Message     string // the error, as the agent saw it
	Cancelled   bool
	Limited     bool // cut by a limit of the policy
}

// Denial is why something was refused. It is the only error type that a proxy
// shows to an agent.
type Denial struct {
	Reasons    []string // stable ids, the first is the most important
	Message    string   // one sentence for the agent
	Hint       string   // what to do next, may be empty
	ApprovalID string   // set when the request waits for approval
	DecisionID string   // findable in the recording, "" when none was made
	Fatal      bool     // the session has ended: close the connection
}

// Error implements error.
func (d *Denial) Error() string {
	return fmt.Sprintf("%s (%s)", d.Message, d.Reason())
}

// Reason returns the most important reason id.
func (d *Denial) Reason() string {
	if len(d.Reasons) == 0 {
		return ReasonInternal
	}
	return d.Reasons[0]
}
