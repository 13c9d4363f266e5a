package usage

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/sirupsen/logrus"
)

// Defaults of Options.
const (
	DefaultMaxMeters = 50_000
	DefaultMaxTasks  = 1_000
)

// Bucket describes the bucket that Options.KV must be. An entry goes a day after
// it was last written, when nothing of it counts any more.
func Bucket() jetstream.KeyValueConfig {
	return jetstream.KeyValueConfig{
		Bucket: "regate_usage", Description: "regate: what subjects, actors and tasks have used", History: 1, TTL: 26 * time.Hour,
	}
}

// Options say where counts are kept and how many.
type Options struct {
	KV jetstream.KeyValue
	// MaxMeters bounds the meters in memory, DefaultMaxMeters when 0: some 2 KB
	// each when busy. Of a subject for which there is no room nothing is known.
	MaxMeters int
	// MaxTasks bounds the tasks of one subject that are told apart in a day,
	// DefaultMaxTasks when 0. All others share one meter.
	MaxTasks int
	Clock    func() time.Time // nil: time.Now
	Logger   logrus.FieldLogger
}

// Ledger keeps the meters of all subjects, actors and tasks. Its methods may be
// called from many goroutines at once.
type Ledger struct {
	kv    jetstream.KeyValue
	opts  Options
	log   logrus.FieldLogger
	clock func() time.Time
	name  string        // of this ledger's writes
	write atomic.Uint64 // numbers them

	health    atomic.Pointer[health]
	unwritten atomic.Pointer[error] // why the last flush failed, nil when it did not
	at        position              // up to where the watch has told; of run alone
	stop      context.CancelFunc
	finished  sync.WaitGroup

	mu      sync.RWMutex
	meters  map[string]*meter
	tasks   map[string]int // meters of tasks, by subject
	dropped bool           // the watch told of meters for which there was no room
	full    atomic.Int64   // how often there was none

	queueMu sync.Mutex
	queue   []*meter

	flushing sync.Mutex
}

// Open reads what the bucket has and starts to follow it; ctx bounds only the
// reading.
func Open(ctx context.Context, opts Options) (*Ledger, error) {
	if opts.KV == nil {
		return nil, errors.New("open usage: no bucket")
	}
	if opts.MaxMeters <= 0 {
		opts.MaxMeters = DefaultMaxMeters
	}
	if opts.MaxTasks <= 0 {
		opts.MaxTasks = DefaultMaxTasks
	}
	if opts.Clock == nil {
		opts.Clock = time.Now
	}
	if opts.Logger == nil {
		quiet := logrus.New()
		quiet.SetOutput(io.Discard)
		opts.Logger = quiet
	}
	l := &Ledger{
		kv: opts.KV, opts: opts, log: opts.Logger, clock: opts.Clock, name: ulid.Make().String(),
		meters: map[string]*meter{}, tasks: map[string]int{},
	}
	l.health.Store(&health{at: time.Now()})
	run, stop := context.WithCancel(context.Background())
	l.stop = stop
	w, err := l.load(ctx, run)
	if err != nil {
		stop()
		return nil, fmt.Errorf("open usage: %w", err)
	}
	l.finished.Go(func() { l.run(run, w) })
	l.finished.Go(func() { l.flushAll(run) })
	return l, nil
}

// Close writes what is not yet written and stops. Nothing is known from then on.
func (l *Ledger) Close(ctx context.Context) error {
	l.stop()
	l.finished.Wait()
	err := l.Flush(ctx)
	l.health.Store(&health{err: errors.New("closed")})
	if err != nil {
		return fmt.Errorf("close usage: %w", err)
	}
	return nil
}

// Who names whose use is counted. The strings are digested, never kept.
type Who struct {
	Issuer, Subject string
	// Actor is who acts for the subject; "" when nobody does.
	ActorIssuer, Actor string
	// Task is the subject's, as the agent says; "" when it says none.
	Task string
}

// Account is where the use of one session is counted.
type Account struct {
	ledger               *Ledger
	subject, actor, task slotOf
}

// slotOf is one meter of an account.
type slotOf struct {
	key  string // "": there is none
	last atomic.Pointer[meter]
}

// Account returns where to count for who. It may be used from many goroutines.
func (l *Ledger) Account(who Who) *Account {
	a := &Account{ledger: l}
	subject := digest(who.Issuer, who.Subject)
	a.subject.key = "subject." + subject
	if who.Actor != "" {
		a.actor.key = "actor." + digest(who.ActorIssuer, who.Actor)
	}
	if who.Task != "" {
		a.task.key = taskPrefix + subject + "." + digest(who.Task)
	}
	return a
}

const (
	taskPrefix = "task."
	otherTasks = "others" // stands for the digest of all tasks beyond MaxTasks
)

// digest names parts in the bucket.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil)[:20])
}

// Usage is what an account has used.
type Usage struct {
	Subject Windows
	Actor   *Windows // nil when nobody acts for the subject
	Task    *Windows // nil when there is no task
}

// Count adds c to every meter of the account and returns what they had before.
// It takes no longer when the bucket is away. ok is false when what is returned
// cannot be trusted: then c may not be counted either.
func (a *Account) Count(c Counts) (before Usage, ok bool) {
	now := a.ledger.clock()
	ok = a.ledger.Healthy() == nil
	one := func(s *slotOf) *Windows {
		if s.key == "" {
			return nil
		}
		w, known := a.ledger.count(s, now, c)
		ok = ok && known
		return &w
	}
	before.Subject = *one(&a.subject)
	before.Actor, before.Task = one(&a.actor), one(&a.task)
	return before, ok
}

func (l *Ledger) count(s *slotOf, now time.Time, c Counts) (before Windows, known bool) {
	m := s.last.Load()
	for {
		if m == nil {
			if m = l.meter(s.key); m == nil {
				return Windows{}, false
			}
			s.last.Store(m)
		}
		before, ok, known, first := m.count(now, c)
		if !ok {
			m = nil
			continue
		}
		if first {
			l.enqueue(m)
		}
		return before, known
	}
}

func (l *Ledger) enqueue(m *meter) {
	l.queueMu.Lock()
	l.queue = append(l.queue, m)
	l.queueMu.Unlock()
}

// meter returns the key's, made where there is none, or nil where there is no
// room.
func (l *Ledger) meter(key string) *meter {
	l.mu.RLock()
	m := l.meters[key]
	l.mu.RUnlock()
	if m != nil {
		return m
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if m := l.meters[key]; m != nil {
		return m
	}
	if subject, isTask := taskOf(key); isTask && l.tasks[subject] >= l.opts.MaxTasks {
		key = taskPrefix + subject + "." + otherTasks
		if m := l.meters[key]; m != nil {
			return m
		}
	}
	m = l.insert(key)
	if m == nil {
		if l.full.Add(1) == 1 {
			l.log.WithField("meters", len(l.meters)).Error("there are more subjects, actors and tasks than usage is kept of: policies on budgets deny those for which there is no room")
		}
		return nil
	}
	// The watch has told of everything that it had room for.
	m.loaded = !l.dropped
	return m
}

// insert makes a meter; the mutex is held. It is nil where there is no room.
func (l *Ledger) insert(key string) *meter {
	if len(l.meters) >= l.opts.MaxMeters {
		return nil
	}
	m := &meter{key: key}
	l.meters[key] = m
	if subject, isTask := taskOf(key); isTask {
		l.tasks[subject]++
	}
	return m
}

func taskOf(key string) (subject string, isTask bool) {
	rest, isTask := strings.CutPrefix(key, taskPrefix)
	subject, _, _ = strings.Cut(rest, ".")
	return subject, isTask
}

// sweep removes meters of which nothing counts any more.
func (l *Ledger) sweep() {
	now := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, m := range l.meters {
		m.mu.Lock()
		idle := !m.queued && m.flying.empty() && m.delta.empty() && m.base.over(now) && m.bad == nil
		m.gone = idle
		m.mu.Unlock()
		if !idle {
			continue
		}
		delete(l.meters, key)
		if subject, isTask := taskOf(key); isTask {
			if l.tasks[subject]--; l.tasks[subject] == 0 {
				delete(l.tasks, subject)
			}
		}
	}
	if len(l.meters) < l.opts.MaxMeters {
		l.full.Store(0)
	}
}

// Meters returns how many meters there are.
func (l *Ledger) Meters() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.meters)
}
