package pin

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
)

const (
	// MaxDefinition bounds one definition, in bytes.
	MaxDefinition = 256 << 10
	// maxTools bounds the tools of one server: one that invents names must not
	// fill the bucket.
	maxTools = 5000
	// attempts bounds how often a write is tried that somebody else was ahead of.
	attempts = 8
	// rewatch is how long the store waits before it watches again.
	rewatch = 500 * time.Millisecond
)

// Errors that callers branch on.
var (
	ErrUnknown = errors.New("no such tool has been seen")
	ErrOther   = errors.New("the server says something else by now")
	ErrFull    = errors.New("the server has more tools than are kept")
	ErrLarge   = errors.New("the definition is larger than 256 KiB")
)

// Bucket is how the bucket is made.
func Bucket() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{Bucket: "mcp_tools", Description: "definitions of MCP tools", History: 1, MaxValueSize: 2*MaxDefinition + 64<<10}
}

// Store is a live local copy of the bucket.
type Store struct {
	kv    jetstream.KeyValue
	clock func() time.Time
	log   logrus.FieldLogger
	stop  context.CancelFunc
	done  chan struct{}

	mu      sync.RWMutex
	entries map[string]kept // by key
	count   map[string]int  // entries, by server
}

type kept struct {
	*Entry
	revision uint64
}

// Open reads the bucket and follows it until Close. clock nil means time.Now.
func Open(ctx context.Context, kv jetstream.KeyValue, clock func() time.Time, log logrus.FieldLogger) (*Store, error) {
	if clock == nil {
		clock = time.Now
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{kv: kv, clock: clock, log: log, stop: stop, done: make(chan struct{}), entries: map[string]kept{}, count: map[string]int{}}
	w, err := kv.WatchAll(run)
	if err != nil {
		stop()
		return nil, fmt.Errorf("watch the tools: %w", err)
	}
	loaded := make(chan struct{})
	go s.follow(run, w, sync.OnceFunc(func() { close(loaded) }))
	select {
	case <-loaded:
		return s, nil
	case <-ctx.Done():
		s.Close()
		return nil, fmt.Errorf("read the tools: %w", ctx.Err())
	}
}

// Close ends the watch.
func (s *Store) Close() {
	s.stop()
	<-s.done
}

func (s *Store) follow(ctx context.Context, w jetstream.KeyWatcher, loaded func()) {
	defer close(s.done)
	for {
		for e := range w.Updates() {
			if e == nil {
				loaded()
				continue
			}
			s.apply(e)
		}
		_ = w.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(rewatch):
			}
			var err error
			if w, err = s.kv.WatchAll(ctx); err == nil {
				break
			}
			s.log.WithError(err).Warn("approvals of tools cannot be watched")
		}
	}
}

func (s *Store) apply(e jetstream.KeyValueEntry) {
	if e.Operation() != jetstream.KeyValuePut {
		s.set(e.Key(), nil, e.Revision())
		return
	}
	entry := &Entry{}
	if err := json.Unmarshal(e.Value(), entry); err != nil || keyOf(entry.Server, entry.Name) != e.Key() {
		// Without an entry the tool is new: it is kept back.
		s.log.WithField("key", e.Key()).Warn("an approval of a tool cannot be read")
		entry = nil
	}
	s.set(e.Key(), entry, e.Revision())
}

func (s *Store) set(key string, entry *Entry, revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.entries[key]
	if revision < old.revision {
		return
	}
	if old.Entry != nil {
		s.count[old.Server]--
	}
	if entry == nil {
		delete(s.entries, key)
		return
	}
	s.count[entry.Server]++
	s.entries[key] = kept{entry, revision}
}

func keyOf(server, name string) string {
	sum := sha256.Sum256([]byte(server + "\x00" + name))
	return base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
}

// Get returns what is known of a tool. It must not be changed.
func (s *Store) Get(server, name string) (*Entry, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	e, ok := s.entries[keyOf(server, name)]
	return e.Entry, ok
}

// List returns all tools of a server, or of all for "", by server and name.
func (s *Store) List(server string) []*Entry {
	s.mu.RLock()
	out := []*Entry{}
	for _, e := range s.entries {
		if server == "" || e.Server == server {
			out = append(out, e.Entry)
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(out, func(a, b *Entry) int { return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.Name, b.Name)) })
	return out
}

// Note keeps what a server says of a tool. Where it is said for the first time
// and firstUse is set, it is approved with that.
func (s *Store) Note(ctx context.Context, server, name string, d Definition, firstUse bool) (*Entry, error) {
	if e, ok := s.Get(server, name); ok && e.Seen != nil && e.Seen.Digest == d.Digest {
		return e, nil
	}
	if len(d.JSON) > MaxDefinition {
		return nil, ErrLarge
	}
	return s.change(ctx, server, name, func(e *Entry) error {
		now := s.clock().UTC()
		if e.Seen == nil && e.Approved == nil {
			s.mu.RLock()
			full := s.count[server] >= maxTools
			s.mu.RUnlock()
			if full {
				return ErrFull
			}
			e.FirstSeen = now
			if firstUse {
				e.Approved, e.ApprovedAt, e.ApprovedBy = &d, now, "first use"
			}
		}
		e.Seen, e.SeenAt = &d, now
		return nil
	})
}

// Approve approves what a server says of a tool, which has to have the digest:
// what was looked at is what is approved.
func (s *Store) Approve(ctx context.Context, server, name, digest, by, issuer string) (*Entry, error) {
	return s.change(ctx, server, name, func(e *Entry) error {
		switch {
		case e.Seen == nil:
			return ErrUnknown
		case e.Seen.Digest != digest:
			return ErrOther
		}
		e.Approved, e.ApprovedAt, e.ApprovedBy, e.Issuer = e.Seen, s.clock().UTC(), by, issuer
		return nil
	})
}

// Revoke takes an approval back: the tool is new again.
func (s *Store) Revoke(ctx context.Context, server, name string) (*Entry, error) {
	return s.change(ctx, server, name, func(e *Entry) error {
		if e.Seen == nil && e.Approved == nil {
			return ErrUnknown
		}
		e.Approved, e.ApprovedAt, e.ApprovedBy, e.Issuer = nil, time.Time{}, "", ""
		return nil
	})
}

// change writes what f makes of the bucket's entry, unless somebody else was
// ahead, and then tries again.
func (s *Store) change(ctx context.Context, server, name string, f func(*Entry) error) (*Entry, error) {
	key := keyOf(server, name)
	for range attempts {
		entry, revision, err := s.read(ctx, key)
		if err != nil {
			return nil, err
		}
		if entry == nil {
			entry = &Entry{Server: server, Name: name}
		}
		if err := f(entry); err != nil {
			return nil, err
		}
		raw, err := json.Marshal(entry)
		if err != nil {
			return nil, err
		}
		if revision == 0 {
			revision, err = s.kv.Create(ctx, key, raw)
		} else {
			revision, err = s.kv.Update(ctx, key, raw, revision)
		}
		switch {
		case err == nil:
			s.set(key, entry, revision)
			return entry, nil
		case !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch):
			return nil, fmt.Errorf("write what is known of a tool: %w", err)
		}
	}
	return nil, errors.New("write what is known of a tool: others are always ahead")
}

// read returns the bucket's entry and its revision, nil and 0 where there is
// none.
func (s *Store) read(ctx context.Context, key string) (*Entry, uint64, error) {
	e, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, fmt.Errorf("read what is known of a tool: %w", err)
	}
	entry := &Entry{}
	if err := json.Unmarshal(e.Value(), entry); err != nil {
		return nil, 0, fmt.Errorf("read what is known of a tool: %w", err)
	}
	return entry, e.Revision(), nil
}
