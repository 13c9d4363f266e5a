package approval

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/regate-dev/regate/engine/input"
)

// waiter is one who waits for a ticket to be decided.
type waiter struct{ wake chan struct{} }

type subscriber struct{ fn func(*Ticket) }

// recheck is how often those who wait look into the bucket themselves, should
// the watcher be cut off from it.
const recheck = 5 * time.Second

// checkEvery is how often the watcher is compared with the bucket.
const checkEvery = time.Second

// rewatch is how long the desk waits before it watches again after a failure.
const rewatch = 200 * time.Millisecond

// Wait returns the ticket once it is not pending: approved, or final. It ends
// with ctx.Err() when ctx does, and with CodeUnavailable when the desk closes
// or the bucket cannot be read.
func (d *Desk) Wait(ctx context.Context, id string) (*Ticket, error) {
	w := &waiter{wake: make(chan struct{}, 1)}
	d.mu.Lock()
	if d.waiters[id] == nil {
		d.waiters[id] = map[*waiter]struct{}{}
	}
	d.waiters[id][w] = struct{}{}
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		if delete(d.waiters[id], w); len(d.waiters[id]) == 0 {
			delete(d.waiters, id)
		}
		d.mu.Unlock()
	}()
	var last *Ticket
	for {
		// Registered before this read: no change is missed.
		t, err := d.Get(ctx, id)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			last = d.newer(t)
		case Code(err) == CodeUnavailable && last != nil:
			last = last.at(d.clock.Now()) // the bucket may come back in time
		default:
			return nil, err
		}
		if last.State != Pending {
			return last, nil
		}
		stop := d.clock.AfterFunc(min(last.ExpiresAt.Sub(d.clock.Now()), recheck), w.signal)
		select {
		case <-w.wake:
		case <-ctx.Done():
		case <-d.done:
			stop()
			return nil, fail(CodeUnavailable, "the gateway stops")
		}
		stop()
	}
}

// newer returns the local copy where it is ahead of what was read: in a cluster
// a read may come from a replica that is behind the watcher.
func (d *Desk) newer(t *Ticket) *Ticket {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.local[t.ID]; l != nil && l.revision > t.revision {
		return l.at(d.clock.Now())
	}
	return t
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Subscribe calls fn with each ticket that is made or changed, by any gateway,
// in order. Of changes that follow each other fast, the last may come alone. fn
// must not block; it runs on the watcher's goroutine. A ticket that runs out is not announced: it has its time on it.
func (d *Desk) Subscribe(fn func(*Ticket)) (cancel func()) {
	s := &subscriber{fn: fn}
	d.mu.Lock()
	d.subs[s] = struct{}{}
	d.mu.Unlock()
	return func() {
		d.mu.Lock()
		delete(d.subs, s)
		d.mu.Unlock()
	}
}

// Healthy returns why tickets cannot be watched, nil while they can.
func (d *Desk) Healthy() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.broken
}

// Filter narrows a list.
type Filter struct {
	States []State // empty: all
	Target string  // name of a target; "": all
	Limit  int     // at most this many, the newest; 0 or more than MaxList: MaxList
}

// MaxList bounds a list.
const MaxList = 500

// List returns tickets from the local copy, oldest first. Where there are more
// than the limit, the newest are returned.
func (d *Desk) List(f Filter) []*Ticket {
	now := d.clock.Now()
	d.mu.Lock()
	list := make([]*Ticket, 0, len(d.local))
	for _, t := range d.local {
		t = t.at(now)
		if (len(f.States) == 0 || slices.Contains(f.States, t.State)) && (f.Target == "" || t.Target.Name == f.Target) {
			list = append(list, t)
		}
	}
	d.mu.Unlock()
	slices.SortFunc(list, func(a, b *Ticket) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	limit := f.Limit
	if limit <= 0 || limit > MaxList {
		limit = MaxList
	}
	return list[max(0, len(list)-limit):]
}

// openFor counts the open tickets of a requester in the local copy.
func (d *Desk) openFor(subject input.Principal, actor *input.Principal) int {
	now, n := d.clock.Now(), 0
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.local {
		if !t.at(now).State.Open() || !same(t.Subject, subject) || (t.Actor == nil) != (actor == nil) {
			continue
		}
		if actor == nil || same(*t.Actor, *actor) {
			n++
		}
	}
	return n
}

// startWatch starts the watcher and waits until it has read the bucket.
func (d *Desk) startWatch(ctx context.Context) error {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	w, from, err := d.watch(run)
	if err != nil {
		stop()
		return err
	}
	d.stop = stop
	loaded := make(chan struct{})
	ready := sync.OnceFunc(func() { close(loaded) })
	go func() {
		defer close(d.done)
		for run.Err() == nil {
			err := d.follow(run, w, from, ready)
			_ = w.Stop()
			for err != nil && run.Err() == nil {
				d.setBroken(err)
				sleep(run, rewatch)
				w, from, err = d.watch(run)
			}
		}
		if w != nil {
			_ = w.Stop()
		}
	}()
	select {
	case <-loaded:
		return nil
	case <-ctx.Done():
		d.Close()
		return unavailable(ctx.Err(), "read the approvals")
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// watch sees every key, so that the sequence of its updates can be compared
// with that of the bucket. It returns the bucket's sequence from before: what
// has aged out of the bucket up to there will not be sent.
func (d *Desk) watch(ctx context.Context) (jetstream.KeyWatcher, uint64, error) {
	from, err := d.last(ctx)
	if err != nil {
		return nil, 0, unavailable(err, "read the state of the bucket")
	}
	w, err := d.kv.WatchAll(ctx)
	if err != nil {
		return nil, 0, unavailable(err, "watch the approvals")
	}
	return w, from, nil
}

// follow applies updates until the watcher ends or falls behind, and returns
// why. The first updates are the whole bucket, up to a nil: what the local
// copy has beside them is gone.
func (d *Desk) follow(ctx context.Context, w jetstream.KeyWatcher, from uint64, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	var at atomic.Uint64
	at.Store(from)
	behind := make(chan error, 1)
	var checks sync.WaitGroup
	checks.Go(func() { behind <- d.check(ctx, &at) })
	defer func() {
		cancel()
		checks.Wait()
	}()
	seen := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-behind:
			return err
		case entry, ok := <-w.Updates():
			if !ok {
				return errors.New("approval: the watch on the bucket ended")
			}
			if entry == nil {
				d.forget(seen)
				seen = nil
				d.setBroken(nil)
				ready()
				continue
			}
			at.Store(max(at.Load(), entry.Revision()))
			id, ticket := strings.CutPrefix(entry.Key(), ticketPrefix)
			if !ticket {
				continue
			}
			if seen != nil {
				seen[id] = true
			}
			d.apply(id, entry)
		}
	}
}

// check asks the bucket, once in a while, how far it is, and returns when the
// watcher has not come there by the next time: a client's own watch notices a
// lost server only after two missed heartbeats, some 20 seconds.
func (d *Desk) check(ctx context.Context, at *atomic.Uint64) error {
	due, lost := uint64(0), error(nil)
	for {
		sleep(ctx, checkEvery)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		last, err := d.last(ctx)
		switch {
		case err != nil:
			lost = unavailable(err, "read the state of the bucket")
			d.setBroken(lost)
		case lost != nil: // back again, with what happened meanwhile
			return lost
		case at.Load() < due:
			return unavailable(nil, "the watch on the bucket is behind")
		default:
			due = last
		}
	}
}

// last returns the sequence of the bucket's last change.
func (d *Desk) last(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, checkEvery)
	defer cancel()
	status, err := d.kv.Status(ctx)
	if err != nil {
		return 0, err
	}
	bucket, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return 0, nil
	}
	return bucket.StreamInfo().State.LastSeq, nil
}

func (d *Desk) apply(id string, entry jetstream.KeyValueEntry) {
	var t *Ticket
	if entry.Operation() == jetstream.KeyValuePut {
		var err error
		if t, err = decode(entry); err != nil {
			if d.log != nil {
				d.log.WithError(err).Warn("an approval cannot be read")
			}
			return
		}
	}
	d.mu.Lock()
	if t == nil {
		delete(d.local, id)
	} else if old := d.local[id]; old != nil && old.revision >= t.revision {
		t = nil // a replay after a reconnect
	} else {
		d.local[id] = t
	}
	d.trim()
	subs := make([]*subscriber, 0, len(d.subs))
	for s := range d.subs {
		subs = append(subs, s)
	}
	for w := range d.waiters[id] {
		w.signal()
	}
	d.mu.Unlock()
	if t == nil {
		return
	}
	for _, s := range subs {
		s.fn(t)
	}
}

// keepLocal bounds the local copy; the bucket keeps the rest.
const keepLocal = 5000

// trim drops final tickets, the oldest first, when there are too many.
func (d *Desk) trim() {
	if len(d.local) <= keepLocal {
		return
	}
	now := d.clock.Now()
	var final []*Ticket
	for _, t := range d.local {
		if !t.at(now).State.Open() {
			final = append(final, t)
		}
	}
	slices.SortFunc(final, func(a, b *Ticket) int { return a.CreatedAt.Compare(b.CreatedAt) })
	for _, t := range final[:min(len(final), keepLocal/10)] {
		delete(d.local, t.ID)
	}
}

func (d *Desk) forget(seen map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.local {
		if !seen[id] {
			delete(d.local, id)
		}
	}
	for _, list := range d.waiters {
		for w := range list {
			w.signal()
		}
	}
}

func (d *Desk) setBroken(err error) {
	d.mu.Lock()
	changed := (d.broken == nil) != (err == nil)
	d.broken = err
	d.mu.Unlock()
	if changed && d.log != nil {
		if err != nil {
			d.log.WithError(err).Warn("approvals cannot be watched")
		} else {
			d.log.Info("approvals are watched again")
		}
	}
}
