package state

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/sirupsen/logrus"
)

// State is an open connection to JetStream, and the embedded server behind it
// where there is one.
type State struct {
	opts Options
	log  logrus.FieldLogger
	nc   *nats.Conn
	js   jetstream.JetStream

	embedded *embedded // nil with a cluster
	lock     *os.File

	closeOnce sync.Once
	closeErr  error
}

// Open starts the embedded server or connects to the cluster, and returns when
// JetStream answers. ErrLocked is returned where another process holds Dir.
func Open(ctx context.Context, opts Options) (*State, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("open state: %w", err)
	}
	s := &State{opts: opts, log: opts.Logger}
	if s.log == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		s.log = silent
	}
	if err := s.open(ctx); err != nil {
		_ = s.Close(context.Background())
		return nil, fmt.Errorf("open state: %w", err)
	}
	return s, nil
}

func (s *State) open(ctx context.Context) error {
	options := []nats.Option{
		nats.Name("regate"),
		nats.MaxReconnects(-1),
		nats.ReconnectBufSize(-1), // a publish while disconnected fails; it never waits in a buffer
		nats.NoCallbacksAfterClientClose(),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.log.WithError(err).Warn("NATS connection")
		}),
	}
	url := s.opts.URL
	if url == "" {
		if err := os.MkdirAll(s.opts.Dir, 0o700); err != nil {
			return err
		}
		var err error
		if s.lock, err = lockDir(s.opts.Dir); err != nil {
			return err
		}
		if s.embedded, err = startEmbedded(s.opts, s.log); err != nil {
			return err
		}
		options = append(options,
			nats.InProcessServer(s.embedded),
			nats.ReconnectWait(50*time.Millisecond),
			nats.ReconnectJitter(0, 0),
		)
	} else if s.opts.CredentialsFile != "" {
		options = append(options, nats.UserCredentials(s.opts.CredentialsFile))
	}

	var err error
	if s.nc, err = nats.Connect(url, options...); err != nil {
		return fmt.Errorf("connect to NATS: %w", err)
	}
	if s.nc.MaxPayload() < int64(s.opts.MaxPayload) {
		return fmt.Errorf("the NATS server takes messages of %d bytes, %d are needed: raise its max_payload",
			s.nc.MaxPayload(), s.opts.MaxPayload)
	}
	if s.js, err = jetstream.New(s.nc); err != nil {
		return err
	}
	return s.Healthy(ctx)
}

// JetStream returns the client. It is safe for concurrent use.
func (s *State) JetStream() jetstream.JetStream { return s.js }

// Healthy asks JetStream for its account and returns why it does not answer.
func (s *State) Healthy(ctx context.Context) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
	}
	if s.embedded != nil {
		if err := s.embedded.healthy(); err != nil {
			return err
		}
	}
	if _, err := s.js.AccountInfo(ctx); err != nil {
		return fmt.Errorf("JetStream: %w", err)
	}
	return nil
}

// FreeBytes returns the space left for the embedded store. A cluster looks
// after its own: there it returns the largest int64.
func (s *State) FreeBytes() (int64, error) {
	if s.embedded == nil {
		return 1<<63 - 1, nil
	}
	return FreeBytes(s.opts.Dir)
}

// Close ends the connection and the embedded server, and releases the
// directory. It may be called more than once.
func (s *State) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		if s.nc != nil {
			s.nc.Close()
		}
		if s.embedded != nil {
			s.closeErr = s.embedded.stop(ctx)
		}
		if s.lock != nil {
			s.closeErr = errors.Join(s.closeErr, s.lock.Close())
		}
	})
	return s.closeErr
}
