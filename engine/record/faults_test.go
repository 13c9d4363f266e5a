package record

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// faultyNATS is a real server that can be restarted, and connections to it
// that can be cut.
type faultyNATS struct {
	t   testing.TB
	dir string

	mu  sync.Mutex
	srv *server.Server
}

func startNATS(t testing.TB, dir string) *faultyNATS {
	f := &faultyNATS{t: t, dir: dir}
	f.start()
	t.Cleanup(f.stop)
	return f
}

func (f *faultyNATS) start() {
	srv, err := server.NewServer(&server.Options{
		ServerName: "test", DontListen: true, JetStream: true, StoreDir: f.dir, MaxPayload: 8 << 20, NoSigs: true, NoLog: true, JetStreamMaxStore: 1 << 40,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	srv.Start()
	if !srv.ReadyForConnections(30*time.Second) || !srv.JetStreamEnabled() {
		f.t.Fatal("no server")
	}
	f.mu.Lock()
	f.srv = srv
	f.mu.Unlock()
}

func (f *faultyNATS) stop() {
	f.mu.Lock()
	srv := f.srv
	f.srv = nil
	f.mu.Unlock()
	if srv != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
	}
}

// line is one client's way to the server.
type line struct {
	nats *faultyNATS
	// every is how many bytes pass, on average, before the connection is cut.
	// 0: never.
	every atomic.Int64

	mu   sync.Mutex
	conn net.Conn
}

// InProcessConn implements nats.InProcessConnProvider.
func (l *line) InProcessConn() (net.Conn, error) {
	l.nats.mu.Lock()
	srv := l.nats.srv
	l.nats.mu.Unlock()
	if srv == nil {
		return nil, errors.New("the server is down")
	}
	conn, err := srv.InProcessConn()
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	l.conn = conn
	l.mu.Unlock()
	c := &cutConn{Conn: conn}
	if every := l.every.Load(); every > 0 {
		c.limited = true
		c.left.Store(every/2 + rand.Int64N(every))
	}
	return c, nil
}

func (l *line) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.conn.Close()
}

// cutConn breaks after a number of bytes, in the middle of whatever they were.
type cutConn struct {
	net.Conn
	limited bool
	left    atomic.Int64
}

var errCut = errors.New("cut")

func (c *cutConn) Write(p []byte) (int, error) {
	if c.limited {
		left := c.left.Add(-int64(len(p)))
		if left < 0 {
			n, _ := c.Conn.Write(p[:max(0, int64(len(p))+left)])
			_ = c.Conn.Close()
			return n, errCut
		}
	}
	return c.Conn.Write(p)
}

func (c *cutConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	// Answers are short: they count for more, so that some are lost too.
	if c.limited && c.left.Add(-16*int64(n)) < 0 {
		_ = c.Conn.Close()
		return 0, errCut
	}
	return n, err
}

func (f *faultyNATS) connect(t testing.TB) (*line, jetstream.JetStream) {
	t.Helper()
	l := &line{nats: f}
	nc, err := nats.Connect("", nats.InProcessServer(l), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(5*time.Millisecond), nats.ReconnectJitter(0, 0), nats.NoCallbacksAfterClientClose(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return l, js
}
