package usage_test

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/regate-dev/regate/engine/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker is a real NATS server that a test can stop and start again on the same
// port and store.
type broker struct {
	t    *testing.T
	opts server.Options
	srv  *server.Server
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, opts: server.Options{JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}}
	b.start()
	b.opts.Port = b.srv.Addr().(*net.TCPAddr).Port
	t.Cleanup(b.stop)
	return b
}

func (b *broker) start() {
	b.t.Helper()
	opts := b.opts
	srv, err := server.NewServer(&opts)
	if err != nil {
		b.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(10 * time.Second) {
		b.t.Fatal("the NATS server is not ready")
	}
	b.srv = srv
}

func (b *broker) stop() {
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}

func (b *broker) bucket() jetstream.KeyValue {
	b.t.Helper()
	nc, err := nats.Connect(b.srv.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(20*time.Millisecond))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(b.t.Context(), usage.Bucket())
	if err != nil {
		b.t.Fatal(err)
	}
	return kv
}

// clock is one that a test sets.
type clock struct{ now atomic.Pointer[time.Time] }

func newClock(at string) *clock {
	c := &clock{}
	t, err := time.Parse(time.RFC3339, at)
	if err != nil {
		panic(err)
	}
	c.now.Store(&t)
	return c
}

func (c *clock) Now() time.Time { return *c.now.Load() }

func (c *clock) add(d time.Duration) {
	t := c.Now().Add(d)
	c.now.Store(&t)
}

func open(t *testing.T, kv jetstream.KeyValue, c *clock, change ...func(*usage.Options)) *usage.Ledger {
	t.Helper()
	opts := usage.Options{KV: kv, Clock: c.Now}
	for _, f := range change {
		f(&opts)
	}
	l, err := usage.Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = l.Close(ctx) // a test may have closed it, or taken the server away
	})
	return l
}

var alice = usage.Who{Issuer: "https://issuer", Subject: "alice", ActorIssuer: "https://issuer", Actor: "agent", Task: "report"}

// read returns the day's rows and the last hour's of the subject, the actor and
// the task.
func read(t *testing.T, a *usage.Account) [6]int64 {
	t.Helper()
	u, ok := a.Count(usage.Counts{})
	if !ok {
		t.Fatal("not known")
	}
	return [6]int64{u.Subject.Day.Rows, u.Subject.Hour.Rows, u.Actor.Day.Rows, u.Actor.Hour.Rows, u.Task.Day.Rows, u.Task.Hour.Rows}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestWindows(t *testing.T) {
	c := newClock("2026-11-23T22:58:00Z")
	l := open(t, newBroker(t).bucket(), c)
	a := l.Account(alice)
	other := alice
	other.Task = "another"
	b := l.Account(other)
	stranger := l.Account(usage.Who{Issuer: "https://else", Subject: "alice"})
	is := func(want [6]int64) {
		t.Helper()
		if got := read(t, a); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	}
	is([6]int64{})
	a.Count(usage.Counts{Rows: 10})
	b.Count(usage.Counts{Rows: 5})
	stranger.Count(usage.Counts{Rows: 1000})
	is([6]int64{15, 15, 15, 15, 10, 10})
	c.add(59 * time.Minute) // 23:57
	a.Count(usage.Counts{Rows: 100})
	is([6]int64{115, 115, 115, 115, 110, 110})
	c.add(10 * time.Minute) // 00:07 of the next day: the first ones are 69 minutes ago
	is([6]int64{0, 100, 0, 100, 0, 100})
	a.Count(usage.Counts{Rows: 1})
	is([6]int64{1, 101, 1, 101, 1, 101})
	c.add(52 * time.Minute) // 00:59
	is([6]int64{1, 101, 1, 101, 1, 101})
	c.add(12 * time.Minute)
	is([6]int64{1, 0, 1, 0, 1, 0})
	if u, ok := stranger.Count(usage.Counts{}); !ok || u.Actor != nil || u.Task != nil {
		t.Errorf("%+v", u)
	}
}

// What was counted is there after a restart, and after one that nobody
// announced, but for what was not yet flushed.
func TestCountsOutliveTheProcess(t *testing.T) {
	c := newClock("2026-11-23T12:00:00Z")
	broker := newBroker(t)
	l := open(t, broker.bucket(), c)
	l.Account(alice).Count(usage.Counts{Requests: 1, Rows: 7})
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, ok := l.Account(alice).Count(usage.Counts{}); ok {
		t.Error("a closed ledger says that it knows")
	}
	again := open(t, broker.bucket(), c)
	if got := read(t, again.Account(alice)); got != [6]int64{7, 7, 7, 7, 7, 7} {
		t.Fatalf("%v", got)
	}
	again.Account(alice).Count(usage.Counts{Rows: 1})
	if err := again.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := open(t, broker.bucket(), c) // while the second still runs
	if got := read(t, third.Account(alice)); got != [6]int64{8, 8, 8, 8, 8, 8} {
		t.Fatalf("%v", got)
	}
}

// Gateways count at once and lose nothing of it.
func TestGatewaysShareCounts(t *testing.T) {
	c := newClock("2026-11-23T12:00:00Z")
	broker := newBroker(t)
	var ledgers []*usage.Ledger
	for range 3 {
		ledgers = append(ledgers, open(t, broker.bucket(), c))
	}
	const each = 400
	var all sync.WaitGroup
	for _, l := range ledgers {
		for range 2 {
			all.Go(func() {
				a := l.Account(alice)
				for i := range each {
					a.Count(usage.Counts{Rows: 1})
					if i%40 == 0 {
						if err := l.Flush(t.Context()); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
	}
	all.Wait()
	want := int64(len(ledgers) * 2 * each)
	for _, l := range ledgers {
		eventually(t, "all counts are everywhere", func() bool { return read(t, l.Account(alice))[0] == want })
	}
	late := open(t, broker.bucket(), c)
	if got := read(t, late.Account(alice)); got[0] != want {
		t.Errorf("%d rows in the bucket, want %d", got[0], want)
	}
}

// Requests that come at once are told different numbers: none slips by.
func TestCountingIsAtomic(t *testing.T) {
	l := open(t, newBroker(t).bucket(), newClock("2026-11-23T12:00:00Z"))
	var seen sync.Map
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			a := l.Account(alice)
			for range 200 {
				u, ok := a.Count(usage.Counts{Requests: 1})
				if _, twice := seen.LoadOrStore(u.Subject.Day.Requests, true); twice || !ok {
					t.Errorf("%d twice, or not known (%v)", u.Subject.Day.Requests, ok)
				}
			}
		})
	}
	all.Wait()
}

// Without the server nothing is known; when it is back, nothing is lost.
func TestNothingIsKnownWithoutTheServer(t *testing.T) {
	c := newClock("2026-11-23T12:00:00Z")
	broker := newBroker(t)
	l := open(t, broker.bucket(), c)
	a := l.Account(alice)
	a.Count(usage.Counts{Rows: 3})
	broker.stop()
	eventually(t, "unknown", func() bool { _, ok := a.Count(usage.Counts{}); return !ok })
	a.Count(usage.Counts{Rows: 4})
	broker.start()
	eventually(t, "known", func() bool { _, ok := a.Count(usage.Counts{}); return ok })
	if got := read(t, a); got[0] != 7 {
		t.Errorf("%v", got)
	}
	eventually(t, "written", func() bool {
		l, err := usage.Open(t.Context(), usage.Options{KV: broker.bucket(), Clock: c.Now})
		if err != nil {
			return false
		}
		defer l.Close(t.Context())
		u, ok := l.Account(alice).Count(usage.Counts{})
		return ok && u.Subject.Day.Rows == 7
	})
}

// An entry that cannot be read makes its owner unknown, nobody else; when it is
// gone, counting goes on.
func TestBadEntries(t *testing.T) {
	c := newClock("2026-11-23T12:00:00Z")
	kv := newBroker(t).bucket()
	l := open(t, kv, c)
	a, b := l.Account(alice), l.Account(usage.Who{Subject: "bob"})
	a.Count(usage.Counts{Rows: 3})
	b.Count(usage.Counts{Rows: 3})
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	keys, err := kv.Keys(t.Context())
	if err != nil || len(keys) != 4 {
		t.Fatal(keys, err)
	}
	for _, bad := range []string{`{`, `{"v":2}`, `{"v":1,"total":[-1,0,0,0,0]}`, `{"v":1,"slots":[[2,0,0,0,0,0],[1,0,0,0,0,0]]}`} {
		for _, k := range keys {
			if len(k) > 8 && k[:8] == "subject." {
				if _, err := kv.PutString(t.Context(), k, bad); err != nil {
					t.Fatal(err)
				}
			}
		}
		eventually(t, "unknown because of "+bad, func() bool { _, ok := a.Count(usage.Counts{Rows: 1}); return !ok })
	}
	if _, ok := l.Account(usage.Who{Subject: "carol"}).Count(usage.Counts{}); !ok {
		t.Error("others are unknown too")
	}
	for _, k := range keys {
		if err := kv.Delete(t.Context(), k); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "known again", func() bool { _, ok := a.Count(usage.Counts{}); return ok })
	a.Count(usage.Counts{Rows: 1})
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal("over a deleted entry:", err)
	}
}

// The bucket may be deleted and made anew under a running gateway.
func TestBucketMadeAnew(t *testing.T) {
	c := newClock("2026-11-23T12:00:00Z")
	broker := newBroker(t)
	kv := broker.bucket()
	l := open(t, kv, c)
	a := l.Account(alice)
	a.Count(usage.Counts{Rows: 3})
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(mustConnect(t, broker))
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), usage.Bucket().Bucket); err != nil {
		t.Fatal(err)
	}
	broker.bucket()
	a.Count(usage.Counts{Rows: 4})
	eventually(t, "goes on in the new bucket", func() bool {
		a.Count(usage.Counts{Rows: 1})
		u, ok := a.Count(usage.Counts{})
		if !ok || l.Flush(t.Context()) != nil {
			return false
		}
		fresh, err := usage.Open(t.Context(), usage.Options{KV: broker.bucket(), Clock: c.Now})
		if err != nil {
			return false
		}
		defer fresh.Close(t.Context())
		v, ok := fresh.Account(alice).Count(usage.Counts{})
		return ok && v.Subject.Day.Rows == u.Subject.Day.Rows && u.Subject.Day.Rows >= 5
	})
}

func mustConnect(t *testing.T, b *broker) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(b.srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// Memory is bounded, and what does not fit is unknown, not free.
func TestBounds(t *testing.T) {
	c := newClock("2026-11-23T12:00:00Z")
	kv := newBroker(t).bucket()
	l := open(t, kv, c, func(o *usage.Options) { o.MaxMeters, o.MaxTasks = 20, 3 })
	task := func(n int) *usage.Account {
		return l.Account(usage.Who{Subject: "eve", Task: fmt.Sprint("task ", n)})
	}
	for i := range 10 {
		if _, ok := task(i).Count(usage.Counts{Rows: 1}); !ok {
			t.Fatal("unknown")
		}
	}
	for i, want := range map[int]int64{0: 1, 2: 1, 3: 7, 9: 7, 99: 7} {
		u, ok := task(i).Count(usage.Counts{})
		if !ok || u.Task.Day.Rows != want || u.Subject.Day.Rows != 10 {
			t.Errorf("task %d: %+v, want %d", i, u, want)
		}
	}
	known := 0
	for i := range 1_000 {
		if _, ok := l.Account(usage.Who{Subject: fmt.Sprint(i)}).Count(usage.Counts{Rows: 1}); ok {
			known++
		}
	}
	if known != 15 { // one of eve, four of her tasks
		t.Errorf("%d subjects are known", known)
	}
	if u, ok := task(0).Count(usage.Counts{}); !ok || u.Subject.Day.Rows != 10 {
		t.Errorf("those that were there before: %+v %v", u, ok)
	}
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}

	// A gateway with less room than the bucket has entries does not take those
	// that it dropped for new ones.
	small := open(t, kv, c, func(o *usage.Options) { o.MaxMeters = 19 })
	missing := 0
	for i := range 15 {
		if u, ok := small.Account(usage.Who{Subject: fmt.Sprint(i)}).Count(usage.Counts{}); !ok {
			missing++
		} else if u.Subject.Day.Rows != 1 {
			t.Errorf("subject %d: %+v", i, u)
		}
	}
	if missing > 1 {
		t.Errorf("%d subjects are missing", missing)
	}
}

func BenchmarkCount(b *testing.B) {
	srv, err := server.NewServer(&server.Options{JetStream: true, StoreDir: b.TempDir(), DontListen: true, NoSigs: true, NoLog: true})
	if err != nil {
		b.Fatal(err)
	}
	srv.Start()
	defer srv.Shutdown()
	if !srv.ReadyForConnections(10 * time.Second) {
		b.Fatal("not ready")
	}
	nc, err := nats.Connect("", nats.InProcessServer(srv))
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(b.Context(), usage.Bucket())
	if err != nil {
		b.Fatal(err)
	}
	l, err := usage.Open(b.Context(), usage.Options{KV: kv})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close(context.Background())
	a := l.Account(alice)
	b.ReportAllocs()
	for b.Loop() {
		a.Count(usage.Counts{Requests: 1, Rows: 1})
	}
}
