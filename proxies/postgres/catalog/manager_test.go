package catalog_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// source counts connections, and can hold or refuse them.
type source struct {
	url   string
	made  atomic.Int64
	fail  atomic.Bool
	gate  chan struct{} // nil: open
	began chan struct{}
}

var errRefused = errors.New("refused")

func (s *source) connect(ctx context.Context) (*pgx.Conn, error) {
	s.made.Add(1)
	if s.fail.Load() {
		return nil, errRefused
	}
	conn, err := pgx.Connect(ctx, s.url)
	if s.gate != nil {
		s.began <- struct{}{}
		<-s.gate
	}
	return conn, err
}

type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time { return time.Unix(c.at.Load(), 0) }

func TestManager(t *testing.T) {
	d := pgtest.Shared(t)
	s := &source{url: d.URL()}
	c := &clock{}
	m := catalog.NewManager(catalog.ManagerOptions{Connect: s.connect, MaxAge: time.Minute, Now: c.now})
	defer m.Close()
	if m.Current() != nil {
		t.Error("something before the first reading")
	}
	get := func() *catalog.Snapshot {
		t.Helper()
		snap, err := m.Get(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return snap
	}
	first := get()
	if first.Revision != 1 || get() != first || m.Current() != first || s.made.Load() != 1 {
		t.Errorf("revision %d, %d connections", first.Revision, s.made.Load())
	}
	if err := d.Run(t.Context(), "CREATE TABLE fresh (a int)"); err != nil {
		t.Fatal(err)
	}
	if get().Relation("public", "fresh") != nil {
		t.Error("a snapshot changed")
	}
	m.Stale()
	second := get()
	if second.Relation("public", "fresh") == nil || second.Revision != 2 || second.ID == first.ID {
		t.Errorf("not read again: revision %d", second.Revision)
	}
	c.at.Add(59)
	if get() != second {
		t.Error("read again too early")
	}
	c.at.Add(1)
	if get().Revision != 3 {
		t.Error("not read again by age")
	}

	// Without a database, an old snapshot is not served to those who decide.
	s.fail.Store(true)
	m.Stale()
	if snap, err := m.Get(t.Context()); snap != nil || !errors.Is(err, errRefused) || !errors.Is(m.Err(), errRefused) {
		t.Errorf("%v, %v", snap, err)
	}
	if m.Current() == nil {
		t.Error("the last one is gone")
	}
	s.fail.Store(false)
	if snap, err := m.Refresh(t.Context()); err != nil || snap.Revision != 4 || m.Err() != nil {
		t.Errorf("%v, %v", snap, err)
	}
	m.Close()
	m.Stale()
	if _, err := m.Get(t.Context()); !errors.Is(err, catalog.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestManagerSingleFlight sees many callers share one reading, and one that
// knows of a later change not be served by a reading that began before it.
func TestManagerSingleFlight(t *testing.T) {
	d := pgtest.Shared(t)
	s := &source{url: d.URL(), gate: make(chan struct{}), began: make(chan struct{}, 10)}
	m := catalog.NewManager(catalog.ManagerOptions{Connect: s.connect})
	defer m.Close()
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			if snap, err := m.Get(t.Context()); err != nil || snap.Revision != 1 && snap.Revision != 2 {
				t.Errorf("%v %v", snap, err)
			}
		})
	}
	<-s.began
	m.Stale() // the catalogue changes while the first reading is under way
	late := make(chan *catalog.Snapshot)
	go func() {
		snap, err := m.Get(t.Context())
		if err != nil {
			t.Error(err)
		}
		late <- snap
	}()
	// A caller that gives up does not end the reading for the others.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := m.Get(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
	s.gate <- struct{}{}
	<-s.began
	s.gate <- struct{}{}
	if snap := <-late; snap == nil || snap.Revision != 2 {
		t.Errorf("served a reading from before the change")
	}
	group.Wait()
	if s.made.Load() != 2 {
		t.Errorf("%d readings", s.made.Load())
	}
}
