package record

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/sirupsen/logrus"
	"gocloud.dev/blob"
)

const (
	// consumerPrefix begins the names of recorders' durable consumers. The
	// journal is emptied up to the point that all of them have reached.
	consumerPrefix = "recorder-"
	// instanceKey is where a consumer's metadata names the spool it belongs to.
	instanceKey = "regate.spool"
	// batchBytes bounds the frames that are taken at a time, and so memory.
	batchBytes = 8 << 20
	// batchWait is how long a batch gathers. It bounds how soon a session can
	// be searched.
	batchWait = 250 * time.Millisecond
	// retryEvery is the pause after a failure of disk, index or archive.
	retryEvery = 500 * time.Millisecond
	// syncEvery is how often the spool is brought to the disk and the journal
	// acknowledged. Until then the journal has everything, too. A JetStream
	// consumer delivers again after AckWait, which is longer.
	syncEvery = 2 * time.Second
	// purgeEvery is the least time between two purges of the journal.
	purgeEvery = 2 * time.Second
)

// RecorderOptions says where recordings go.
type RecorderOptions struct {
	JetStream jetstream.JetStream
	// Log is the journal instead, as for JournalOptions.
	Log *Log
	// Name of this recorder, "main" when empty. Two recorders with different
	// names both archive everything and arrive at the same files; each needs a
	// Dir of its own.
	Name string
	// Dir is the spool: sessions that are not archived yet. It is locked.
	Dir    string
	Bucket *blob.Bucket
	// Settle, where it is not nil, makes an object that was written to Bucket
	// durable. It is called before the spool forgets the session: stores whose
	// Close does not promise that need it, as a folder does.
	Settle func(key string) error
	Index  *Index
	// Key signs the receipts of sessions whose gateway died.
	Key ed25519.PrivateKey
	// Retention says when recordings are deleted; the zero value keeps them.
	Retention Retention
	// Takeover lets the recorder go on although its consumer belongs to another
	// spool, which is lost with the sessions that were live in it.
	Takeover bool
	// Logger takes what goes wrong. Nil discards it.
	Logger logrus.FieldLogger
}

// Recorder reads the journal and writes the archive and the index. An event is
// acknowledged to the journal when it is on the recorder's disk, and removed
// from there when the archive has it.
type Recorder struct {
	opts         RecorderOptions
	log          logrus.FieldLogger
	lock         *os.File
	feed         feed // owned by run, like what follows
	live         map[ulid.ULID]*session
	epochs       map[string]ulid.ULID // the newest of each gateway
	frames       map[ulid.ULID]uint64 // the last frame of each epoch
	touched      map[*session]struct{}
	rows         []*seqDecision
	events       []rawEvent        // of the frame that is being taken
	late         map[string][]byte // raw frames with events of sessions that had ended
	purged       uint64
	acknowledged uint64 // place in the journal up to which it was acknowledged
	syncAt       time.Time
	unsynced     map[*session]struct{} // written, and not yet brought to the disk
	purgeAt      time.Time

	uploads chan *session
	settled chan *session
	done    chan struct{}
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	failure atomic.Pointer[error]
	reached atomic.Uint64 // place in the journal up to which everything is in spool and index
	waiting atomic.Int64  // sessions that have ended and are not archived
}

// session is one that is not archived yet.
type session struct {
	*spoolFile
	tally   *tally
	ended   bool
	queued  bool
	gapAt   int64 // where an undeclared gap begins, in bytes; -1 for none
	gapSeq  uint64
	pending map[uint64]bool // last events of gaps that are not declared yet
}

// OpenRecorder starts a recorder. ErrLocked is returned where another has Dir.
func OpenRecorder(ctx context.Context, opts RecorderOptions) (*Recorder, error) {
	if opts.Name == "" {
		opts.Name = "main"
	}
	if opts.Logger == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		opts.Logger = silent
	}
	r := &Recorder{
		opts: opts, log: opts.Logger.WithField("component", "recorder"),
		live: map[ulid.ULID]*session{}, epochs: map[string]ulid.ULID{}, frames: map[ulid.ULID]uint64{},
		touched: map[*session]struct{}{}, unsynced: map[*session]struct{}{}, late: map[string][]byte{},
		uploads: make(chan *session, 1<<16), settled: make(chan *session, 1<<16), done: make(chan struct{}),
	}
	if err := r.open(ctx); err != nil {
		if r.feed != nil {
			r.feed.close()
		}
		if r.lock != nil {
			_ = r.lock.Close()
		}
		return nil, fmt.Errorf("open recorder: %w", err)
	}
	ctx, r.cancel = context.WithCancel(context.Background())
	r.wg.Go(func() { r.run(ctx) })
	r.wg.Go(func() { r.upload(ctx) })
	if !opts.Retention.none() {
		r.wg.Go(func() { r.sweep(ctx) })
	}
	return r, nil
}

func (r *Recorder) open(ctx context.Context) error {
	switch {
	case !gatewayName.MatchString(r.opts.Name):
		return fmt.Errorf("its name must be 1 to 64 letters, digits, - or _, not %q", r.opts.Name)
	case (r.opts.JetStream == nil) == (r.opts.Log == nil) || r.opts.Bucket == nil || r.opts.Index == nil || r.opts.Dir == "":
		return errors.New("a log or JetStream, a directory, a bucket and an index are needed")
	case len(r.opts.Key) != ed25519.PrivateKeySize:
		return errors.New("a signing key is needed")
	}
	if err := os.MkdirAll(spoolDir(r.opts.Dir), 0o700); err != nil {
		return err
	}
	var err error
	if r.lock, err = lockSpool(r.opts.Dir); err != nil {
		return err
	}
	if err := r.openFeed(ctx); err != nil {
		return err
	}
	r.acknowledged = r.feed.position()
	r.reached.Store(r.acknowledged)
	return r.loadSpool()
}

func (r *Recorder) openFeed(ctx context.Context) error {
	instance, err := spoolInstance(r.opts.Dir)
	if err != nil {
		return err
	}
	if r.opts.Log != nil {
		feed, err := newLogFeed(r.opts.Log, consumerPrefix+r.opts.Name, instance, r.opts.Takeover)
		if err != nil {
			return err
		}
		r.feed = feed
		return nil
	}
	feed, err := newStreamFeed(ctx, r.opts.JetStream, r.opts.Name, instance, r.opts.Takeover, r.log)
	if err != nil {
		return err
	}
	r.feed = feed
	return nil
}

// spoolInstance returns the spool's own name, made once.
func spoolInstance(dir string) (string, error) {
	path := filepath.Join(dir, "instance")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := rand.Text()
		return id, writeFile(path, []byte(id+"\n"), 0o600)
	}
	return strings.TrimSpace(string(raw)), err
}

// loadSpool finds the sessions that an earlier run left behind.
func (r *Recorder) loadSpool() error {
	files, err := listSpool(r.opts.Dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		s := newSession(f)
		if err := f.load(s.take); err != nil {
			return err
		}
		r.live[f.session] = s
		r.touched[s] = struct{}{}
		if r.epochs[f.gateway].Compare(f.epoch) < 0 {
			r.epochs[f.gateway] = f.epoch
		}
	}
	return nil
}

func newSession(f *spoolFile) *session {
	return &session{spoolFile: f, tally: newTally(f.session.String()), gapAt: -1, pending: map[uint64]bool{}}
}

// take notes what an event changes in the session's state; load and add call
// it for every event once, in order.
func (s *session) take(e Event, _ []byte) {
	s.tally.add(e)
	s.follow(e, s.size)
}

// follow keeps track of gaps. at is where the event begins in the file.
func (s *session) follow(e Event, at int64) {
	switch e.Kind {
	case KindLoss:
		if loss, err := DecodeLoss(e.Body); err == nil {
			for _, g := range loss.Gaps {
				delete(s.pending, g.Last)
			}
			if len(s.pending) == 0 {
				s.gapAt = -1
			}
		}
	case KindClose:
		s.ended = true
	}
}

// Healthy returns nil, or why recordings do not reach the archive.
func (r *Recorder) Healthy() error {
	if p := r.failure.Load(); p != nil {
		return *p
	}
	return nil
}

// Waiting returns how many sessions have ended and are not in the archive yet.
func (r *Recorder) Waiting() int64 { return r.waiting.Load() }

func (r *Recorder) setFailure(err error) {
	if err == nil {
		if r.failure.Swap(nil) != nil {
			r.log.Info("the recorder goes on")
		}
		return
	}
	if r.failure.Swap(&err) == nil {
		r.log.WithError(err).Error("the recorder waits; the journal keeps what it cannot take")
	}
}

// Flush waits until everything that is in the journal now is in the index, and
// sessions that have ended are in the archive.
func (r *Recorder) Flush(ctx context.Context) error {
	var last uint64
	for known := false; !known || r.reached.Load() < last || r.waiting.Load() > 0; {
		var err error
		if !known {
			if last, err = r.feed.last(ctx); err == nil {
				known = true
				continue
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("flush recorder: %w", errors.Join(ctx.Err(), err, r.Healthy()))
		case <-r.done:
			return errors.New("flush recorder: it is closed")
		case <-time.After(5 * time.Millisecond):
		}
	}
	return nil
}

// Close stops the recorder. What it has not taken stays in the journal.
func (r *Recorder) Close(ctx context.Context) error {
	r.cancel()
	stopped := make(chan struct{})
	go func() {
		r.wg.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		return fmt.Errorf("close recorder: %w", ctx.Err())
	}
	select {
	case <-r.done:
		return nil
	default:
		close(r.done)
		return r.lock.Close()
	}
}
