package web

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/record"
)

// Config is what the pages are made of.
type Config struct {
	API       *console.Console
	Approvals *approval.Desk
	SignIn    SignIn
	// URL is where browsers find the console, without a slash at its end. With
	// https cookies are sent over nothing else.
	URL string
	// Key seals cookies: 32 bytes or more.
	Key []byte
	// Session is how long a sign-in lasts.
	Session time.Duration
	// Gateway is its name.
	Gateway string

	// Recordings are what this gateway archives; nil: nothing.
	Recordings *Recordings
	Live       func() []Live
	Policy     func() policy.Status
	Status     func() Status

	Clock  func() time.Time
	Logger logrus.FieldLogger
}

// Recordings are the recorded sessions.
type Recordings struct {
	Index   *record.Index
	Archive *record.Archive
	Key     ed25519.PublicKey
	// Tables decodes what an agent was shown, by the format of the chunks.
	Tables map[string]func(data []byte) ([]Table, error)
	// Terminal makes the asciicast of a turn whose chunks have one of
	// TerminalFormats.
	Terminal Terminal
}

// Terminal turns recorded streams into an asciicast.
type Terminal struct {
	Formats []string
	// Cast starts a cast; each chunk is added in order.
	Cast func(w io.Writer) Cast
}

// Cast is one asciicast that is being written.
type Cast interface {
	Add(at time.Duration, format string, data []byte) error
	Close() error
}

// Live is one session that goes on.
type Live struct {
	ID, Subject, Actor, Issuer, Target, Protocol, Address string
	StartedAt, ExpiresAt                                  time.Time
	Requests, Denials, Rows                               int64
}

// Table is a result as the agent was shown it. A nil cell is NULL.
type Table struct {
	Columns []string
	Rows    [][]*string
	Text    string // what is no table: COPY data
	Tag     string // such as "SELECT 2"
	Error   string
	Notices []string
}

// Status is the gateway for people.
type Status struct {
	Version   string
	StartedAt time.Time
	Mode      string // of recording
	Journal   string // why it refuses; empty: well
	Recorder  string // why it waits; empty: well
	Listeners []Listener
	Targets   []Target
}

// Listener is where agents come in.
type Listener struct {
	Protocol, Address string
	TLS               bool
	Targets           []string
}

// Target is what agents work on.
type Target struct {
	Name, Protocol string
	Labels         map[string]string
}

// Pages are the console. It is an http.Handler.
type Pages struct {
	cfg     Config
	log     logrus.FieldLogger
	now     func() time.Time
	secure  bool
	seal    *sealer
	issuer  provider
	assets  assets
	views   views
	hub     *hub
	slots   chan struct{} // requests under way
	readers chan struct{} // recordings that are being read
	handler http.Handler
}

const (
	// maxRequests bounds requests in progress, streams of events apart.
	maxRequests = 64
	// maxReaders bounds recordings that are read at once: each holds what it shows.
	maxReaders = 2
)

// New checks cfg and returns the pages.
func New(cfg Config) (*Pages, error) {
	switch {
	case cfg.API == nil, cfg.Approvals == nil, cfg.Live == nil, cfg.Policy == nil, cfg.Status == nil, cfg.Session <= 0:
		return nil, errors.New("console: a part of the configuration is missing")
	case len(cfg.Key) < 32:
		return nil, errors.New("console: the key of cookies is shorter than 32 bytes")
	}
	base, err := url.Parse(cfg.URL)
	if err != nil || base.Host == "" || base.Path != "" || (base.Scheme != "http" && base.Scheme != "https") {
		return nil, fmt.Errorf("console: %q is not an address of http or https without a path", cfg.URL)
	}
	p := &Pages{
		cfg: cfg, log: cfg.Logger, now: cfg.Clock, secure: base.Scheme == "https",
		slots: make(chan struct{}, maxRequests), readers: make(chan struct{}, maxReaders),
	}
	if p.now == nil {
		p.now = time.Now
	}
	if p.log == nil {
		l := logrus.New()
		l.SetOutput(io.Discard)
		p.log = l
	}
	if p.seal, err = newSealer(cfg.Key, p.secure); err != nil {
		return nil, err
	}
	if p.assets, err = loadAssets(); err != nil {
		return nil, err
	}
	if p.views, err = p.parseViews(); err != nil {
		return nil, err
	}
	p.issuer.cfg = cfg.SignIn
	p.hub = newHub(p)
	p.handler = p.routes()
	return p, nil
}

// ServeHTTP implements http.Handler.
func (p *Pages) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.handler.ServeHTTP(w, r) }

// Close ends the streams of events.
func (p *Pages) Close() { p.hub.close() }

// view answers a signed-in person's request. Errors are best *console.Problem.
type view func(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error

func (p *Pages) routes() http.Handler {
	mux := http.NewServeMux()
	page := func(pattern string, h view) { mux.Handle(pattern, p.signedIn(h)) }
	page("GET /{$}", p.home)
	page("GET /activity", p.activity)
	page("GET /events", p.events)
	page("GET /approvals", p.approvals)
	page("GET /approvals/{id}", p.approval)
	page("POST /approvals/{id}/approve", p.approve)
	page("POST /approvals/{id}/deny", p.deny)
	page("GET /sessions", p.sessions)
	page("GET /sessions/{id}", p.session)
	page("GET /sessions/{id}/terminal/{turn}", p.terminal)
	page("GET /decisions", p.decisions)
	page("GET /decisions/{id}", p.decision)
	page("GET /policies", p.policies)
	page("GET /targets", p.targets)
	page("POST /revocations", p.revoke)
	page("POST /revocations/{key}/restore", p.restore)
	page("GET /health", p.health)
	page("POST /signout", p.signOut)
	mux.HandleFunc("GET /signin", p.signInPage)
	mux.HandleFunc("GET /signin/start", p.signInStart)
	mux.HandleFunc("GET /signin/callback", p.signInCallback)
	mux.Handle("GET /static/", p.assets)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		p.fail(w, r, nil, notFound("There is nothing at this address."))
	})

	// A browser says where a request comes from: one of another site that would
	// change something is refused.
	guard := http.NewCrossOriginProtection()
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.fail(w, r, nil, &console.Problem{
			Status: http.StatusForbidden, Reason: console.ReasonForbidden, Title: "Forbidden", Detail: "This came from another site.", Hint: "Open the console itself.",
		})
	}))
	guarded := guard.Handler(mux)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.headers(w.Header())
		if r.URL.Path != "/events" {
			select {
			case p.slots <- struct{}{}:
				defer func() { <-p.slots }()
			default:
				p.fail(w, r, nil, &console.Problem{
					Status: http.StatusServiceUnavailable, Reason: console.ReasonBusy, Title: "Busy", Detail: "Too many requests at once.", Hint: "Try again.",
				})
				return
			}
		}
		guarded.ServeHTTP(w, r)
	})
}

// home is the page that fits a person's role.
func (p *Pages) home(_ context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	to := "/approvals"
	if v.May.Activity {
		to = "/activity"
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func notFound(detail string) *console.Problem {
	return &console.Problem{Status: http.StatusNotFound, Reason: console.ReasonNotFound, Title: "Not found", Detail: detail}
}

func forbidden(role string) *console.Problem {
	return &console.Problem{
		Status: http.StatusForbidden, Reason: console.ReasonForbidden, Title: "Forbidden",
		Detail: "This page needs the role " + role + ".", Hint: "Ask the gateway's operator.",
	}
}
