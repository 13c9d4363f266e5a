package approval

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
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
	for {
		// Registered before this read: no change is missed.
		t, err := d.Get(ctx, id)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		t = d.newer(t)
		if t.State != Pending {
			return t, nil
		}
		stop := d.clock.AfterFunc(min(t.ExpiresAt.Sub(d.clock.Now()), recheck), w.signal)
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
// in order. fn must not block; it runs on the watcher's goroutine. A ticket
// that runs out is not announced: it has its time on it.
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
	w, err := d.watch(run)
	if err != nil {
		stop()
		return err
	}
	d.stop = stop
	loaded := make(chan struct{})
	ready := sync.OnceFunc(func() { close(loaded) })
	go func() {
		defer close(d.done)
		for {
			d.follow(run, w, ready)
			for {
				if run.Err() != nil {
					return
				}
				d.setBroken(errors.New("approval: the watch on the bucket ended"))
				select {
				case <-run.Done():
					return
				case <-time.After(rewatch):
				}
				var err error
				if w, err = d.watch(run); err == nil {
					break
				}
				d.setBroken(err)
			}
			d.setBroken(nil)
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

func (d *Desk) watch(ctx context.Context) (jetstream.KeyWatcher, error) {
	w, err := d.kv.Watch(ctx, ticketPrefix+">")
	if err != nil {
		return nil, unavailable(err, "watch the approvals")
	}
	return w, nil
}

// follow applies updates until the watcher ends. The first ones are the whole
// bucket, up to a nil: what the local copy has beside them is gone.
func (d *Desk) follow(ctx context.Context, w jetstream.KeyWatcher, ready func()) {
	defer func() { _ = w.Stop() }()
	seen := map[string]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case entry, ok := <-w.Updates():
			switch {
			case !ok:
				return
			case entry == nil:
				d.forget(seen)
				seen = nil
				ready()
			default:
				if seen != nil {
					seen[strings.TrimPrefix(entry.Key(), ticketPrefix)] = true
				}
				d.apply(entry)
			}
		}
	}
}

func (d *Desk) apply(entry jetstream.KeyValueEntry) {
	id := strings.TrimPrefix(entry.Key(), ticketPrefix)
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
