package engine

import (
	"context"
	"sync"
	"time"
)

// Pool keeps the sessions of a protocol whose requests come over many
// connections, as those over HTTP do: the requests of one key (one token, one
// target, one client) are of one session, until none has come for a while.
type Pool[K comparable, V any] struct {
	most int
	idle time.Duration

	mu     sync.Mutex
	live   map[K]*Pooled[K, V]
	closed bool
	open   sync.WaitGroup
}

// Pooled is a session of a Pool, and who uses it.
type Pooled[K comparable, V any] struct {
	*Session
	// Own is what the proxy keeps with the session: zero at first, and for the
	// proxy to guard.
	Own V

	pool  *Pool[K, V]
	key   K
	ready chan struct{} // closed when Session or err is set
	err   error

	// Guarded by the pool's mu.
	users int
	timer *time.Timer
	ended bool
}

// NewPool returns a pool of at most most sessions, which end when nobody has
// used them for idle.
func NewPool[K comparable, V any](most int, idle time.Duration) *Pool[K, V] {
	return &Pool[K, V]{most: most, idle: idle, live: map[K]*Pooled[K, V]{}}
}

// Acquire returns the open session of key, or what open makes. Requests of one
// key that come while it is opened wait for it. The caller calls Release. The
// error is a *Denial.
func (p *Pool[K, V]) Acquire(ctx context.Context, key K, open func() (*Session, error)) (*Pooled[K, V], error) {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, &Denial{Reasons: []string{ReasonDraining}, Message: "the gateway is shutting down", Hint: "Connect again.", Fatal: true}
	}
	if got := p.live[key]; got != nil {
		got.users++
		if got.timer != nil {
			got.timer.Stop()
		}
		p.mu.Unlock()
		select {
		case <-got.ready:
		case <-ctx.Done():
			got.Release()
			return nil, &Denial{Reasons: []string{ReasonCancelled}, Message: "the request was cancelled"}
		}
		if got.err != nil {
			got.Release()
			return nil, got.err
		}
		return got, nil
	}
	if len(p.live) >= p.most {
		p.mu.Unlock()
		return nil, &Denial{Reasons: []string{ReasonTooManySessions}, Message: "the gateway has no room for another session", Hint: "Try again later."}
	}
	got := &Pooled[K, V]{pool: p, key: key, ready: make(chan struct{}), users: 1}
	p.live[key] = got
	p.open.Add(1)
	p.mu.Unlock()
	func() {
		defer func() {
			close(got.ready)
			if v := recover(); v != nil {
				got.Release()
				panic(v)
			}
		}()
		// Should open panic, those who wait are refused.
		got.err = &Denial{Reasons: []string{ReasonInternal}, Message: "regate failed", Hint: "Tell the gateway's operator."}
		got.Session, got.err = open()
	}()
	if got.err != nil {
		got.Release()
		return nil, got.err
	}
	go func() {
		<-got.Done()
		got.over()
	}()
	return got, nil
}

// Release says that one request has ended.
func (s *Pooled[K, V]) Release() {
	p := s.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	s.users--
	switch {
	case s.users > 0:
	case s.err != nil:
		s.end("")
	case p.live[s.key] != s || p.closed:
		s.end("ended")
	case s.timer == nil:
		s.timer = time.AfterFunc(p.idle, s.unused)
	default:
		s.timer.Reset(p.idle)
	}
}

func (s *Pooled[K, V]) unused() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if s.users == 0 {
		s.end("idle")
	}
}

// over makes the next request of the key open another session: this one's token
// is no longer good, or it was closed.
func (s *Pooled[K, V]) over() {
	s.pool.mu.Lock()
	defer s.pool.mu.Unlock()
	if s.pool.live[s.key] == s {
		delete(s.pool.live, s.key)
	}
	if s.users == 0 {
		s.end("ended")
	}
}

// end closes a session that nobody uses. The pool's mu is held: closing a
// recording waits for nothing.
func (s *Pooled[K, V]) end(reason string) {
	if s.ended {
		return
	}
	s.ended = true
	if s.pool.live[s.key] == s {
		delete(s.pool.live, s.key)
	}
	if s.Session != nil {
		s.Session.Close(reason)
	}
	s.pool.open.Done()
}

// Close ends idle sessions and waits until the others have ended, or ctx.
func (p *Pool[K, V]) Close(ctx context.Context) {
	p.mu.Lock()
	p.closed = true
	for _, s := range p.live {
		if s.users == 0 {
			s.end("shutdown")
		}
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		p.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}
