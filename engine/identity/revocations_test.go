package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
)

// broker is a real NATS server with JetStream in this process, which a test
// can stop and start again on the same port and store.
type broker struct {
	t    *testing.T
	opts server.Options
	srv  *server.Server
}

func newBroker(t *testing.T) *broker {
	t.Helper()
	b := &broker{t: t, opts: server.Options{JetStream: true, StoreDir: t.TempDir(), Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true}}
	b.start()
	addr, ok := b.srv.Addr().(*net.TCPAddr)
	if !ok {
		t.Fatal("no port")
	}
	b.opts.Port = addr.Port
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

// bucket connects and opens the bucket.
func (b *broker) bucket() jetstream.KeyValue {
	b.t.Helper()
	nc, err := nats.Connect(b.srv.ClientURL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		b.t.Fatal(err)
	}
	kv, err := js.CreateOrUpdateKeyValue(b.t.Context(), jetstream.KeyValueConfig{Bucket: "revocations", History: 1, Storage: jetstream.FileStorage})
	if err != nil {
		b.t.Fatal(err)
	}
	return kv
}

func revocations(t *testing.T, kv jetstream.KeyValue, c *clock) *identity.Revocations {
	t.Helper()
	r, err := identity.OpenRevocations(t.Context(), kv, c.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// eventually waits for what another goroutine will do soon.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 3000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("it did not happen: %s", what)
}

func who(issuedAt time.Time) *identity.Identity {
	return &identity.Identity{
		Subject: input.Principal{ID: "alice", Issuer: "https://id.example", ClientID: "app"},
		Actor:   &input.Principal{ID: "bot-7", Issuer: "https://id.example", ClientID: "runner"},
		TokenID: "jti-1", IssuedAt: issuedAt, ExpiresAt: issuedAt.Add(time.Hour),
	}
}

func TestRevocationsMatch(t *testing.T) {
	c := newClock()
	kv := newBroker(t).bucket()
	r := revocations(t, kv, c)
	now := c.Now()
	before, after := now.Add(-time.Minute), now.Add(2*time.Second)
	for name, tc := range map[string]struct {
		rev    identity.Revocation
		issued time.Time
		target string
		want   bool
	}{
		"token":                            {identity.Revocation{Kind: "token", Value: "jti-1"}, before, "db", true},
		"token, whenever issued":           {identity.Revocation{Kind: "token", Value: "jti-1"}, after, "db", true},
		"another token":                    {identity.Revocation{Kind: "token", Value: "jti-2"}, before, "db", false},
		"token of the issuer":              {identity.Revocation{Kind: "token", Value: "jti-1", Issuer: "https://id.example"}, before, "db", true},
		"token of another issuer":          {identity.Revocation{Kind: "token", Value: "jti-1", Issuer: "https://other.example"}, before, "db", false},
		"subject":                          {identity.Revocation{Kind: "subject", Value: "alice"}, before, "db", true},
		"subject, token issued later":      {identity.Revocation{Kind: "subject", Value: "alice"}, after, "db", false},
		"subject, token without iat":       {identity.Revocation{Kind: "subject", Value: "alice"}, time.Time{}, "db", true},
		"subject, same second":             {identity.Revocation{Kind: "subject", Value: "alice"}, now.Truncate(time.Second), "db", true},
		"subject of another issuer":        {identity.Revocation{Kind: "subject", Value: "alice", Issuer: "https://other.example"}, before, "db", false},
		"actor as subject":                 {identity.Revocation{Kind: "subject", Value: "bot-7"}, before, "db", true},
		"client":                           {identity.Revocation{Kind: "client", Value: "app"}, before, "db", true},
		"client, token issued later":       {identity.Revocation{Kind: "client", Value: "app"}, after, "db", false},
		"actor's client":                   {identity.Revocation{Kind: "client", Value: "runner"}, before, "db", true},
		"a subject's name as client":       {identity.Revocation{Kind: "client", Value: "alice"}, before, "db", false},
		"target":                           {identity.Revocation{Kind: "target", Value: "db"}, after, "db", true},
		"another target":                   {identity.Revocation{Kind: "target", Value: "db2"}, after, "db", false},
		"expires later":                    {identity.Revocation{Kind: "token", Value: "jti-1", ExpiresAt: now.Add(time.Minute)}, before, "db", true},
		"has expired":                      {identity.Revocation{Kind: "token", Value: "jti-1", ExpiresAt: now.Add(-time.Minute)}, before, "db", false},
		"subject with odd characters":      {identity.Revocation{Kind: "subject", Value: "a b*>.\u00e9/"}, before, "db", false},
		"a long reason from an odd author": {identity.Revocation{Kind: "token", Value: "jti-1", Reason: strings.Repeat("x", 2000), By: "ü"}, before, "db", true},
	} {
		t.Run(name, func(t *testing.T) {
			if err := r.Add(t.Context(), tc.rev); err != nil {
				t.Fatal(err)
			}
			key := tc.rev.Key()
			if tc.rev.ExpiresAt.IsZero() || tc.rev.ExpiresAt.After(now) {
				eventually(t, "the revocation is listed", func() bool { return len(r.List()) == 1 && r.List()[0].Key() == key })
			}
			got := r.Match(who(tc.issued), tc.target)
			if (got != nil) != tc.want {
				t.Errorf("matched %+v, want %v", got, tc.want)
			}
			if err := r.Remove(t.Context(), key); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the revocation is gone", func() bool { return len(r.List()) == 0 && r.Match(who(tc.issued), tc.target) == nil })
		})
	}
	if r.Match(nil, "db") != nil {
		t.Error("nobody is revoked")
	}
}

func TestRevocationsAreChecked(t *testing.T) {
	c := newClock()
	r := revocations(t, newBroker(t).bucket(), c)
	for _, rev := range []identity.Revocation{
		{}, {Kind: "token"}, {Kind: "user", Value: "x"}, {Kind: "target", Value: "x", Issuer: "y"}, {Kind: "token", Value: strings.Repeat("x", 3000)},
	} {
		if err := r.Add(t.Context(), rev); err == nil {
			t.Errorf("%+v is accepted", rev)
		}
	}
	if err := r.Remove(t.Context(), "token.none"); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("removing nothing: %v", err)
	}
}

func TestRevocationsReachEveryReplica(t *testing.T) {
	c, b := newClock(), newBroker(t)
	one, two := revocations(t, b.bucket(), c), revocations(t, b.bucket(), c)
	var told atomic.Int64
	cancel := two.Subscribe(func() { told.Add(1) })
	for i := range 50 {
		if err := one.Add(t.Context(), identity.Revocation{Kind: identity.RevokeSubject, Value: fmt.Sprintf("s-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the other replica has all", func() bool { return len(two.List()) == 50 })
	calls := told.Load()
	if calls == 0 {
		t.Error("the subscriber was not called")
	}
	if err := two.Healthy(); err != nil {
		t.Error(err)
	}
	cancel()
	// A replica that starts later knows them from the start.
	three := revocations(t, b.bucket(), c)
	if n := len(three.List()); n != 50 {
		t.Errorf("a new replica knows %d", n)
	}
	if err := two.Remove(t.Context(), three.List()[0].Key()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is removed everywhere", func() bool { return len(one.List()) == 49 && len(three.List()) == 49 })
	if told.Load() != calls {
		t.Error("the subscriber was called after cancel")
	}
}

func TestExpiredRevocationsAreSwept(t *testing.T) {
	c := newClock()
	kv := newBroker(t).bucket()
	r := revocations(t, kv, c)
	short := identity.Revocation{Kind: identity.RevokeToken, Value: "short", ExpiresAt: c.Now().Add(time.Minute)}
	if err := r.Add(t.Context(), short); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is listed", func() bool { return len(r.List()) == 1 })
	c.Advance(2 * time.Minute)
	if n := len(r.List()); n != 0 {
		t.Errorf("%d listed after it expired", n)
	}
	if err := r.Add(t.Context(), identity.Revocation{Kind: identity.RevokeToken, Value: "next"}); err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Get(t.Context(), short.Key()); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Errorf("the expired entry is still in the bucket: %v", err)
	}
}

func TestUnreadableRevocationDeniesEverybody(t *testing.T) {
	c := newClock()
	kv := newBroker(t).bucket()
	r := revocations(t, kv, c)
	for key, value := range map[string]string{
		"token.abc":   `not JSON`,
		"subject.abc": `{"kind":"subject","value":"alice","at":"2026-01-01T00:00:00Z"}`, // under another key
	} {
		if _, err := kv.Put(t.Context(), key, []byte(value)); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is unhealthy", func() bool { return r.Healthy() != nil })
		refused(t, r.Healthy(), identity.ReasonRevocationsStale, "")
		if err := r.Remove(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is healthy again", func() bool { return r.Healthy() == nil })
	}
	// A member of a later version does not.
	rev := identity.Revocation{Kind: identity.RevokeToken, Value: "x"}
	if _, err := kv.Put(t.Context(), rev.Key(), []byte(`{"kind":"token","value":"x","at":"2026-01-01T00:00:00Z","later":1}`)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is listed", func() bool { return len(r.List()) == 1 })
	if err := r.Healthy(); err != nil {
		t.Error(err)
	}
}

func TestBrokenWatchIsNoticed(t *testing.T) {
	b := newBroker(t)
	// The watch's health is about real time: the server really stops.
	r, err := identity.OpenRevocations(t.Context(), b.bucket(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Add(t.Context(), identity.Revocation{Kind: identity.RevokeToken, Value: "kept"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it is listed", func() bool { return len(r.List()) == 1 })
	b.stop()
	eventually(t, "it is unhealthy while the server is away", func() bool { return r.Healthy() != nil })
	if len(r.List()) != 1 {
		t.Error("what was known is forgotten")
	}
	b.start()
	eventually(t, "it is healthy again", func() bool { return r.Healthy() == nil })
	other := b.bucket()
	fresh := identity.Revocation{Kind: identity.RevokeTarget, Value: "db", At: time.Now()}
	writer, err := identity.OpenRevocations(t.Context(), other, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if err := writer.Add(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows again", func() bool { return r.Match(nil, "db") != nil })
}

// deaf is a bucket whose watches never give anything after the first load, as
// with a connection that is dead and does not know it.
type deaf struct {
	jetstream.KeyValue
	watches atomic.Int64
}

func (d *deaf) WatchAll(ctx context.Context, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	w, err := d.KeyValue.WatchAll(ctx, opts...)
	if err != nil || d.watches.Add(1) > 1 {
		return w, err
	}
	updates := make(chan jetstream.KeyValueEntry, 1)
	for e := range w.Updates() {
		if e == nil {
			break
		}
	}
	updates <- nil
	return &deafWatcher{KeyWatcher: w, updates: updates}, nil
}

type deafWatcher struct {
	jetstream.KeyWatcher
	updates chan jetstream.KeyValueEntry
}

func (w *deafWatcher) Updates() <-chan jetstream.KeyValueEntry { return w.updates }

func TestSilentWatchIsReplaced(t *testing.T) {
	c := newClock()
	d := &deaf{KeyValue: newBroker(t).bucket()}
	r := revocations(t, d, c)
	var told atomic.Int64
	defer r.Subscribe(func() { told.Add(1) })()
	if err := r.Add(t.Context(), identity.Revocation{Kind: identity.RevokeTarget, Value: "db"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a new watch finds it", func() bool { return r.Match(nil, "db") != nil && told.Load() > 0 })
}

func TestClosedRevocationsAreUnhealthy(t *testing.T) {
	r := revocations(t, newBroker(t).bucket(), newClock())
	r.Close()
	refused(t, r.Healthy(), identity.ReasonRevocationsStale, "")
}

func TestMatchAllocatesNothing(t *testing.T) {
	c := newClock()
	r := revocations(t, newBroker(t).bucket(), c)
	for i := range 100 {
		if err := r.Add(t.Context(), identity.Revocation{Kind: identity.RevokeSubject, Value: fmt.Sprintf("s-%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are listed", func() bool { return len(r.List()) == 100 })
	id := who(c.Now())
	if n := testing.AllocsPerRun(1000, func() {
		if r.Match(id, "db") != nil {
			t.Fatal("matched")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestBucketMadeAnewIsNoticed(t *testing.T) {
	b, c := newBroker(t), newClock()
	r := revocations(t, b.bucket(), c)
	for i := range 5 {
		if err := r.Add(t.Context(), identity.Revocation{Kind: identity.RevokeToken, Value: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all are listed", func() bool { return len(r.List()) == 5 })
	nc, err := nats.Connect(b.srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteKeyValue(t.Context(), "revocations"); err != nil {
		t.Fatal(err)
	}
	fresh := b.bucket()
	rev := identity.Revocation{Kind: identity.RevokeTarget, Value: "db", At: c.Now()}
	raw, err := json.Marshal(rev)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Put(t.Context(), rev.Key(), raw); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it follows the new bucket", func() bool { return r.Match(nil, "db") != nil && len(r.List()) == 1 && r.Healthy() == nil })
}
