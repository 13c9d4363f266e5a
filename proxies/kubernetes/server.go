package kubernetes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
)

// Config is what a Server needs. Every field but Logger and the bounds is
// required.
type Config struct {
	Gate    *engine.Gate
	Keyring *mask.Keyring
	Targets []Target
	// Reads reports whether a policy in force reads input.<path> of this
	// protocol.
	Reads func(path ...string) bool
	// MaxSessions bounds open sessions; 0 means 10000.
	MaxSessions int
	Logger      logrus.FieldLogger
}

// Server serves agents on any number of listeners.
type Server struct {
	gate     *engine.Gate
	keyring  *mask.Keyring
	reads    func(path ...string) bool
	targets  map[string]*target
	sessions *engine.Pool[sessionKey, fallbacks]
	log      logrus.FieldLogger
	buffers  sync.Pool

	mu      sync.Mutex
	serving []*http.Server
	closed  bool
}

// New returns a server. It connects to no cluster before an agent does.
func New(c Config) (*Server, error) {
	if c.Gate == nil || c.Keyring == nil || c.Reads == nil {
		return nil, errors.New("kubernetes: a part of the configuration is missing")
	}
	if c.Logger == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		c.Logger = l
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = 10000
	}
	s := &Server{
		gate: c.Gate, keyring: c.Keyring, reads: c.Reads, targets: map[string]*target{},
		sessions: engine.NewPool[sessionKey, fallbacks](c.MaxSessions, idleTime), log: c.Logger,
		buffers: sync.Pool{New: func() any { b := make([]byte, chunk); return &b }},
	}
	for _, t := range c.Targets {
		made, err := newTarget(t)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", t.Name, err)
		}
		s.targets[t.Name] = made
	}
	return s, nil
}

// Listener is one address for agents.
type Listener struct {
	Net     net.Listener
	TLS     *tls.Config // nil: plain HTTP, for loopback only
	Targets []string    // names of the targets behind it; empty means all
}

// What one connection may take.
const (
	// headerTimeout bounds the time to a request's headers, idleConnection the
	// time between two requests. Client-go keeps connections for 90 s.
	headerTimeout  = 10 * time.Second
	idleConnection = 2 * time.Minute
	// maxHeader is the size of all headers, in bytes: a token is 16 KiB at most,
	// the request line with an exec's command may be long.
	maxHeader = 256 << 10
	// maxStreams are the requests at once on an HTTP/2 connection: as the API
	// server allows.
	maxStreams = 250
)

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("kubernetes: server closed")

// Serve accepts agents on l until the listener fails or Shutdown is called.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	behind := []*target{}
	for name, t := range s.targets {
		if len(l.Targets) == 0 || slices.Contains(l.Targets, name) {
			behind = append(behind, t)
		}
	}
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(l.TLS != nil)
	server := &http.Server{
		Handler:           s.handler(behind, l.TLS != nil),
		ReadHeaderTimeout: headerTimeout, IdleTimeout: idleConnection, MaxHeaderBytes: maxHeader,
		Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    quiet(s.log),
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return ErrClosed
	}
	s.serving = append(s.serving, server)
	s.mu.Unlock()
	ln := l.Net
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
	// What was cut still writes its end.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	s.sessions.Close(closing)
}

// clusterPrefix leads to a cluster by its name.
const clusterPrefix = "/clusters/"

// route finds the cluster that a request is for, and its target without what
// names the cluster.
func route(behind []*target, host, requestTarget string) (*target, string) {
	if rest, ok := strings.CutPrefix(requestTarget, clusterPrefix); ok {
		name, path, _ := strings.Cut(rest, "/")
		for _, t := range behind {
			if t.Name == name {
				return t, "/" + path
			}
		}
		return nil, ""
	}
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, t := range behind {
		if slices.Contains(t.Hosts, host) {
			return t, requestTarget
		}
	}
	if len(behind) == 1 {
		return behind[0], requestTarget
	}
	return nil, ""
}
