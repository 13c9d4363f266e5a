package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// probeEvery is how often the watch is checked against the bucket. A dead
	// connection leaves a watch silent, and silence looks like "nothing new".
	probeEvery = time.Second
	// probeTimeout bounds one check.
	probeTimeout = 2 * time.Second
	// loadTimeout bounds reading the whole bucket anew; everybody is denied
	// meanwhile.
	loadTimeout = 30 * time.Second
	// staleAfter is how long the copy is believed without a good check.
	staleAfter = 5 * time.Second
	// maxBatch bounds how many entries one new snapshot takes in, so that a
	// flood of them does not keep all from showing.
	maxBatch = 256
)

// Revocations is a live local copy of the revocations in a bucket. Match reads
// an immutable snapshot and takes no lock.
type Revocations struct {
	kv    jetstream.KeyValue
	clock func() time.Time

	snap     atomic.Pointer[revoked]
	health   atomic.Pointer[health]
	at       position // up to where the watch has told; of run alone
	stop     context.CancelFunc
	finished chan struct{}

	mu          sync.Mutex
	subscribers map[int]func()
	nextID      int
}

// position is a place in the history of a bucket. A bucket that was deleted and
// made anew has another time of creation, and counts from one again.
type position struct {
	created time.Time
	last    uint64
}

type health struct {
	at  time.Time // of the last good check
	err error     // why the copy is not to be trusted now
}

// revoked is an immutable set of revocations.
type revoked struct {
	entries map[string]Revocation // by bucket key
	byValue map[matchKey][]Revocation
	// unreadable entries: what they revoke is not known, so nobody passes.
	unreadable map[string]error
}

type matchKey struct{ kind, value string }

func (s *revoked) index() *revoked {
	s.byValue = make(map[matchKey][]Revocation, len(s.entries))
	for _, r := range s.entries {
		k := matchKey{r.Kind, r.Value}
		s.byValue[k] = append(s.byValue[k], r)
	}
	return s
}

// OpenRevocations watches the bucket and returns once its present content is
// known; ctx bounds only that. clock nil means time.Now. The bucket should
// keep a history of one.
func OpenRevocations(ctx context.Context, kv jetstream.KeyValue, clock func() time.Time) (*Revocations, error) {
	if clock == nil {
		clock = time.Now
	}
	r := &Revocations{kv: kv, clock: clock, finished: make(chan struct{}), subscribers: map[int]func(){}}
	run, stop := context.WithCancel(context.Background())
	r.stop = stop
	w, err := r.load(ctx, run)
	if err != nil {
		stop()
		return nil, fmt.Errorf("open revocations: %w", err)
	}
	go r.run(run, w)
	return r, nil
}

// load opens a watch and reads the present content. wait bounds the reading,
// life is how long the watch lives.
func (r *Revocations) load(wait, life context.Context) (jetstream.KeyWatcher, error) {
	// Asked first: whatever the bucket holds up to here is in what the watch
	// gives below. Its last entry may be gone since, so the watch alone cannot
	// tell how far it is.
	at, err := r.position(wait)
	if err != nil {
		return nil, err
	}
	w, err := r.kv.WatchAll(life)
	if err != nil {
		return nil, err
	}
	next := &revoked{entries: map[string]Revocation{}, unreadable: map[string]error{}}
	for {
		select {
		case <-wait.Done():
			_ = w.Stop()
			return nil, wait.Err()
		case e, ok := <-w.Updates():
			if !ok {
				return nil, errors.New("the watch ended")
			}
			if e == nil { // the present content is complete
				r.at = at
				r.snap.Store(next.index())
				r.health.Store(&health{at: time.Now()})
				return w, nil
			}
			next.apply(e)
			at.last = max(at.last, e.Revision())
		}
	}
}

// apply changes the set by one entry of the bucket.
func (s *revoked) apply(e jetstream.KeyValueEntry) {
	key := e.Key()
	delete(s.entries, key)
	delete(s.unreadable, key)
	if e.Operation() != jetstream.KeyValuePut {
		return
	}
	rev, err := decodeRevocation(e.Value())
	if err == nil && rev.Key() != key {
		err = errors.New("the entry is under another key")
	}
	if err != nil {
		s.unreadable[key] = err
		return
	}
	s.entries[key] = rev
}

func decodeRevocation(raw []byte) (Revocation, error) {
	// Members of a later version are ignored: every member narrows, so that
	// without one the revocation covers more.
	var rev Revocation
	if err := json.Unmarshal(raw, &rev); err != nil {
		return rev, err
	}
	return rev, rev.valid()
}

// run follows the watch, checks that it is alive, and opens it anew when not.
func (r *Revocations) run(ctx context.Context, w jetstream.KeyWatcher) {
	defer close(r.finished)
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	// A probe waits for the server; entries of the watch must not wait for it.
	probes := make(chan probe, 1)
	probing, behind := false, 0
	for {
		if w == nil {
			wait, cancel := context.WithTimeout(ctx, loadTimeout)
			next, err := r.load(wait, ctx)
			cancel()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				r.fail(fmt.Errorf("the watch of revocations is broken: %w", err))
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				continue
			}
			w, behind = next, 0
			r.notify()
		}
		select {
		case <-ctx.Done():
			_ = w.Stop()
			return
		case e, ok := <-w.Updates():
			if !ok {
				w = nil
				r.fail(errors.New("the watch of revocations ended"))
				continue
			}
			r.follow(e, w)
		case <-tick.C:
			if !probing {
				probing = true
				go func() {
					at, err := r.position(ctx)
					probes <- probe{at, err}
				}()
			}
		case p := <-probes:
			probing = false
			switch {
			case p.err != nil:
				r.fail(fmt.Errorf("the bucket of revocations does not answer: %w", p.err))
			case !p.at.created.Equal(r.at.created):
				_ = w.Stop()
				w = nil
			case p.at.last > r.at.last:
				// An entry may be on its way; one that is still missing at the
				// next look is lost with the watch.
				if behind++; behind > 1 {
					_ = w.Stop()
					w = nil
				}
			default:
				behind = 0
				r.health.Store(&health{at: time.Now()})
			}
		}
	}
}

type probe struct {
	at  position
	err error
}

// follow takes an entry, and those that wait behind it, into the copy.
func (r *Revocations) follow(e jetstream.KeyValueEntry, w jetstream.KeyWatcher) {
	old := r.snap.Load()
	next := &revoked{entries: maps.Clone(old.entries), unreadable: maps.Clone(old.unreadable)}
	for range maxBatch {
		if e != nil {
			next.apply(e)
			r.at.last = max(r.at.last, e.Revision())
		}
		select {
		case more, ok := <-w.Updates():
			if ok {
				e = more
				continue
			}
		default:
		}
		break
	}
	r.snap.Store(next.index())
	r.notify()
}

// position returns where the bucket is now.
func (r *Revocations) position(ctx context.Context) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	status, err := r.kv.Status(ctx)
	if err != nil {
		return position{}, err
	}
	bucket, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return position{}, fmt.Errorf("unexpected status %T", status)
	}
	info := bucket.StreamInfo()
	return position{created: info.Created, last: info.State.LastSeq}, nil
}

func (r *Revocations) fail(err error) {
	r.health.Store(&health{at: r.health.Load().at, err: err})
}

// Healthy returns an error while the copy may be behind: deny then. A watch
// that stops following is noticed within seconds.
func (r *Revocations) Healthy() error {
	h, s := r.health.Load(), r.snap.Load()
	switch {
	case h.err != nil:
		return Refusal(ReasonRevocationsStale, h.err)
	case time.Since(h.at) > staleAfter: // the watch lives in real time, whatever clock was given
		return Refusal(ReasonRevocationsStale, errors.New("the revocations were not checked lately"))
	case len(s.unreadable) > 0:
		return Refusal(ReasonRevocationsStale, fmt.Errorf("%d entries of the bucket are not revocations", len(s.unreadable)))
	}
	return nil
}

// Match returns the revocation that covers the identity at the target, or nil.
// A nil identity is asked about the target alone. Callers must also ask
// Healthy.
func (r *Revocations) Match(id *Identity, target string) *Revocation {
	s, now := r.snap.Load(), r.clock()
	if len(s.byValue) == 0 {
		return nil
	}
	find := func(kind, value, issuer string, issuedAt time.Time, since bool) *Revocation {
		if value == "" {
			return nil
		}
		for _, rev := range s.byValue[matchKey{kind, value}] {
			if rev.covers(issuer, issuedAt, since, now) {
				return &rev
			}
		}
		return nil
	}
	if rev := find(RevokeTarget, target, "", time.Time{}, false); rev != nil || id == nil {
		return rev
	}
	if rev := find(RevokeToken, id.TokenID, id.Subject.Issuer, time.Time{}, false); rev != nil {
		return rev
	}
	if rev := find(RevokeSubject, id.Subject.ID, id.Subject.Issuer, id.IssuedAt, true); rev != nil {
		return rev
	}
	if rev := find(RevokeClient, id.Subject.ClientID, id.Subject.Issuer, id.IssuedAt, true); rev != nil {
		return rev
	}
	if a := id.Actor; a != nil {
		if rev := find(RevokeSubject, a.ID, a.Issuer, id.IssuedAt, true); rev != nil {
			return rev
		}
		return find(RevokeClient, a.ClientID, a.Issuer, id.IssuedAt, true)
	}
	return nil
}

// Add writes a revocation: At zero means now. It returns once the bucket has
// it; every replica follows by its watch. Expired revocations are removed in
// passing.
func (r *Revocations) Add(ctx context.Context, rev Revocation) error {
	if rev.At.IsZero() {
		rev.At = r.clock()
	}
	rev.At, rev.ExpiresAt = rev.At.UTC(), rev.ExpiresAt.UTC()
	if err := rev.valid(); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	raw, err := json.Marshal(rev)
	if err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	if _, err := r.kv.Put(ctx, rev.Key(), raw); err != nil {
		return fmt.Errorf("revoke: %w", err)
	}
	now := r.clock()
	for key, old := range r.snap.Load().entries {
		if old.expired(now) && key != rev.Key() {
			// Another replica may be at it too, or a new revocation may have
			// taken the key: best effort, and Match ignores it anyway.
			_ = r.kv.Delete(ctx, key)
		}
	}
	return nil
}

// Remove takes a revocation back, by Revocation.Key. A key that is not there
// is jetstream.ErrKeyNotFound.
func (r *Revocations) Remove(ctx context.Context, key string) error {
	if _, err := r.kv.Get(ctx, key); err != nil {
		return fmt.Errorf("remove revocation: %w", err)
	}
	if err := r.kv.Delete(ctx, key); err != nil {
		return fmt.Errorf("remove revocation: %w", err)
	}
	return nil
}

// List returns the revocations in force, oldest first.
func (r *Revocations) List() []Revocation {
	now := r.clock()
	list := []Revocation{}
	for _, rev := range r.snap.Load().entries {
		if !rev.expired(now) {
			list = append(list, rev)
		}
	}
	slices.SortFunc(list, func(a, b Revocation) int {
		if c := a.At.Compare(b.At); c != 0 {
			return c
		}
		return strings.Compare(a.Key(), b.Key())
	})
	return list
}

// Subscribe calls fn after any change of the copy, until cancel. fn runs on
// the watch's goroutine: it must not block and must not call cancel.
func (r *Revocations) Subscribe(fn func()) (cancel func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := r.nextID
	r.nextID++
	r.subscribers[id] = fn
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.subscribers, id)
	}
}

func (r *Revocations) notify() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fn := range r.subscribers {
		fn()
	}
}

// Close stops watching. Healthy fails from then on.
func (r *Revocations) Close() {
	r.stop()
	<-r.finished
	r.fail(errors.New("closed"))
}
