package httpproxy

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
	"golang.org/x/net/netutil"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
)

// idleTime ends a session that nobody uses.
const idleTime = 10 * time.Minute

// sessionKey says which requests are of one session.
type sessionKey struct {
	token    [sha256.Size]byte
	target   string
	host     string // the agent's address without its port
	asserted input.Asserted
}

// Server serves agents on any number of listeners.
type Server struct {
	gate     *engine.Gate
	keyring  *mask.Keyring
	reads    func(path ...string) bool
	targets  []*target
	forward  *target
	signer   *Authority
	sessions *engine.Pool[sessionKey, struct{}]
	own      *addresses
	log      logrus.FieldLogger

	mu      sync.Mutex
	serving []*http.Server
	inner   *front // of what comes through tunnels
	closed  bool
}

// New returns a server. It connects to nothing before an agent asks.
func New(c Config) (*Server, error) {
	if c.Gate == nil || c.Keyring == nil || c.Reads == nil {
		return nil, errors.New("http: a part of the configuration is missing")
	}
	if c.Logger == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		c.Logger = l
	}
	if c.MaxSessions == 0 {
		c.MaxSessions = 10000
	}
	s := &Server{gate: c.Gate, keyring: c.Keyring, reads: c.Reads, sessions: engine.NewPool[sessionKey, struct{}](c.MaxSessions, idleTime), own: &addresses{}, log: c.Logger}
	for _, t := range c.Targets {
		made, err := newTarget(t, s.own)
		if err == nil && t.Credential != nil {
			err = t.Credential.prepare(made.out.round)
		}
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", t.Name, err)
		}
		s.targets = append(s.targets, made)
	}
	if c.Forward != nil {
		made, err := newForward(*c.Forward, s.own)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", c.Forward.Name, err)
		}
		for _, cred := range c.Forward.Credentials {
			if err := cred.prepare(made.out.round); err != nil {
				return nil, fmt.Errorf("target %q: %w", c.Forward.Name, err)
			}
		}
		s.forward, s.signer = made, c.Forward.Authority
	}
	var err error
	// What comes through tunnels is for the requests of agents, not for the
	// listener that they came by.
	s.inner, err = s.front(context.Background(), s.tunnelHandler())
	return s, err
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("http: server closed")

// Serve accepts agents on l until the listener fails or Shutdown is called.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	s.own.add(l.Net.Addr())
	var handler http.Handler
	if l.Forward {
		if s.forward == nil {
			return errors.New("http: a listener of the forward proxy, and no forward proxy")
		}
		handler = s.proxyHandler(l.TLS != nil)
	} else {
		behind := []*target{}
		for _, t := range s.targets {
			if len(l.Targets) == 0 || slices.Contains(l.Targets, t.name) {
				behind = append(behind, t)
			}
		}
		handler = s.reverseHandler(behind, l.TLS != nil)
	}
	front, err := s.front(ctx, handler)
	if err != nil {
		return err
	}
	ln := netutil.LimitListener(l.Net, maxConnections)
	if l.TLS == nil {
		return front.accept(ln, func(c net.Conn) { front.plain.give(&guardedConn{Conn: c}) })
	}
	conf := l.TLS.Clone()
	conf.NextProtos = []string{"http/1.1"}
	if !l.Forward {
		conf.NextProtos = []string{"h2", "http/1.1"}
	}
	return front.accept(ln, func(c net.Conn) { front.handshake(ctx, tls.Server(c, conf)) })
}

func (s *Server) httpServer(ctx context.Context, handler http.Handler, h2 bool) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!h2)
	protocols.SetHTTP2(h2)
	return &http.Server{
		Handler: s.recovering(handler), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleConnection, MaxHeaderBytes: maxHeader,
		Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		DisableGeneralOptionsHandler: true,
		BaseContext:                  func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			switch c := c.(type) {
			case *guardedConn:
				ctx = context.WithValue(ctx, guardKey{}, c)
				if inner, ok := c.Conn.(*tls.Conn); ok {
					ctx = withTunnel(ctx, inner)
				}
			case *tls.Conn:
				ctx = withTunnel(ctx, c)
			}
			return ctx
		},
		ErrorLog: quiet(s.log),
	}
}

// recovering makes of a panic a refusal: a defect serves nobody.
func (s *Server) recovering(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
				s.log.Errorf("panic while serving a request: %v", p)
			}
			panic(http.ErrAbortHandler)
		}()
		h.ServeHTTP(w, r)
	})
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
	s.inner.stop()
	for _, t := range append(slices.Clone(s.targets), s.forward) {
		if t != nil {
			for _, round := range t.outbounds() {
				round.CloseIdleConnections()
			}
		}
	}
	// What was cut still writes its end.
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	s.sessions.Close(closing)
}

// quiet sends what net/http complains of to the log's lowest level.
func quiet(l logrus.FieldLogger) *log.Logger {
	return log.New(writerFunc(func(p []byte) (int, error) {
		l.Debug(strings.TrimSpace(string(p)))
		return len(p), nil
	}), "", 0)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
