package usage

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	// probeEvery is how often the watch is checked against the bucket: silence
	// of a dead connection looks like "nothing new".
	probeEvery   = time.Second
	probeTimeout = 2 * time.Second
	loadTimeout  = 30 * time.Second
	// staleAfter is how long counts are believed without a good check.
	staleAfter = 5 * time.Second
)

// position is a place in the history of a bucket, which counts from one again
// when it was deleted and made anew.
type position struct {
	created time.Time
	last    uint64
}

type health struct {
	at  time.Time // of the last good check
	err error     // why counts are not to be trusted now
}

func (l *Ledger) fail(err error) {
	old := l.health.Load()
	if old.err == nil {
		l.log.WithError(err).Warn("usage is not known: policies on budgets deny")
	}
	l.health.Store(&health{at: old.at, err: err})
}

func (l *Ledger) good() {
	if l.health.Load().err != nil {
		l.log.Info("usage is known again")
	}
	l.health.Store(&health{at: time.Now()})
}

// Healthy returns why nothing is known of usage at present, nil when it is.
func (l *Ledger) Healthy() error {
	h, unwritten := l.health.Load(), l.unwritten.Load()
	switch {
	case unwritten != nil:
		return fmt.Errorf("usage: %w", *unwritten)
	case h.err != nil:
		return fmt.Errorf("usage: %w", h.err)
	case time.Since(h.at) > staleAfter: // the watch lives in real time, whatever clock was given
		return errors.New("usage: the bucket was not checked lately")
	}
	return nil
}

// load opens a watch and reads what the bucket has. wait bounds the reading,
// life is how long the watch lives.
func (l *Ledger) load(wait, life context.Context) (jetstream.KeyWatcher, error) {
	at, err := l.position(wait)
	if err != nil {
		return nil, err
	}
	w, err := l.kv.WatchAll(life)
	if err != nil {
		return nil, err
	}
	if !at.created.Equal(l.at.created) {
		l.forget() // revisions of another bucket mean nothing
	}
	l.mu.Lock()
	l.dropped = false
	l.mu.Unlock()
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
				l.at = at
				l.good()
				return w, nil
			}
			l.apply(e)
			at.last = max(at.last, e.Revision())
		}
	}
}

// forget takes back what meters know of the bucket.
func (l *Ledger) forget() {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, m := range l.meters {
		m.reset()
	}
}

func (l *Ledger) apply(e jetstream.KeyValueEntry) {
	l.mu.Lock()
	m := l.meters[e.Key()]
	if e.Operation() != jetstream.KeyValuePut {
		l.mu.Unlock()
		if m != nil {
			m.reset()
		}
		return
	}
	if m == nil {
		if t, _, err := decode(e.Value()); err == nil && t.over(l.clock()) {
			l.mu.Unlock()
			return // nothing of it counts
		}
		if m = l.insert(e.Key()); m == nil {
			l.dropped = true
		}
	}
	l.mu.Unlock()
	if m != nil {
		m.take(e.Value(), e.Revision())
	}
}

// run follows the watch, checks that it is alive, and opens it anew when not.
func (l *Ledger) run(ctx context.Context, w jetstream.KeyWatcher) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	type probe struct {
		at  position
		err error
	}
	probes := make(chan probe, 1)
	probing, due := false, uint64(0)
	for {
		if w == nil {
			wait, cancel := context.WithTimeout(ctx, loadTimeout)
			next, err := l.load(wait, ctx)
			cancel()
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				l.fail(fmt.Errorf("the watch is broken: %w", err))
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				continue
			}
			w, due = next, 0
		}
		select {
		case <-ctx.Done():
			_ = w.Stop()
			return
		case e, ok := <-w.Updates():
			if !ok {
				w = nil
				l.fail(errors.New("the watch ended"))
				continue
			}
			if e != nil {
				l.apply(e)
				l.at.last = max(l.at.last, e.Revision())
			}
		case <-tick.C:
			if !probing {
				probing = true
				go func() {
					at, err := l.position(ctx)
					probes <- probe{at, err}
				}()
			}
		case p := <-probes:
			probing = false
			switch {
			case p.err != nil:
				l.fail(fmt.Errorf("the bucket does not answer: %w", p.err))
			case !p.at.created.Equal(l.at.created), l.at.last < due:
				// Another bucket, or the watch has not come in a second to
				// where the bucket was.
				_ = w.Stop()
				w = nil
			default:
				due = p.at.last
				l.good()
			}
		}
	}
}

// position returns where the bucket is now.
func (l *Ledger) position(ctx context.Context) (position, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	status, err := l.kv.Status(ctx)
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
