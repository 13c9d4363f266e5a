package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// ManagerOptions say where a Manager reads and how old a snapshot may be.
type ManagerOptions struct {
	// Connect opens a connection of the gateway's own to the target database.
	Connect func(context.Context) (*pgx.Conn, error)
	// MaxAge is the age at which a snapshot is read again; 0 is never.
	MaxAge time.Duration
	// Timeout bounds one reading, 1 minute by default.
	Timeout time.Duration
	// Now is the clock, time.Now by default.
	Now func() time.Time
}

// Manager keeps the current snapshot of one database. It is safe for
// concurrent use.
type Manager struct {
	options ManagerOptions
	ctx     context.Context
	cancel  context.CancelFunc

	current atomic.Pointer[held]
	wanted  atomic.Uint64 // the generation that a snapshot must be of

	mu       sync.Mutex
	flight   *flight
	revision uint64
	err      error
	flights  sync.WaitGroup
}

type held struct {
	snap       *Snapshot
	generation uint64
	at         time.Time
}

type flight struct {
	generation uint64
	done       chan struct{}
	snap       *Snapshot
	err        error
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the catalogue is closed")

// NewManager returns a Manager that has read nothing yet.
func NewManager(o ManagerOptions) *Manager {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{options: o, ctx: ctx, cancel: cancel}
}

// Get returns a snapshot that is not stale and not too old. It reads one when
// it must, once for all callers that wait. Without one it returns an error:
// names are then not resolved, whatever an older snapshot said.
func (m *Manager) Get(ctx context.Context) (*Snapshot, error) {
	for {
		wanted := m.wanted.Load()
		if h := m.current.Load(); m.good(h, wanted) {
			return h.snap, nil
		}
		f := m.join(wanted)
		if f == nil {
			continue // it was read in the meantime
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("wait for the catalogue: %w", ctx.Err())
		}
		if f.generation < wanted {
			continue // that reading began before the change that we know of
		}
		return f.snap, f.err
	}
}

func (m *Manager) good(h *held, wanted uint64) bool {
	return h != nil && h.generation >= wanted &&
		(m.options.MaxAge == 0 || m.options.Now().Sub(h.at) < m.options.MaxAge)
}

// join returns the reading under way, or begins one.
func (m *Manager) join(wanted uint64) *flight {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.flight != nil {
		return m.flight
	}
	if m.good(m.current.Load(), wanted) {
		return nil
	}
	f := &flight{generation: m.wanted.Load(), done: make(chan struct{})}
	if m.ctx.Err() != nil {
		f.generation, f.err = wanted, ErrClosed
		close(f.done)
		return f
	}
	m.flight = f
	m.flights.Go(func() { m.fly(f) })
	return f
}

func (m *Manager) fly(f *flight) {
	at := m.options.Now()
	snap, err := m.read()
	m.mu.Lock()
	m.flight, m.err = nil, err
	if err == nil {
		m.revision++
		snap.Revision = m.revision
		m.current.Store(&held{snap: snap, generation: f.generation, at: at})
	}
	m.mu.Unlock()
	f.snap, f.err = snap, err
	close(f.done)
}

func (m *Manager) read() (*Snapshot, error) {
	ctx, cancel := context.WithTimeout(m.ctx, m.options.Timeout)
	defer cancel()
	conn, err := m.options.Connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the catalogue: connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return Load(ctx, conn)
}

// Current returns the last snapshot read, however old or stale, nil before the
// first. It is for showing, not for deciding.
func (m *Manager) Current() *Snapshot {
	if h := m.current.Load(); h != nil {
		return h.snap
	}
	return nil
}

// Stale says that the catalogue changed: the next Get reads it again.
func (m *Manager) Stale() { m.wanted.Add(1) }

// Refresh reads the catalogue now.
func (m *Manager) Refresh(ctx context.Context) (*Snapshot, error) {
	m.Stale()
	return m.Get(ctx)
}

// Err is the error of the last reading, nil when it went well.
func (m *Manager) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

// Close ends a reading under way and waits for it.
func (m *Manager) Close() {
	m.mu.Lock()
	m.cancel()
	m.mu.Unlock()
	m.flights.Wait()
}
