package console

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/pin"
)

// Config is what a Console is made of.
type Config struct {
	Verifier    *identity.Verifier
	Revocations *identity.Revocations
	Approvals   *approval.Desk
	Roles       Roles
	// Tools are the tools of MCP servers; nil: there are none.
	Tools *pin.Store

	// Dependencies are what /readyz reports: all must be well.
	Dependencies []Dependency
	// Status is the body of GET /api/v1/status: any value that marshals to a
	// JSON object.
	Status func() any
	// Sessions is the list of GET /api/v1/sessions.
	Sessions func() any
	// Explain says why a recorded decision is what it is: any value that marshals
	// to a JSON object. stage may be "". Nil: this gateway has no recordings.
	Explain func(ctx context.Context, id, stage string) (any, error)
	// Audit records a change and returns when it is recorded.
	Audit func(context.Context, Event) error
	// Metrics is what /metrics shows.
	Metrics prometheus.Gatherer
	// Details shows the text of a dependency's error on /readyz to everybody,
	// and not only to holders of a role. For listeners on loopback.
	Details bool

	Clock  func() time.Time
	Logger logrus.FieldLogger
}

// Dependency is something without which the gateway denies everything.
type Dependency struct {
	Name  string
	Check func(context.Context) error
}

// Event is a change made through the API, for the audit trail.
type Event struct {
	Time    time.Time
	Action  string // approval.approve, approval.deny, revocation.add, revocation.remove, tool.approve, tool.withdraw
	By      string // subject
	Issuer  string
	Target  string
	Outcome string // "requested", "ok" or a reason id
	Detail  map[string]string
}

// Outcomes of an Event that are no reason ids.
const (
	OutcomeRequested = "requested"
	OutcomeOK        = "ok"
)

// Console is the admin API. It is an http.Handler.
type Console struct {
	cfg     Config
	log     logrus.FieldLogger
	now     func() time.Time
	handler http.Handler

	pages      http.Handler  // of people, nil for none
	explaining chan struct{} // one at a time
}

// New checks cfg and returns the API.
func New(cfg Config) (*Console, error) {
	switch {
	case cfg.Verifier == nil, cfg.Revocations == nil, cfg.Approvals == nil, cfg.Audit == nil,
		cfg.Metrics == nil, cfg.Status == nil, cfg.Sessions == nil:
		return nil, errors.New("console: a part of the configuration is missing")
	}
	c := &Console{cfg: cfg, log: cfg.Logger, now: cfg.Clock, explaining: make(chan struct{}, 1)}
	if c.now == nil {
		c.now = time.Now
	}
	if c.log == nil {
		c.log = discard()
	}
	c.handler = c.routes()
	return c, nil
}

// Mount gives every address that is not the API's to the pages for people,
// which answer for themselves: headers, limits and identity. It comes before the
// first request.
func (c *Console) Mount(pages http.Handler) { c.pages = pages }

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }
