package usage

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

const (
	flushEvery  = 500 * time.Millisecond
	sweepEvery  = time.Minute
	flushAtOnce = 16 // writes under way
	maxAttempts = 20 // of one write, when other gateways are quicker
	writeWithin = 5 * time.Second
)

// flushAll writes twice a second what was counted, until ctx ends.
func (l *Ledger) flushAll(ctx context.Context) {
	tick, sweep := time.NewTicker(flushEvery), time.NewTicker(sweepEvery)
	defer tick.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-sweep.C:
			l.sweep()
		case <-tick.C:
			err := l.Flush(ctx)
			if ctx.Err() != nil {
				return
			}
			switch old := l.unwritten.Load(); {
			case err != nil && old == nil:
				l.log.WithError(err).Warn("usage cannot be written: policies on budgets deny")
				l.unwritten.Store(&err)
			case err == nil && old != nil:
				l.log.Info("usage can be written again")
				l.unwritten.Store(nil)
			}
		}
	}
}

// Flush writes what was counted until now. What could not be written is tried
// again by the next Flush.
func (l *Ledger) Flush(ctx context.Context) error {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	l.queueMu.Lock()
	queue := l.queue
	l.queue = nil
	l.queueMu.Unlock()
	var group sync.WaitGroup
	var mu sync.Mutex
	var failed error
	slots := make(chan struct{}, flushAtOnce)
	for _, m := range queue {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := l.flush(ctx, m); err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if failed != nil {
		return fmt.Errorf("write usage: %w", failed)
	}
	return nil
}

// flush merges one meter into the bucket.
func (l *Ledger) flush(ctx context.Context, m *meter) (err error) {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	m.mu.Lock()
	m.queued = false // what is counted from here on queues it anew
	unsure := m.flight != "" || !m.loaded
	m.mu.Unlock()
	defer func() {
		if err == nil {
			return
		}
		m.mu.Lock()
		again := !m.queued
		m.queued = true
		m.mu.Unlock()
		if again {
			l.enqueue(m)
		}
	}()
	for attempt := range maxAttempts {
		if attempt > 1 { // so that those who compete do not stay in step
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case <-time.After(time.Duration(rand.Int64N(int64(attempt) * int64(5*time.Millisecond)))):
			}
		}
		if unsure { // whether an earlier write happened, or what the bucket has
			if err := l.read(ctx, m); err != nil {
				return err
			}
		}
		name := l.name + "." + strconv.FormatUint(l.write.Add(1), 10)
		value, revision, ok := m.launch(name)
		if !ok {
			return nil
		}
		next, err := l.put(ctx, m.key, value, revision)
		if err == nil {
			m.landed(name, value, next)
			return nil
		}
		unsure = true
		if !conflicts(err) {
			return err
		}
	}
	return errors.New("other gateways were quicker each time")
}

// read takes what the bucket has.
func (l *Ledger) read(ctx context.Context, m *meter) error {
	entry, err := l.kv.Get(ctx, m.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		m.reset()
		return nil
	}
	if err != nil {
		return err
	}
	m.take(entry.Value(), entry.Revision())
	return nil
}

// put writes what must follow a revision, or be the first.
func (l *Ledger) put(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	if revision == 0 {
		return l.kv.Create(ctx, key, value)
	}
	return l.kv.Update(ctx, key, value, revision)
}

// conflicts reports whether a write was refused because another came first.
func conflicts(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}
