package postgres

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/handshake"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// Config is what a Server needs. Every field but Analyze and Logger is
// required.
type Config struct {
	Gate    *engine.Gate
	Keyring *mask.Keyring
	Targets []Target
	// Reads reports whether a policy in force reads input.<path> of this
	// protocol: then it is worth building.
	Reads func(path ...string) bool
	// MaxMessage is the largest message that an agent may send, in bytes;
	// 0 means 16 MiB.
	MaxMessage int
	// MaxAnswer is the largest message of a target, in bytes; 0 means 256 MiB.
	MaxAnswer int
	Analyze   analyze.Options
	Logger    logrus.FieldLogger
}

// Server serves agents on any number of listeners.
type Server struct {
	gate       *engine.Gate
	keyring    *mask.Keyring
	targets    []*target
	analyzer   *analyze.Analyzer
	reads      func(path ...string) bool
	maxMessage int
	maxAnswer  int
	log        logrus.FieldLogger
	buffers    sync.Pool

	mu       sync.Mutex
	keys     map[uint32]*cancelKey
	nextPID  uint32
	conns    map[net.Conn]struct{}
	sessions sync.WaitGroup
	closing  bool
}

// cancelKey is what BackendKeyData gave to an agent. The target's own key
// never leaves the gateway.
type cancelKey struct {
	secret  []byte
	session *session
}

// New returns a server. It connects to no target before an agent does.
func New(c Config) (*Server, error) {
	if c.Gate == nil || c.Keyring == nil || c.Reads == nil {
		return nil, errors.New("postgres: a part of the configuration is missing")
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 16 << 20
	}
	if c.MaxAnswer == 0 {
		c.MaxAnswer = 256 << 20
	}
	if c.Logger == nil {
		l := logrus.New()
		l.SetLevel(logrus.PanicLevel)
		c.Logger = l
	}
	s := &Server{
		gate: c.Gate, keyring: c.Keyring, analyzer: analyze.New(c.Analyze), reads: c.Reads,
		maxMessage: c.MaxMessage, maxAnswer: c.MaxAnswer, log: c.Logger,
		keys: map[uint32]*cancelKey{}, conns: map[net.Conn]struct{}{},
	}
	for _, t := range c.Targets {
		made, err := newTarget(t)
		if err != nil {
			return nil, fmt.Errorf("target %q: %w", t.Name, err)
		}
		s.targets = append(s.targets, made)
	}
	return s, nil
}

// Listener is one address for agents.
type Listener struct {
	Net            net.Listener
	Front          *handshake.Front
	Targets        []string // names of the targets behind it; empty means all
	MaxConnections int      // open connections at once; 0 means 1000
}

// ErrClosed is returned by Serve after Shutdown.
var ErrClosed = errors.New("postgres: server closed")

// Serve accepts agents on l until the listener fails or Shutdown is called.
func (s *Server) Serve(ctx context.Context, l Listener) error {
	limit := l.MaxConnections
	if limit <= 0 {
		limit = 1000
	}
	slots := make(chan struct{}, limit)
	pause := 5 * time.Millisecond
	for {
		conn, err := l.Net.Accept()
		if err != nil {
			s.mu.Lock()
			closing := s.closing
			s.mu.Unlock()
			if closing || errors.Is(err, net.ErrClosed) {
				return ErrClosed
			}
			// Out of file descriptors, say: it passes.
			s.log.WithError(err).Error("accept")
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pause):
			}
			pause = min(2*pause, time.Second)
			continue
		}
		pause = 5 * time.Millisecond
		conn = wire.Socket(conn)
		if !s.track(conn) {
			_ = conn.Close()
			return ErrClosed
		}
		go func() {
			defer s.untrack(conn)
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				s.connection(ctx, conn, l, false)
			default:
				s.connection(ctx, conn, l, true)
			}
		}()
	}
}

func (s *Server) track(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.conns[conn] = struct{}{}
	s.sessions.Add(1)
	return true
}

func (s *Server) untrack(conn net.Conn) {
	_ = conn.Close()
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	s.sessions.Done()
}

// connection serves one accepted connection. full means that the listener has
// no room: cancel requests are still heard.
func (s *Server) connection(ctx context.Context, conn net.Conn, l Listener, full bool) {
	log := s.log.WithField("client", conn.RemoteAddr().String())
	defer func() {
		if p := recover(); p != nil {
			log.Errorf("panic while serving: %v", p)
		}
	}()
	client, err := l.Front.Accept(ctx, conn)
	if err != nil {
		log.WithError(err).Debug("handshake refused")
		return
	}
	if client.Cancel != nil {
		s.cancel(client.Cancel.PID, client.Cancel.Secret)
		_ = client.Conn.Close()
		return
	}
	refuse := func(code, reason, message, hint string) {
		client.Refuse(&handshake.Error{Code: code, Reason: reason, Message: message, Hint: hint})
	}
	if full {
		refuse("53300", ReasonTooMany, "the gateway has no room for another connection", "try again later")
		return
	}
	t := s.route(l, client)
	if t == nil {
		refuse("3D000", ReasonNoTarget, fmt.Sprintf("database %q does not exist behind this gateway", client.Database), "Use one of the configured database names.")
		return
	}
	log = log.WithField("target", t.Name)
	token, err := client.Token(ctx)
	if err != nil {
		log.WithError(err).Debug("no token")
		return
	}
	s.open(ctx, client, t, token, log)
}

func (s *Server) cancel(pid uint32, secret []byte) {
	s.mu.Lock()
	key := s.keys[pid]
	s.mu.Unlock()
	if key != nil && subtle.ConstantTimeCompare(key.secret, secret) == 1 {
		key.session.cancel()
	}
}

// register gives a session its cancel key.
func (s *Server) register(ss *session, secretSize int) (pid uint32, secret []byte, err error) {
	secret = make([]byte, secretSize)
	if _, err := rand.Read(secret); err != nil {
		return 0, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.nextPID++
		pid = s.nextPID & 0x7fffffff
		if _, taken := s.keys[pid]; pid != 0 && !taken {
			break
		}
	}
	s.keys[pid] = &cancelKey{secret: secret, session: ss}
	return pid, secret, nil
}

func (s *Server) unregister(pid uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys, pid)
}

// Shutdown waits for sessions to end by themselves until ctx is done, then
// cuts them. The caller closes the listeners first and ends the gate's
// sessions (engine.Gate.Close) to have idle ones leave at once.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closing = true
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.sessions.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.mu.Lock()
		for conn := range s.conns {
			_ = conn.Close()
		}
		s.mu.Unlock()
		<-done
	}
	for _, t := range s.targets {
		t.close()
	}
}

func (s *Server) readsAST() bool      { return s.reads("sql", "ast") }
func (s *Server) readsResponse() bool { return s.reads("response") }

// buffer returns an empty buffer for output; giveBack takes it again.
func (s *Server) buffer() []byte {
	if b, ok := s.buffers.Get().(*[]byte); ok {
		return (*b)[:0]
	}
	return make([]byte, 0, releaseSize+releaseSize/4)
}

func (s *Server) giveBack(b []byte) {
	if cap(b) >= releaseSize && cap(b) <= 4*releaseSize {
		s.buffers.Put(&b)
	}
}

func newFailName() (string, error) {
	var nonce [8]byte
	if _, err := rand.Read(nonce[:]); err != nil {
		return "", err
	}
	return "regate_denied_" + hex.EncodeToString(nonce[:]), nil
}
