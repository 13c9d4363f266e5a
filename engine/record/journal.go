package record

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/sirupsen/logrus"
)

// The journal's stream.
const (
	StreamName    = "REGATE_JOURNAL"
	subjectPrefix = "regate.journal."
)

// What a journal refuses an event with. Each may be wrapped with the cause.
var (
	ErrFull    = errors.New("the journal is full")
	ErrDown    = errors.New("the journal is down")
	ErrClosed  = errors.New("the recording is closed")
	ErrTooLong = errors.New("the event is too long to record")
)

const (
	// frameSize is where a frame counts as full. Larger frames save nothing:
	// at this size the copy of the bytes is what costs.
	frameSize = 512 << 10
	// eagerSize is how much must have gathered for a frame to be published
	// while another is under way. Below it, waiting for the acknowledgement
	// gives fewer, fuller frames, which is what keeps an event cheap.
	eagerSize = 64 << 10
	// maxInFlight bounds the frames that are published and not acknowledged.
	maxInFlight = 3
	// maxPending bounds the bytes that are not acknowledged, so that a slow
	// store holds its writers back and memory stays bounded.
	maxPending = 8 << 20
	// frameOverhead is what the store adds to a frame, in bytes, rounded up.
	frameOverhead = 256
)

// JournalOptions says where events go.
type JournalOptions struct {
	JetStream jetstream.JetStream
	// Log is where events go instead, on this machine's disk: an event costs a
	// fraction of what a JetStream server asks for it. It is the gateway's
	// alone, and outlives the journal.
	Log *Log
	// Gateway names this gateway. No two that run at the same time may share a
	// name: the recorder takes the second for the successor of the first.
	Gateway string
	// Key signs the receipts.
	Key ed25519.PrivateKey
	// MaxBytes bounds the stream, 8 GiB when 0. A full journal refuses events.
	MaxBytes int64
	// Reserve is what only Close and Loss events may use of MaxBytes and of
	// the disk, so that a session can always be closed validly. 64 MiB or an
	// eighth of MaxBytes when 0, whichever is less.
	Reserve int64
	// FreeBytes returns what is left on the disk of the store. Nil: not asked.
	FreeBytes func() (int64, error)
	// Replicas of the stream, 1 when 0.
	Replicas int
	// Timeout is how long a frame may stay unacknowledged, 5 s when 0.
	Timeout time.Duration
	// Version of the gateway, for the recordings.
	Version string
	// Clock is time.Now when nil.
	Clock func() time.Time
	// Logger takes what goes wrong and heals again. Nil discards it.
	Logger logrus.FieldLogger
}

var gatewayName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

func (o *JournalOptions) check() error {
	if (o.JetStream == nil) == (o.Log == nil) {
		return errors.New("either a log or a JetStream client is needed")
	}
	if !gatewayName.MatchString(o.Gateway) {
		return fmt.Errorf("the gateway's name must be 1 to 64 letters, digits, - or _, not %q", o.Gateway)
	}
	if len(o.Key) != ed25519.PrivateKeySize {
		return errors.New("a signing key is needed")
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 8 << 30
	}
	if o.MaxBytes < 1<<20 {
		return fmt.Errorf("the journal needs at least 1 MiB, not %d bytes", o.MaxBytes)
	}
	if o.Reserve == 0 {
		o.Reserve = min(64<<20, o.MaxBytes/8)
	}
	if o.Reserve < 0 || o.Reserve >= o.MaxBytes {
		return fmt.Errorf("a reserve of %d bytes leaves nothing of %d", o.Reserve, o.MaxBytes)
	}
	if o.Replicas == 0 {
		o.Replicas = 1
	}
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		o.Logger = silent
	}
	return nil
}

// Journal takes the events of all sessions of one gateway. It is safe for
// concurrent use.
type Journal struct {
	opts    JournalOptions
	log     logrus.FieldLogger
	nc      *nats.Conn // nil with a local log
	subject string
	epoch   ulid.ULID

	begin  sync.Mutex // held while a session opens
	number uint64     // of sessions opened; guarded by begin

	health atomic.Pointer[error] // nil pointer: healthy

	mu       sync.Mutex
	room     sync.Cond // signalled when pending falls or the state changes
	refusal  error     // why events are refused, nil while they are taken
	full     bool      // refusal is for want of room: Close and Loss are taken
	closed   bool
	current  *frame   // being filled, nil when empty
	ready    []*frame // full, waiting for the publisher
	pending  int      // bytes in current, ready and in flight
	idle     bool     // who stores sleeps and must be woken
	used     int64    // of the stream, with pending
	unasked  int64    // bytes taken since the disk was last looked at
	sessions map[*Writer]struct{}
	spare    []*frame

	pub     *publisher // to JetStream, nil where there is a local log
	commit  *committer // to a local log, nil where there is JetStream
	wake    chan struct{}
	stop    chan struct{}
	stopped sync.WaitGroup
}

// OpenJournal opens the log or the stream and stores the epoch's first frame, by
// which the recorder knows that earlier runs of this gateway have ended.
func OpenJournal(ctx context.Context, opts JournalOptions) (*Journal, error) {
	if err := opts.check(); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	epoch, err := ulid.New(ulid.Timestamp(opts.Clock()), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j := &Journal{
		opts:     opts,
		log:      opts.Logger.WithField("component", "journal"),
		subject:  subjectPrefix + opts.Gateway,
		epoch:    epoch,
		sessions: map[*Writer]struct{}{},
		wake:     make(chan struct{}, 1),
		stop:     make(chan struct{}),
	}
	j.room.L = &j.mu
	if err := j.start(ctx); err != nil {
		return nil, fmt.Errorf("open journal: %w", err)
	}
	j.stopped.Go(j.watch)
	if err := j.hello().Wait(ctx); err != nil {
		_ = j.Close(ctx)
		return nil, fmt.Errorf("open journal: %w", err)
	}
	return j, nil
}

// start begins to store events.
func (j *Journal) start(ctx context.Context) error {
	if j.opts.Log != nil {
		j.used, j.idle = j.opts.Log.Size(), true
		j.commit = newCommitter(j, j.opts.Log)
		j.stopped.Go(j.commit.run)
		return nil
	}
	j.nc = j.opts.JetStream.Conn()
	stream, err := j.ensureStream(ctx)
	if err != nil {
		return err
	}
	j.used = int64(stream.CachedInfo().State.Bytes)
	j.pub = &publisher{}
	if err := j.pub.open(j); err != nil {
		return err
	}
	j.stopped.Go(j.pub.run)
	return nil
}

func (j *Journal) ensureStream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := j.opts.JetStream.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name:        StreamName,
		Description: "regate: events of all sessions, in frames",
		Subjects:    []string{subjectPrefix + ">"},
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardNew, // full is an error, never a silent loss
		MaxBytes:    j.opts.MaxBytes,
		Storage:     jetstream.FileStorage,
		Replicas:    j.opts.Replicas,
		AllowDirect: true,
		DenyDelete:  true,
	})
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", StreamName, err)
	}
	return stream, nil
}

// Gateway returns the gateway's name.
func (j *Journal) Gateway() string { return j.opts.Gateway }

// Epoch returns the ULID of this run.
func (j *Journal) Epoch() ulid.ULID { return j.epoch }

// Healthy returns nil, or why the journal refuses events: ErrFull, ErrDown or
// ErrClosed with the cause. It costs one atomic load.
func (j *Journal) Healthy() error {
	if p := j.health.Load(); p != nil {
		return *p
	}
	return nil
}

// Bytes returns how much the journal holds, and at how much it is full.
func (j *Journal) Bytes() (used, full int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.used, j.opts.MaxBytes
}

// setRefusal changes what events are refused with. The caller holds mu.
func (j *Journal) setRefusal(err error, full bool) {
	j.refusal, j.full = err, full
	if err == nil {
		j.health.Store(nil)
	} else {
		j.health.Store(&err)
	}
	j.room.Broadcast()
}

// Begin opens a session: it appends the open event and returns the session's
// Writer with the event's Ack. The Writer is never nil. Where the journal
// refuses the event, the Writer refuses all others too.
func (j *Journal) Begin(h Header) (*Writer, *Ack) {
	now := j.opts.Clock()
	var id ulid.ULID
	var err error
	if h.ID == "" {
		id, err = ulid.New(ulid.Timestamp(now), rand.Reader)
	} else {
		id, err = ulid.ParseStrict(h.ID)
	}
	w := newWriter(j, id)
	if err != nil {
		w.closed = true
		return w, failedAck(fmt.Errorf("session id %q: %w", h.ID, err))
	}

	j.begin.Lock()
	defer j.begin.Unlock()
	w.number = j.number + 1
	open := Open{Header: h, Gateway: j.opts.Gateway, Epoch: j.epoch, Number: w.number, Version: j.opts.Version}
	j.mu.Lock()
	j.sessions[w] = struct{}{}
	j.mu.Unlock()
	ack := w.Append(KindOpen, open.Encode(nil))
	if w.Events() == 0 { // refused: there is no such session
		j.forget(w)
		w.mu.Lock()
		w.closed = true
		w.mu.Unlock()
		return w, ack
	}
	j.number++
	return w, ack
}

func (j *Journal) forget(w *Writer) {
	j.mu.Lock()
	delete(j.sessions, w)
	j.mu.Unlock()
}

// open sessions, in no order.
func (j *Journal) writers() []*Writer {
	j.mu.Lock()
	defer j.mu.Unlock()
	ws := make([]*Writer, 0, len(j.sessions))
	for w := range j.sessions {
		ws = append(ws, w)
	}
	return ws
}

// Close closes the sessions that are still open, with reason
// "gateway-stopped", waits until everything is stored or the context ends, and
// stops the journal. Events that are not stored by then are failed.
func (j *Journal) Close(ctx context.Context) error {
	var last []*Ack
	for _, w := range j.writers() {
		last = append(last, w.Close("gateway-stopped"))
	}
	var err error
	for _, a := range last {
		// One that was closed before is stored with the rest, below.
		if closeErr := a.Wait(ctx); !errors.Is(closeErr, ErrClosed) {
			err = errors.Join(err, closeErr)
		}
	}
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		j.stopped.Wait()
		return err
	}
	j.closed = true
	if j.refusal == nil {
		j.setRefusal(ErrClosed, false)
	}
	j.mu.Unlock()
	// What was taken before closed was set is still published.
	for !j.drained() && ctx.Err() == nil && j.usable() {
		select {
		case <-ctx.Done():
		case <-time.After(time.Millisecond):
		}
	}
	close(j.stop)
	j.stopped.Wait()
	if err != nil {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

func (j *Journal) drained() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.pending == 0
}

// usable reports whether what is pending can still be stored.
func (j *Journal) usable() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.refusal == nil || j.full || errors.Is(j.refusal, ErrClosed)
}
