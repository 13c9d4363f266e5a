package approval

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/regate-dev/regate/engine/input"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bucket starts a server of its own in this process and opens the bucket.
func bucket(t testing.TB) jetstream.KeyValue {
	t.Helper()
	_, kv := restartable(t, t.TempDir(), inProcess)
	return kv
}

// inProcess is the port of a server that does not listen.
const inProcess = 0

func restartable(t testing.TB, dir string, port int) (*server.Server, jetstream.KeyValue) {
	t.Helper()
	srv, err := server.NewServer(&server.Options{
		JetStream: true, StoreDir: dir, DontListen: port == inProcess, Host: "127.0.0.1", Port: port, NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	opts := []nats.Option{nats.MaxReconnects(-1), nats.ReconnectWait(20 * time.Millisecond)}
	if port == inProcess {
		opts = append(opts, nats.InProcessServer(srv))
	}
	nc, err := nats.Connect(srv.ClientURL(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(t.Context(), Bucket(1))
	if err != nil {
		t.Fatal(err)
	}
	return srv, kv
}

// fakeClock moves when a test says so.
type fakeClock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[*fakeTimer]struct{}
}

type fakeTimer struct {
	at time.Time
	f  func()
}

func newClock() *fakeClock {
	return &fakeClock{now: time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), timers: map[*fakeTimer]struct{}{}}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) AfterFunc(d time.Duration, f func()) func() {
	c.mu.Lock()
	defer c.mu.Unlock()
	timer := &fakeTimer{at: c.now.Add(d), f: f}
	c.timers[timer] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.timers, timer)
	}
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for timer := range c.timers {
		if !timer.at.After(c.now) {
			delete(c.timers, timer)
			go timer.f()
		}
	}
}

func open(t testing.TB, kv jetstream.KeyValue, clock Clock) *Desk {
	t.Helper()
	d, err := Open(t.Context(), Options{KV: kv, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

const issuer = "https://id.example"

func person(id string, groups ...string) Identity {
	return Identity{Subject: input.Principal{ID: id, Issuer: issuer, Groups: groups}}
}

func request(digest string, requirements ...Requirement) Ticket {
	if len(requirements) == 0 {
		requirements = []Requirement{{ID: "acme/prod-write", From: []string{"group:dba"}, Count: 1, TTL: 15 * time.Minute}}
	}
	return Ticket{
		Digest:       digest,
		SessionID:    "s1",
		Subject:      input.Principal{ID: "alice", Issuer: issuer, Claims: map[string]any{"secret": "x"}},
		Actor:        &input.Principal{ID: "agent-7", Issuer: issuer, Claims: map[string]any{"secret": "x"}},
		Target:       input.Target{Name: "orders"},
		Summary:      "UPDATE users SET plan = 'pro' WHERE id = 7",
		Request:      json.RawMessage(`{"sql":{"text":"UPDATE"}}`),
		Requirements: requirements,
	}
}

func hold(t testing.TB, d *Desk, ticket Ticket) *Ticket {
	t.Helper()
	held, err := d.Hold(t.Context(), ticket)
	if err != nil {
		t.Fatal(err)
	}
	return held
}

func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	if Code(err) != code {
		t.Errorf("error %v, want %s", err, code)
	}
}

func TestApprovedOnceRunsOnce(t *testing.T) {
	d := open(t, bucket(t), newClock())
	ctx := t.Context()
	held := hold(t, d, request("d1"))
	if held.State != Pending || held.Subject.Claims != nil || held.Actor.Claims != nil || !validID(held.ID) {
		t.Fatalf("held: %+v", held)
	}
	if got := held.ExpiresAt.Sub(held.CreatedAt); got != 15*time.Minute {
		t.Errorf("lives %v", got)
	}
	if again := hold(t, d, request("d1")); again.ID != held.ID {
		t.Errorf("the same digest is held twice: %s, %s", held.ID, again.ID)
	}
	if other := hold(t, d, request("d2")); other.ID == held.ID {
		t.Error("two digests share a ticket")
	}
	_, err := d.Consume(ctx, held.ID)
	wantCode(t, err, CodeNotApproved)

	approved, err := d.Approve(ctx, held.ID, person("bob", "dba", "staff"), "looks right")
	if err != nil || approved.State != Approved {
		t.Fatalf("%+v, %v", approved, err)
	}
	in := approved.InputApprovals()
	if len(in) != 1 || in[0].ID != held.ID || in[0].By.ID != "bob" || in[0].By.Issuer != issuer || len(in[0].By.Groups) != 2 ||
		in[0].At != "2026-11-23T09:00:00Z" || in[0].ExpiresAt != "2026-11-23T09:15:00Z" {
		t.Errorf("for policy: %+v", in)
	}
	if again := hold(t, d, request("d1")); again.ID != held.ID || again.State != Approved {
		t.Errorf("sent again after approval: %+v", again)
	}
	if _, err := d.Approve(ctx, held.ID, person("bob", "dba"), ""); Code(err) != CodeDuplicate {
		t.Errorf("twice: %v", err)
	}
	if _, err := d.Consume(ctx, held.ID); err != nil {
		t.Fatal(err)
	}
	_, err = d.Consume(ctx, held.ID)
	wantCode(t, err, CodeResolved)
	_, err = d.Approve(ctx, held.ID, person("carol", "dba"), "")
	wantCode(t, err, CodeResolved)
	if next := hold(t, d, request("d1")); next.ID == held.ID || next.State != Pending {
		t.Errorf("after it ran: %+v", next)
	}
	found, err := d.Find(ctx, "d1")
	if err != nil || found.ID == held.ID {
		t.Errorf("find: %+v, %v", found, err)
	}
}

func TestWhoMayDecide(t *testing.T) {
	d := open(t, bucket(t), newClock())
	ctx := t.Context()
	elsewhere := person("alice", "dba")
	elsewhere.Subject.Issuer = "https://other.example"
	delegated := person("bob", "dba")
	delegated.Actor = &input.Principal{ID: "agent-9", Issuer: issuer}
	itself := person("bob", "dba")
	itself.Actor = &itself.Subject
	for i, tc := range []struct {
		name string
		by   Identity
		from []string
		code string
	}{
		{"a member of the group", person("bob", "dba"), []string{"group:dba"}, ""},
		{"the subject that is named", person("bob"), []string{"subject:bob"}, ""},
		{"anyone", person("bob"), []string{"any"}, ""},
		{"the second alternative", person("bob", "sre"), []string{"group:dba", "group:sre"}, ""},
		{"the same id of another issuer", elsewhere, []string{"group:dba"}, ""},
		{"an actor that is the subject", itself, []string{"group:dba"}, ""},
		{"the requester", person("alice", "dba"), []string{"any"}, CodeSelf},
		{"the requester's agent", person("agent-7", "dba"), []string{"any"}, CodeSelf},
		{"an agent for a person", delegated, []string{"group:dba"}, CodeDelegated},
		{"a stranger", person("bob", "dbas"), []string{"group:dba"}, CodeNotEligible},
		{"nobody", Identity{}, []string{"any"}, CodeNotEligible},
		{"from nobody", person("bob", "dba"), nil, CodeNotEligible},
		{"an empty group", person("bob", ""), []string{"group:"}, CodeNotEligible},
		{"an unknown form", person("bob"), []string{"bob", "any:x", "role:bob"}, CodeNotEligible},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ticket := request(fmt.Sprint("d", i), Requirement{ID: "r", From: tc.from})
			held := hold(t, d, ticket)
			got, err := d.Approve(ctx, held.ID, tc.by, "")
			wantCode(t, err, tc.code)
			if tc.code == "" && got.State != Approved {
				t.Errorf("approve: %+v", got)
			}
			if after, _ := d.Get(ctx, held.ID); tc.code != "" && (after.State != Pending || len(after.Approvals) != 0) {
				t.Errorf("a refused approval left %+v", after)
			}
			_, err = d.Deny(ctx, held.ID, tc.by, "no")
			wantCode(t, err, tc.code)
			if _, err := d.Consume(ctx, held.ID); err == nil {
				t.Error("a denied ticket ran")
			}
		})
	}
}

func TestSeveralRequirements(t *testing.T) {
	d := open(t, bucket(t), newClock())
	ctx := t.Context()
	held := hold(t, d, request("d",
		Requirement{ID: "two-dba", From: []string{"group:dba"}, Count: 2, TTL: time.Hour},
		Requirement{ID: "security", From: []string{"group:sec"}, TTL: 10 * time.Minute}))
	if got := held.ExpiresAt.Sub(held.CreatedAt); got != 10*time.Minute {
		t.Errorf("lives %v, want the shortest", got)
	}
	step := func(id string, state State, groups ...string) {
		t.Helper()
		got, err := d.Approve(ctx, held.ID, person(id, groups...), "")
		if err != nil || got.State != state {
			t.Fatalf("%s: %v, %v", id, got.State, err)
		}
	}
	step("bob", Pending, "dba")
	step("carol", Pending, "dba")
	// The dba's part is done: one more of them adds nothing.
	_, err := d.Approve(ctx, held.ID, person("dave", "dba"), "")
	wantCode(t, err, CodeNotEligible)
	if got, _ := d.Get(ctx, held.ID); len(got.Missing()) != 1 || got.Missing()[0].ID != "security" {
		t.Errorf("missing: %+v", got.Missing())
	}
	step("erin", Approved, "sec")
}

func TestExpiry(t *testing.T) {
	clock := newClock()
	d := open(t, bucket(t), clock)
	ctx := t.Context()
	pending, approved := hold(t, d, request("p")), hold(t, d, request("a"))
	if _, err := d.Approve(ctx, approved.ID, person("bob", "dba"), ""); err != nil {
		t.Fatal(err)
	}
	clock.advance(15*time.Minute - time.Nanosecond)
	if got, _ := d.Get(ctx, pending.ID); got.State != Pending {
		t.Errorf("just before: %s", got.State)
	}
	clock.advance(time.Nanosecond)
	for _, id := range []string{pending.ID, approved.ID} {
		if got, _ := d.Get(ctx, id); got.State != Expired || got.Resolution == nil {
			t.Errorf("%+v", got)
		}
		_, err := d.Approve(ctx, id, person("carol", "dba"), "")
		wantCode(t, err, CodeExpired)
		_, err = d.Deny(ctx, id, person("carol", "dba"), "")
		wantCode(t, err, CodeExpired)
		_, err = d.Consume(ctx, id)
		wantCode(t, err, CodeExpired)
		_, err = d.Cancel(ctx, id, "")
		wantCode(t, err, CodeExpired)
	}
	if next := hold(t, d, request("a")); next.ID == approved.ID || next.State != Pending {
		t.Errorf("held anew: %+v", next)
	}
}

func TestTTLBounds(t *testing.T) {
	for _, tc := range []struct {
		ttl  []time.Duration
		want time.Duration
	}{
		{[]time.Duration{0}, DefaultTTL}, {[]time.Duration{-1}, DefaultTTL}, {[]time.Duration{0, time.Hour}, time.Hour},
		{[]time.Duration{time.Minute, time.Hour}, time.Minute}, {[]time.Duration{1 << 62}, MaxTTL},
	} {
		var list []Requirement
		for _, d := range tc.ttl {
			list = append(list, Requirement{TTL: d})
		}
		if got := ttl(list); got != tc.want {
			t.Errorf("%v: %v, want %v", tc.ttl, got, tc.want)
		}
	}
}

// A hundred requests over two gateways use an approval once.
func TestConsumeRace(t *testing.T) {
	kv := bucket(t)
	desks := []*Desk{open(t, kv, nil), open(t, kv, nil)}
	for round := range 5 {
		held := hold(t, desks[0], request(fmt.Sprint("d", round)))
		if _, err := desks[1].Approve(t.Context(), held.ID, person("bob", "dba"), ""); err != nil {
			t.Fatal(err)
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				switch _, err := desks[i%2].Consume(t.Context(), held.ID); {
				case err == nil:
					won.Add(1)
				case Code(err) != CodeResolved:
					t.Errorf("consume: %v", err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Fatalf("consumed %d times", won.Load())
		}
	}
}

func TestHoldRace(t *testing.T) {
	kv := bucket(t)
	desks := []*Desk{open(t, kv, nil), open(t, kv, nil)}
	var mu sync.Mutex
	ids := map[string]int{}
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			held, err := desks[i%2].Hold(t.Context(), request("d"))
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			ids[held.ID]++
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(ids) != 1 {
		t.Errorf("one digest has %d tickets", len(ids))
	}
}

// Deciding at once loses nobody's approval, and a denial wins or comes too late.
func TestApproveRace(t *testing.T) {
	d := open(t, bucket(t), nil)
	held := hold(t, d, request("d", Requirement{ID: "many", From: []string{"any"}, Count: 20}))
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if _, err := d.Approve(t.Context(), held.ID, person(fmt.Sprint("p", i)), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	got, err := d.Get(t.Context(), held.ID)
	if err != nil || got.State != Approved || len(got.Approvals) != 20 {
		t.Fatalf("%+v, %v", got, err)
	}
	denied, err := d.Deny(t.Context(), held.ID, person("late"), "changed my mind")
	if err != nil || denied.State != Denied || denied.Resolution.By.ID != "late" || denied.Resolution.Reason != "changed my mind" {
		t.Errorf("%+v, %v", denied, err)
	}
}

func TestWait(t *testing.T) {
	kv, clock := bucket(t), newClock()
	here, there := open(t, kv, clock), open(t, kv, clock)
	type result struct {
		t   *Ticket
		err error
	}
	wait := func(ctx context.Context, id string) <-chan result {
		c := make(chan result, 1)
		go func() {
			got, err := here.Wait(ctx, id)
			c <- result{got, err}
		}()
		return c
	}
	// Decided on another gateway.
	for i, decide := range []func(id string) (*Ticket, error){
		func(id string) (*Ticket, error) { return there.Approve(t.Context(), id, person("bob", "dba"), "") },
		func(id string) (*Ticket, error) { return there.Deny(t.Context(), id, person("bob", "dba"), "") },
		func(id string) (*Ticket, error) { return there.Cancel(t.Context(), id, "gone") },
	} {
		held := hold(t, here, request(fmt.Sprint("d", i)))
		c := wait(t.Context(), held.ID)
		want, err := decide(held.ID)
		if err != nil {
			t.Fatal(err)
		}
		if got := <-c; got.err != nil || got.t.State != want.State {
			t.Errorf("%+v, want %s", got, want.State)
		}
		if got := <-wait(t.Context(), held.ID); got.t.State != want.State {
			t.Errorf("decided before: %+v", got)
		}
	}
	// The agent hangs up.
	held := hold(t, here, request("hangup"))
	ctx, cancel := context.WithCancel(t.Context())
	c := wait(ctx, held.ID)
	cancel()
	if got := <-c; !errors.Is(got.err, context.Canceled) {
		t.Errorf("%+v", got)
	}
	// Time runs out.
	c = wait(t.Context(), held.ID)
	for {
		clock.advance(time.Minute)
		select {
		case got := <-c:
			if got.err != nil || got.t.State != Expired {
				t.Errorf("%+v", got)
			}
		case <-time.After(time.Millisecond):
			continue
		}
		break
	}
	if got := <-wait(t.Context(), newID()); Code(got.err) != CodeNotFound {
		t.Errorf("%+v", got)
	}
	here.mu.Lock()
	defer here.mu.Unlock()
	if len(here.waiters) != 0 {
		t.Errorf("%d waiters are left", len(here.waiters))
	}
}

func TestCloseEndsWaits(t *testing.T) {
	d, err := Open(t.Context(), Options{KV: bucket(t)})
	if err != nil {
		t.Fatal(err)
	}
	held := hold(t, d, request("d"))
	c := make(chan error, 1)
	go func() {
		_, err := d.Wait(context.Background(), held.ID)
		c <- err
	}()
	d.Close()
	wantCode(t, <-c, CodeUnavailable)
}

// The server goes away and comes back: waits go on, and the local copy is true.
func TestReconnect(t *testing.T) {
	dir := t.TempDir()
	srv, kv := restartable(t, dir, server.RANDOM_PORT)
	d := open(t, kv, nil)
	held := hold(t, d, request("d"))
	c := make(chan *Ticket, 1)
	go func() {
		got, err := d.Wait(context.Background(), held.ID)
		if err != nil {
			t.Error(err)
		}
		c <- got
	}()
	for { // until it waits
		d.mu.Lock()
		n := len(d.waiters)
		d.mu.Unlock()
		if n == 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	port := srv.Addr().(*net.TCPAddr).Port
	srv.Shutdown()
	srv.WaitForShutdown()
	_, other := restartable(t, dir, port)
	there := open(t, other, nil)
	if _, err := there.Approve(t.Context(), held.ID, person("bob", "dba"), ""); err != nil {
		t.Fatal(err)
	}
	if got := <-c; got == nil || got.State != Approved {
		t.Errorf("%+v", got)
	}
	for len(d.List(Filter{States: []State{Approved}})) != 1 {
		select {
		case <-t.Context().Done():
			t.Fatal("the local copy stays behind")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestListAndSubscribe(t *testing.T) {
	kv, clock := bucket(t), newClock()
	here, there := open(t, kv, clock), open(t, kv, clock)
	events := make(chan string, 100)
	cancel := here.Subscribe(func(t *Ticket) { events <- t.Digest + " " + string(t.State) })
	want := func(list ...string) {
		t.Helper()
		for _, w := range list {
			if got := <-events; got != w {
				t.Errorf("event %q, want %q", got, w)
			}
		}
	}
	var ids []string
	for i, target := range []string{"orders", "billing", "orders"} {
		ticket := request(fmt.Sprint("d", i))
		ticket.Target.Name = target
		ids = append(ids, hold(t, there, ticket).ID)
		clock.advance(time.Second)
	}
	want("d0 pending", "d1 pending", "d2 pending")
	if _, err := there.Approve(t.Context(), ids[2], person("bob", "dba"), ""); err != nil {
		t.Fatal(err)
	}
	want("d2 approved")
	render := func(f Filter) string {
		var list []string
		for _, t := range here.List(f) {
			list = append(list, t.Digest)
		}
		return strings.Join(list, " ")
	}
	for _, tc := range []struct {
		f    Filter
		want string
	}{
		{Filter{}, "d0 d1 d2"},
		{Filter{Target: "orders"}, "d0 d2"},
		{Filter{States: []State{Pending}}, "d0 d1"},
		{Filter{States: []State{Pending}, Target: "orders"}, "d0"},
		{Filter{States: []State{Approved, Denied}}, "d2"},
		{Filter{Limit: 1}, "d2"},
		{Filter{States: []State{Expired}}, ""},
	} {
		if got := render(tc.f); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.f, got, tc.want)
		}
	}
	clock.advance(time.Hour)
	if got := render(Filter{States: []State{Expired}}); got != "d0 d1 d2" {
		t.Errorf("after their time: %q", got)
	}
	cancel()
	// A desk that opens later sees what is there.
	if late := open(t, kv, clock); len(late.List(Filter{})) != 3 {
		t.Errorf("opened later: %d", len(late.List(Filter{})))
	}
}

func TestHoldRefuses(t *testing.T) {
	kv := bucket(t)
	d, err := Open(t.Context(), Options{KV: kv, MaxOpen: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, broken := range []func(*Ticket){
		func(t *Ticket) { t.Digest = "" },
		func(t *Ticket) { t.Subject.ID = "" },
		func(t *Ticket) { t.Requirements = nil },
	} {
		ticket := request("d")
		broken(&ticket)
		_, err := d.Hold(t.Context(), ticket)
		wantCode(t, err, CodeInvalid)
	}
	big := request("big")
	big.Request = json.RawMessage(`"` + strings.Repeat("x", MaxSize) + `"`)
	_, err = d.Hold(t.Context(), big)
	wantCode(t, err, CodeTooLarge)

	seen := make(chan struct{}, 10)
	defer d.Subscribe(func(*Ticket) { seen <- struct{}{} })()
	var last *Ticket
	for i := range 3 {
		last = hold(t, d, request(fmt.Sprint("d", i)))
		<-seen
	}
	_, err = d.Hold(t.Context(), request("one more"))
	wantCode(t, err, CodeTooMany)
	other := request("of somebody else")
	other.Actor = nil
	hold(t, d, other)
	<-seen
	if _, err := d.Cancel(t.Context(), last.ID, ""); err != nil {
		t.Fatal(err)
	}
	<-seen
	hold(t, d, request("one more"))
}

func TestNotFound(t *testing.T) {
	d := open(t, bucket(t), nil)
	for _, id := range []string{"", "ap-", "ap-zzzz", "../x", "ap-0123456789abcde>", newID()} {
		_, err := d.Get(t.Context(), id)
		wantCode(t, err, CodeNotFound)
		_, err = d.Consume(t.Context(), id)
		wantCode(t, err, CodeNotFound)
	}
	_, err := d.Find(t.Context(), "nothing")
	wantCode(t, err, CodeNotFound)
}

// What this version does not understand is not acted upon.
func TestStrictDecode(t *testing.T) {
	kv := bucket(t)
	d := open(t, kv, nil)
	held := hold(t, d, request("d"))
	raw, err := json.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		"", "{}", "null", strings.Replace(string(raw), `"digest"`, `"only_on":"tuesdays","digest"`, 1),
		strings.Replace(string(raw), held.ID, newID(), 1),
	} {
		if _, err := kv.Put(t.Context(), ticketKey(held.ID), []byte(bad)); err != nil {
			t.Fatal(err)
		}
		_, err := d.Get(t.Context(), held.ID)
		wantCode(t, err, CodeUnavailable)
		_, err = d.Approve(t.Context(), held.ID, person("bob", "dba"), "")
		wantCode(t, err, CodeUnavailable)
		_, err = d.Hold(t.Context(), request("d"))
		wantCode(t, err, CodeUnavailable)
	}
}
