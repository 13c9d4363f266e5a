package state

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/sirupsen/logrus"
)

// restartEvery is how long a failed embedded server waits between attempts to
// come back.
const restartEvery = time.Second

// startWithin bounds the recovery of the store at start. A large journal is
// read once to check it.
const startWithin = 2 * time.Minute

// maxStore takes the place of the server's own limit, a share of the free disk
// at start, against which the full size of every stream is reserved: a journal
// that is larger than today's free space would not open.
const maxStore = 1 << 50

// embedded runs a nats-server in this process. The server switches JetStream
// off for good when the disk is full, and a store that failed a write stays
// failed; so a watch starts a new server in its place once there is room
// again. The client's connection finds it by InProcessConn.
type embedded struct {
	opts Options
	log  logrus.FieldLogger

	mu     sync.Mutex
	srv    *server.Server
	failed error // why JetStream is off, nil while it runs
	closed bool

	done chan struct{}
	wg   sync.WaitGroup
}

func startEmbedded(opts Options, log logrus.FieldLogger) (*embedded, error) {
	e := &embedded{opts: opts, log: log, done: make(chan struct{})}
	srv, err := e.start()
	if err != nil {
		return nil, err
	}
	e.srv = srv
	e.wg.Go(e.watch)
	return e, nil
}

func (e *embedded) start() (*server.Server, error) {
	srv, err := server.NewServer(&server.Options{
		ServerName:             "regate",
		DontListen:             true,
		JetStream:              true,
		StoreDir:               filepath.Join(e.opts.Dir, "nats"),
		MaxPayload:             e.opts.MaxPayload,
		NoSigs:                 true,
		JetStreamMaxStore:      maxStore,
		SyncAlways:             e.opts.Sync == SyncAlways,
		SyncInterval:           syncEvery,
		DisableJetStreamBanner: true,
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	srv.SetLoggerV2(serverLog{e.log.WithField("component", "nats")}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startWithin) {
		srv.Shutdown()
		return nil, errors.New("embedded NATS did not start")
	}
	if !srv.JetStreamEnabled() {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded NATS: JetStream did not start on %s", e.opts.Dir)
	}
	return srv, nil
}

// InProcessConn implements nats.InProcessConnProvider.
func (e *embedded) InProcessConn() (net.Conn, error) {
	e.mu.Lock()
	srv := e.srv
	e.mu.Unlock()
	if srv == nil {
		return nil, errors.New("embedded NATS is down")
	}
	return srv.InProcessConn()
}

func (e *embedded) healthy() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failed == nil && e.srv != nil && !e.srv.JetStreamEnabled() {
		return errOff
	}
	return e.failed
}

var errOff = errors.New("embedded JetStream is off: its disk is full or broken")

// storeError returns why a server cannot store any more. A stream that failed
// one write refuses all that follow, and nothing but a new server helps.
func storeError(srv *server.Server) error {
	if srv == nil || !srv.JetStreamEnabled() {
		return errOff
	}
	for _, e := range srv.Healthz(&server.HealthzOptions{Details: true}).Errors {
		if e.Type == server.HealthzErrorStream && strings.Contains(e.Error, "write error") {
			return errors.New(e.Error)
		}
	}
	return nil
}

func (e *embedded) watch() {
	tick := time.NewTicker(restartEvery)
	defer tick.Stop()
	for {
		select {
		case <-e.done:
			return
		case <-tick.C:
		}
		e.revive()
	}
}

// revive replaces a server that cannot store any more. It waits until there is
// room for the largest message, or the new one would fail at once.
func (e *embedded) revive() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return
	}
	err := storeError(e.srv)
	if err == nil {
		return
	}
	if e.failed == nil {
		e.log.WithError(err).Error("the state store failed; it is started again when there is room")
	}
	e.failed = err
	if free, err := FreeBytes(e.opts.Dir); err != nil || free < int64(e.opts.MaxPayload) {
		return
	}
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
		e.srv = nil
	}
	srv, err := e.start()
	if err != nil {
		e.failed = err
		e.log.WithError(err).Error("the state store did not start again")
		return
	}
	e.srv, e.failed = srv, nil
	e.log.Warn("the state store is started again")
}

func (e *embedded) stop(ctx context.Context) error {
	close(e.done)
	e.wg.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.closed = true
	if e.srv == nil {
		return nil
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}()
	select {
	case <-stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop embedded NATS: %w", ctx.Err())
	}
}

// serverLog passes the server's warnings and errors on. Its notices describe
// its own start and stop, which say nothing to an operator of regate.
type serverLog struct{ log logrus.FieldLogger }

func (l serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }
func (l serverLog) Warnf(format string, v ...any)   { l.log.Warnf(format, v...) }
func (l serverLog) Fatalf(format string, v ...any)  { l.log.Errorf(format, v...) }
func (l serverLog) Errorf(format string, v ...any)  { l.log.Errorf(format, v...) }
func (l serverLog) Debugf(format string, v ...any)  { l.log.Debugf(format, v...) }
func (l serverLog) Tracef(format string, v ...any)  { l.log.Debugf(format, v...) }
