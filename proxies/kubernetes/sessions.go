package kubernetes

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
)

// An agent's requests come over many connections: each kubectl has its own.
// One session holds those of one token, from one address, to one cluster, until
// none has come for idleTime.

// idleTime ends a session that nobody uses.
const idleTime = 5 * time.Minute

// sessionKey says which requests are of one session.
type sessionKey struct {
	token    [sha256.Size]byte
	target   string
	host     string // the agent's address without its port
	asserted input.Asserted
}

// sessions are the open ones.
type sessions struct {
	most int

	mu     sync.Mutex
	live   map[sessionKey]*session
	closed bool
	gone   sync.WaitGroup
}

// session is an engine.Session and who uses it.
type session struct {
	*engine.Session

	of    *sessions
	key   sessionKey
	spdy  fallbacks
	ready chan struct{} // closed when Session or err is set
	err   error

	// Guarded by sessions.mu.
	users int
	ended bool
	timer *time.Timer
}

func newSessions(most int) *sessions {
	return &sessions{most: most, live: map[sessionKey]*session{}}
}

// acquire returns the open session of key, or what open makes. The caller
// releases it. The error is a *engine.Denial.
func (s *sessions) acquire(ctx context.Context, key sessionKey, open func() (*engine.Session, error)) (*session, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, &engine.Denial{Reasons: []string{engine.ReasonDraining}, Message: "the gateway is shutting down", Hint: "Connect again.", Fatal: true}
	}
	got := s.live[key]
	if got != nil {
		got.users++
		if got.timer != nil {
			got.timer.Stop()
		}
		s.mu.Unlock()
		select {
		case <-got.ready:
		case <-ctx.Done():
			s.release(got)
			return nil, &engine.Denial{Reasons: []string{engine.ReasonCancelled}, Message: "the request was cancelled"}
		}
		if got.err != nil {
			s.release(got)
			return nil, got.err
		}
		return got, nil
	}
	if len(s.live) >= s.most {
		s.mu.Unlock()
		return nil, &engine.Denial{Reasons: []string{ReasonTooMany}, Message: "the gateway has no room for another session", Hint: "Try again later."}
	}
	got = &session{of: s, key: key, ready: make(chan struct{}), users: 1}
	s.live[key] = got
	s.gone.Add(1)
	s.mu.Unlock()

	got.Session, got.err = open()
	close(got.ready)
	if got.err != nil {
		s.release(got)
		return nil, got.err
	}
	done := got.Session.Done()
	go func() {
		<-done
		s.forget(got)
	}()
	return got, nil
}

// release says that one user has gone.
func (s *sessions) release(got *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	got.users--
	if got.users > 0 {
		return
	}
	switch {
	case got.err != nil:
		s.remove(got)
		s.gone.Done()
	case s.live[got.key] != got || s.closed:
		s.end(got, "ended")
	case got.timer == nil:
		got.timer = time.AfterFunc(idleTime, func() { s.idle(got) })
	default:
		got.timer.Reset(idleTime)
	}
}

// remove takes a session out of the live ones: the next request opens another.
func (s *sessions) remove(got *session) {
	if s.live[got.key] == got {
		delete(s.live, got.key)
	}
}

// end closes a session that nobody uses. It may be called with mu held: closing
// a recording waits for nothing.
func (s *sessions) end(got *session, reason string) {
	s.remove(got)
	if !got.ended {
		got.ended = true
		got.Session.Close(reason)
		s.gone.Done()
	}
}

func (s *sessions) idle(got *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if got.users == 0 {
		s.end(got, "idle")
	}
}

// forget ends a session whose token is no longer good, as soon as nobody uses it.
func (s *sessions) forget(got *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove(got)
	if got.users == 0 {
		s.end(got, "ended")
	}
}

// shutdown ends idle sessions and waits until the others have ended, or ctx.
func (s *sessions) shutdown(ctx context.Context) {
	s.mu.Lock()
	s.closed = true
	for _, got := range s.live {
		if got.users == 0 {
			s.end(got, "shutdown")
		}
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.gone.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
