package approval

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine/input"
)

// Bucket returns the configuration of the bucket that a Desk works on. Tickets
// stay for a week after their last change: long enough to look into, while the
// recording keeps them for good.
func Bucket(replicas int) jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket:       "regate_approvals",
		Description:  "regate: requests held for approval",
		MaxValueSize: MaxSize,
		History:      1,
		TTL:          7 * 24 * time.Hour,
		Replicas:     max(replicas, 1),
	}
}

// DefaultMaxOpen is how many open tickets one requester may have. A person
// reads perhaps a few an hour.
const DefaultMaxOpen = 50

// Options of a Desk.
type Options struct {
	KV      jetstream.KeyValue // see Bucket
	Clock   Clock              // nil: the system's
	MaxOpen int                // open tickets of one requester; 0: DefaultMaxOpen
	Logger  logrus.FieldLogger // may be nil
}

// Desk holds requests and lets people decide on them. It is safe for
// concurrent use, and any number of desks may share a bucket.
type Desk struct {
	kv      jetstream.KeyValue
	clock   Clock
	maxOpen int
	log     logrus.FieldLogger

	stop context.CancelFunc
	done chan struct{} // closed when the watcher has ended

	mu      sync.Mutex
	local   map[string]*Ticket              // by id, as the watcher saw them
	waiters map[string]map[*waiter]struct{} // by ticket id
	subs    map[*subscriber]struct{}
	broken  error // why there is no watcher; nil while there is one
}

// Open makes a desk on a bucket and reads the tickets that are there.
func Open(ctx context.Context, o Options) (*Desk, error) {
	if o.KV == nil {
		return nil, errors.New("approval: no bucket")
	}
	d := &Desk{
		kv: o.KV, clock: o.Clock, maxOpen: o.MaxOpen, log: o.Logger,
		done:    make(chan struct{}),
		local:   map[string]*Ticket{},
		waiters: map[string]map[*waiter]struct{}{},
		subs:    map[*subscriber]struct{}{},
	}
	if d.clock == nil {
		d.clock = systemClock{}
	}
	if d.maxOpen <= 0 {
		d.maxOpen = DefaultMaxOpen
	}
	if err := d.startWatch(ctx); err != nil {
		return nil, err
	}
	return d, nil
}

// Close ends the watcher. Those who wait get an error.
func (d *Desk) Close() {
	d.stop()
	<-d.done
}

// Keys: one for each ticket by its id, and one for each digest that names the
// ticket which was last made for it.
const (
	ticketPrefix = "ticket."
	digestPrefix = "digest."
)

func ticketKey(id string) string { return ticketPrefix + id }

// digestKey hashes once more, so that a digest of any form is a valid key.
func digestKey(digest string) string {
	sum := sha256.Sum256([]byte(digest))
	return digestPrefix + hex.EncodeToString(sum[:])
}

var idEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// newID returns an id of 80 random bits: not to be guessed, short enough to be
// read out.
func newID() string {
	var b [10]byte
	rand.Read(b[:]) // never fails
	return "ap-" + idEncoding.EncodeToString(b[:])
}

func validID(id string) bool {
	if len(id) != len("ap-")+16 || id[:3] != "ap-" {
		return false
	}
	_, err := idEncoding.DecodeString(id[3:])
	return err == nil
}

// attempts bounds a loop of compare-and-set. Each failure means that somebody
// else succeeded; with as many people at one ticket as this, one gives up.
const attempts = 64

// Get returns a ticket as it is in the bucket.
func (d *Desk) Get(ctx context.Context, id string) (*Ticket, error) {
	if !validID(id) {
		return nil, fail(CodeNotFound, "there is no approval %q", id)
	}
	entry, err := d.kv.Get(ctx, ticketKey(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, fail(CodeNotFound, "there is no approval %q", id)
	}
	if err != nil {
		return nil, unavailable(err, "read approval %s", id)
	}
	t, err := decode(entry)
	if err != nil {
		return nil, err
	}
	return t.at(d.clock.Now()), nil
}

// Find returns the ticket that was last made for a digest, in whatever state
// it is.
func (d *Desk) Find(ctx context.Context, digest string) (*Ticket, error) {
	t, _, err := d.find(ctx, digest)
	return t, err
}

// find returns in addition the revision of the digest's key, 0 when there is
// no such key.
func (d *Desk) find(ctx context.Context, digest string) (*Ticket, uint64, error) {
	entry, err := d.kv.Get(ctx, digestKey(digest))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, 0, fail(CodeNotFound, "nothing is held for this request")
	}
	if err != nil {
		return nil, 0, unavailable(err, "find the approval of a request")
	}
	t, err := d.Get(ctx, string(entry.Value()))
	if err == nil && t.Digest != digest {
		err = fail(CodeNotFound, "nothing is held for this request")
	}
	return t, entry.Revision(), err
}

// Hold returns the open ticket for t.Digest, or makes one. The caller fills in
// who, what and why; id, state, times and approvals are the desk's.
func (d *Desk) Hold(ctx context.Context, t Ticket) (*Ticket, error) {
	if t.Digest == "" || t.Subject.ID == "" || len(t.Requirements) == 0 {
		return nil, fail(CodeInvalid, "a ticket needs a digest, a subject and a requirement")
	}
	t.Subject = plain(t.Subject)
	if t.Actor != nil {
		actor := plain(*t.Actor)
		t.Actor = &actor
	}
	if len(t.Request) == 0 {
		t.Request = json.RawMessage("null")
	}
	for try := range attempts {
		old, revision, err := d.find(ctx, t.Digest)
		switch {
		case err == nil && old.State.Open():
			return old, nil
		case err != nil && Code(err) != CodeNotFound:
			return nil, err
		}
		if d.openFor(t.Subject, t.Actor) >= d.maxOpen {
			return nil, fail(CodeTooMany, "%s has %d requests waiting for approval already", t.Subject.ID, d.maxOpen)
		}
		held, err := d.create(ctx, t, revision)
		if err != nil || held != nil {
			return held, err
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
	return nil, unavailable(nil, "hold a request: too many changes at once")
}

// create writes a new ticket, then points the digest's key to it. It returns
// nil when somebody else was faster. Should the process end between the two
// writes, the ticket stays without a request that could find it, and expires.
func (d *Desk) create(ctx context.Context, t Ticket, revision uint64) (*Ticket, error) {
	now := d.clock.Now().UTC()
	t.ID, t.State = newID(), Pending
	t.CreatedAt, t.ExpiresAt = now, now.Add(ttl(t.Requirements))
	t.Approvals, t.Resolution = []Approval{}, nil
	raw, err := encode(&t)
	if err != nil {
		return nil, err
	}
	if t.revision, err = d.kv.Create(ctx, ticketKey(t.ID), raw); err != nil {
		return nil, unavailable(err, "hold a request")
	}
	if revision == 0 {
		_, err = d.kv.Create(ctx, digestKey(t.Digest), []byte(t.ID))
	} else {
		_, err = d.kv.Update(ctx, digestKey(t.Digest), []byte(t.ID), revision)
	}
	if err == nil {
		return &t, nil
	}
	// A context of its own: a caller who hung up must not leave it behind.
	clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if purgeErr := d.kv.Purge(clean, ticketKey(t.ID)); purgeErr != nil {
		return nil, unavailable(errors.Join(err, purgeErr), "hold a request")
	}
	if conflict(err) {
		return nil, nil
	}
	return nil, unavailable(err, "hold a request")
}

// change applies fn to a ticket by compare-and-set. fn gets a copy as it is
// now, changes it, or returns an error that ends the matter.
func (d *Desk) change(ctx context.Context, id string, fn func(t *Ticket, now time.Time) error) (*Ticket, error) {
	for try := range attempts {
		stored, err := d.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		t := *stored
		now := d.clock.Now().UTC()
		if err := fn(&t, now); err != nil {
			return stored, err
		}
		raw, err := encode(&t)
		if err != nil {
			return nil, err
		}
		revision, err := d.kv.Update(ctx, ticketKey(id), raw, stored.revision)
		if err == nil {
			t.revision = revision
			return &t, nil
		}
		if !conflict(err) {
			return nil, unavailable(err, "change approval %s", id)
		}
		if err := pause(ctx, try); err != nil {
			return nil, err
		}
	}
	return nil, unavailable(nil, "change approval %s: too many changes at once", id)
}

// pause spreads those who collided, by up to a millisecond a try.
func pause(ctx context.Context, try int) error {
	var b [1]byte
	rand.Read(b[:])
	wait := time.NewTimer(time.Duration(b[0]) * time.Duration(try+1) * time.Millisecond / 256)
	defer wait.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-wait.C:
		return nil
	}
}

// conflict tells whether a write failed because the key was not as expected.
func conflict(err error) bool {
	if errors.Is(err, jetstream.ErrKeyExists) {
		return true
	}
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence
}

func encode(t *Ticket) ([]byte, error) {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil, &Error{Code: CodeInvalid, Message: "write a ticket", Err: err}
	}
	if len(raw) > MaxSize {
		return nil, fail(CodeTooLarge, "the request takes %d bytes, a ticket holds %d", len(raw), MaxSize)
	}
	return raw, nil
}

// decode reads a ticket strictly: one with a field that this version does not
// know may be bound to more than it can see.
func decode(entry jetstream.KeyValueEntry) (*Ticket, error) {
	dec := json.NewDecoder(bytes.NewReader(entry.Value()))
	dec.DisallowUnknownFields()
	t := &Ticket{revision: entry.Revision()}
	if err := dec.Decode(t); err != nil {
		return nil, unavailable(err, "read %s", entry.Key())
	}
	if ticketKey(t.ID) != entry.Key() {
		return nil, unavailable(nil, "read %s: it holds approval %q", entry.Key(), t.ID)
	}
	return t, nil
}

func same(a, b input.Principal) bool { return a.ID == b.ID && a.Issuer == b.Issuer }
