package mcp

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/pin"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/mcp/message"
	"github.com/regate-dev/regate/proxies/mcp/stdio"
)

// Config is what a Server needs. Gate, Keyring, Reads and Targets are required.
type Config struct {
	Gate    *engine.Gate
	Keyring *mask.Keyring
	Targets []Target
	// Reads reports whether a policy in force reads input.<path> of this
	// protocol.
	Reads func(path ...string) bool
	// Issuers are URLs of the authorization servers that agents get tokens from.
	Issuers []string
	// Key seals what agents carry for the gateway: 32 bytes or more, the same at
	// all gateways of a cluster.
	Key []byte
	// Tools are what was approved of tools' definitions, Tasks a bucket as of
	// TaskBucket.
	Tools *pin.Store
	Tasks jetstream.KeyValue
	// MaxSessions bounds open sessions; 0 means 10000.
	MaxSessions int
	Logger      logrus.FieldLogger
}

// Target is one server behind the gateway, over streamable HTTP.
type Target struct {
	Name     string
	Labels   map[string]string
	Path     string // where agents find it: "/mcp/files"
	Upstream string // the server's endpoint; "" where Command is given
	// Command is a server that the gateway starts, which speaks over standard
	// input and output; Dir its working folder, and Env what it gets beside PATH,
	// HOME, LANG and TMPDIR.
	Command []string
	Dir     string
	Env     func() ([]string, error)
	TLS     *tls.Config
	Egress  httpproxy.Egress
	// Credential is added to requests; the agent's own token never is.
	Credential *httpproxy.Credential
	// Pinning says what becomes of tools that nobody has approved; "" is
	// PinStrict.
	Pinning Pinning
	// Approved are definitions of tools that the configuration approves, beside
	// those that somebody approves later.
	Approved map[string]*message.Tool
}

// Listener is one address for agents.
type Listener struct {
	Net     net.Listener
	TLS     *tls.Config // nil: plain HTTP, for loopback only
	Targets []string    // empty means all
	// Origins are those of web pages that may use it; none may by default.
	Origins []string
}

// Bounds.
const (
	idleTime      = 10 * time.Minute
	headerTimeout = 10 * time.Second
	bodyTimeout   = 30 * time.Second
	idleConn      = 2 * time.Minute
	maxHeader     = 64 << 10
	maxAnswer     = 32 << 20 // bytes of one message from a server
	maxConns      = 10_000   // of one listener; more wait
)

// sessionKey says which messages are of one session of the gateway.
type sessionKey struct {
	token  [sha256.Size]byte
	target string
	host   string
}

// Server serves agents on any number of listeners.
type Server struct {
	gate     *engine.Gate
	keyring  *mask.Keyring
	reads    func(path ...string) bool
	issuers  []string
	targets  []*target
	sessions *engine.Pool[sessionKey, struct{}]
	detect   *mask.Detector
	seal     *sealer
	log      logrus.FieldLogger

	mu      sync.Mutex
	serving []*http.Server
	closed  bool
}

// target is a Target at work.
type target struct {
	Target
	round http.RoundTripper
	close func()
	pins  *pins
	tasks *tasks
}

// owner is whose session, request or task of a server it is: what somebody else
// has heard of is none of theirs.
type owner struct {
	Subject string `json:"subject"`
	Issuer  string `json:"issuer"`
	Actor   string `json:"actor,omitempty"`
}

// New returns a server.
func New(c Config) (*Server, error) {
	if c.Gate == nil || c.Keyring == nil || c.Reads == nil || c.Tools == nil || c.Tasks == nil {
		return nil, errors.New("mcp: a part of the configuration is missing")
	}
	if c.Logger == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		c.Logger = l
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = 10000
	}
	detect, err := mask.NewDetector(mask.Kinds())
	if err != nil {
		return nil, err
	}
	seal, err := newSealer(c.Key)
	if err != nil {
		return nil, err
	}
	s := &Server{
		seal: seal, gate: c.Gate, keyring: c.Keyring, reads: c.Reads, issuers: c.Issuers, log: c.Logger, detect: detect,
		sessions: engine.NewPool[sessionKey, struct{}](c.MaxSessions, idleTime),
	}
	for _, t := range c.Targets {
		made, err := newTarget(t, c)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", t.Name, err)
		}
		s.targets = append(s.targets, made)
	}
	return s, nil
}

func newTarget(t Target, c Config) (*target, error) {
	if t.Pinning == "" {
		t.Pinning = PinStrict
	}
	made := &target{Target: t, pins: newPins(t, c.Tools), tasks: &tasks{kv: c.Tasks, server: t.Name}}
	if len(t.Command) > 0 {
		made.Upstream = "http://stdio.invalid/"
		round := stdio.New(stdio.Options{Command: t.Command, Dir: t.Dir, Env: t.Env, Log: c.Logger.WithField("target", t.Name)})
		made.round, made.close = round, round.Close
		return made, nil
	}
	u, err := url.Parse(t.Upstream)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the upstream is no URL")
	}
	round := httpproxy.Transport(t.TLS, t.Egress)
	made.round, made.close = round, round.CloseIdleConnections
	if t.Credential != nil {
		return made, t.Credential.Prepare(round)
	}
	return made, nil
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("mcp: server closed")

// Serve accepts agents on l until the listener fails or Shutdown is called.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	var behind []*target
	for _, t := range s.targets {
		if len(l.Targets) == 0 || slices.Contains(l.Targets, t.Name) {
			behind = append(behind, t)
		}
	}
	server := &http.Server{
		Handler: s.handler(behind, l), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleConn, MaxHeaderBytes: maxHeader,
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.serving = append(s.serving, server)
	s.mu.Unlock()
	ln := netutil.LimitListener(l.Net, maxConns)
	if l.TLS != nil {
		conf := l.TLS.Clone()
		conf.NextProtos = []string{"h2", "http/1.1"}
		ln = tls.NewListener(ln, conf)
	}
	err := server.Serve(ln)
	if errors.Is(err, http.ErrServerClosed) {
		return ErrClosed
	}
	return err
}

// Shutdown lets requests under way end, then ends their sessions. When ctx ends
// it cuts what is left.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	serving := slices.Clone(s.serving)
	s.mu.Unlock()
	var wait sync.WaitGroup
	for _, server := range serving {
		wait.Go(func() {
			if server.Shutdown(ctx) != nil {
				_ = server.Close()
			}
		})
	}
	wait.Wait()
	for _, t := range s.targets {
		t.close()
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	s.sessions.Close(closing)
}

// wellKnown is where RFC 9728 has the metadata of a protected resource.
const wellKnown = "/.well-known/oauth-protected-resource"

func (s *Server) handler(behind []*target, l Listener) http.Handler {
	find := func(path string) *target {
		for _, t := range behind {
			if path == t.Path {
				return t
			}
		}
		return nil
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d := checkOrigin(r, l); d != nil {
			httpproxy.Deny(w, d)
			return
		}
		scheme := "http"
		if l.TLS != nil {
			scheme = "https"
		}
		if path, ok := strings.CutPrefix(r.URL.Path, wellKnown); ok && r.Method == http.MethodGet {
			if t := find(path); t != nil {
				s.metadata(w, scheme+"://"+r.Host+t.Path)
				return
			}
		}
		t := find(r.URL.Path)
		if t == nil || r.URL.RawQuery != "" || r.URL.RawPath != "" {
			httpproxy.Deny(w, &engine.Denial{Reasons: []string{httpproxy.ReasonTarget}, Message: "there is no server at this path", Hint: "Ask the operator for its address."})
			return
		}
		x := &exchange{s: s, t: t, w: w, r: r, secure: l.TLS != nil, resource: scheme + "://" + r.Host + wellKnown + t.Path}
		x.serve()
	})
}

// checkOrigin refuses what a web page sends whose name resolves to the gateway:
// its browser says the page's origin, and the page's own host.
func checkOrigin(r *http.Request, l Listener) *engine.Denial {
	refuse := func(what string) *engine.Denial {
		return &engine.Denial{Reasons: []string{"mcp/foreign-origin"}, Message: what, Hint: "Use a client that is no web page."}
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if addr, ok := l.Net.Addr().(*net.TCPAddr); ok && addr.IP.IsLoopback() {
		if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return refuse("the Host header does not name this machine")
		}
	}
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(l.Origins, origin) {
		return nil
	}
	if u, err := url.Parse(origin); err == nil && u.Host == r.Host {
		return nil
	}
	return refuse("the request comes from a web page of another origin")
}

func (s *Server) metadata(w http.ResponseWriter, resource string) {
	issuers := s.issuers
	if issuers == nil {
		issuers = []string{}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{
		"resource": resource, "authorization_servers": issuers, "bearer_methods_supported": []string{"header"},
	})
}

func ownerOf(subject input.Principal, actor *input.Principal) owner {
	o := owner{Subject: subject.ID, Issuer: subject.Issuer}
	if actor != nil {
		o.Actor = actor.Issuer + " " + actor.ID
	}
	return o
}
