package postgres

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/upstream"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// Waiting times of a session.
const (
	// idleAfter is how long a session waits for the agent before it also
	// listens to the target for notifications and the end of the connection.
	idleAfter = 200 * time.Millisecond
	// patience is how long a read of the target may take before the session
	// looks whether the agent is still there and shows it what there is.
	patience = 250 * time.Millisecond
	// lull is how long a result may pause before what came of it is released.
	lull = 5 * time.Millisecond
	// lastWords bounds the writing of a final error to an agent that may not read.
	lastWords = 2 * time.Second
	// maxDrain is how much of what such an agent goes on sending is read, in
	// bytes.
	maxDrain = 64 << 20
	// cutAfter is how long a target has to react to a cancel before a session
	// that must end is cut.
	cutAfter = 500 * time.Millisecond
	// expiredGrace is how long an idle session outlives its token, so that the
	// next statement gets a clear error instead of a closed connection.
	expiredGrace = 2 * time.Minute
)

// activity says what a cancel request would hit.
type activity int

const (
	idle    activity = iota // nothing: a cancel is ignored, as by PostgreSQL
	holding                 // a statement waits for approval
	running                 // the target is at work
)

// session serves one agent's connection. All fields are the serving
// goroutine's own, but for those below mu.
type session struct {
	srv     *Server
	target  *target
	catalog *catalog.Manager
	gate    *engine.Session
	log     logrus.FieldLogger

	client net.Conn
	cr     *wire.Reader
	up     *upstream.Conn
	ur     *wire.Reader

	ctx   context.Context
	uncut context.Context // ctx, but for its end
	stop  context.CancelFunc

	// What the target holds for this session.
	tx         byte // of the last ReadyForQuery: I, T or E
	skip       bool // an extended message failed: everything up to Sync is dropped
	open       bool // extended messages were forwarded since the last Sync
	role       string
	statements map[string]*statement
	portals    map[string]*portal
	truth      truth
	snapshot   *catalog.Snapshot
	failName   string // a prepared statement that never exists

	batch    []message            // extended messages up to Sync or Flush
	arena    []byte               // their bytes
	overlay  overlay              // what they do to statements and portals
	changing bool                 // a statement of the batch at hand changes what later names mean
	later    []*analyze.Statement // of the query at hand, behind the one that is decided
	source   string               // the whole text of the statement that is decided
	ending   bool                 // a statement of the batch or query at hand ends a transaction that has changed settings
	forward  []byte               // what goes to the target next
	expect   queue                // the answers that are owed

	veiled  *turn // of the open transaction: masks were in its reach
	listens *turn // why notifications may come: the last LISTEN, or what may have done it unseen

	// What goes to the agent next.
	out      []byte
	recorded int // out[:recorded] is in the journal
	releases []engine.Release
	flights  []flight
	outRows  int64
	plans    planCache
	// swallow: the agent was told that a statement failed which the target
	// has completed; what follows up to ReadyForQuery is not shown.
	swallow bool
	early   []byte // the first message of a COPY's data, when it came with the COPY itself
	cut     bool   // a write to the agent has failed

	clientDeadline, upstreamDeadline time.Time

	watch   *clientWatch // reads ahead from the agent while the target takes its time
	opaque  bool         // a statement since the last ReadyForQuery may have done anything
	carried bool         // an opaque statement may have put anything into the session's settings
	cancels sync.Mutex   // held while a cancel request of the session's own is on its way to the target

	late atomic.Bool // a time limit has passed in this exchange

	mu         sync.Mutex
	doing      activity
	cancelHold context.CancelFunc

	// Of the goroutine that decides: the context of its holds.
	holdCtx    context.Context
	holdCancel context.CancelFunc
}

// statement is a prepared statement, made by Parse or by PREPARE.
type statement struct {
	name   string
	text   string
	source string             // the text that PREPARE was part of, "" for one made by Parse
	types  []uint32           // parameter types, as far as they are known
	parsed *analyze.Statement // nil for an empty query
	at     version            // what parsed is good for
	told   bool               // the target was asked for types
	fixed  bool               // a cursor's query: what it reads was settled by DECLARE
}

// portal is a bound statement or a cursor.
type portal struct {
	name      string
	statement *statement
	bound     *analyze.Statement // as the target read it at Bind
	doubt     bool               // whether it did is not known
	values    []byte             // the Bind message, kept until it is decided
	turn      *turn
	described bool
	fields    []byte // the RowDescription of what Execute sends
	record    bool   // the agent was not shown fields for this portal
	cursor    bool   // made by DECLARE
	hold      bool
}

// run serves the session until either side ends it.
func (s *session) run() (reason string) {
	go s.watchEnd()
	for {
		message, err := s.nextFromClient()
		if err != nil {
			return s.farewell(err)
		}
		if err := s.handle(message); err != nil {
			return s.farewell(err)
		}
		if why := s.gate.Ended(); why != nil && len(s.batch) == 0 {
			return s.farewell(why)
		}
	}
}

var (
	zeroTime time.Time         // no deadline
	longAgo  = time.Unix(1, 0) // a deadline that wakes whoever waits
)

// errTerminated is the agent's own goodbye, errTargetEnded the target's, which
// the agent has been shown.
var (
	errTerminated  = errors.New("terminated by the agent")
	errTargetEnded = errors.New("the target ended the session")
)

// fatal is an error that the agent is told of before the connection closes.
type fatal struct{ report wire.Report }

func (f *fatal) Error() string { return f.report.Message }

// farewell ends the connection for err and says why in one word.
func (s *session) farewell(err error) string {
	var last *fatal
	var denial *engine.Denial
	var large *wire.TooLargeError
	var framing *wire.FramingError
	var report wire.Report
	switch {
	case errors.Is(err, errTerminated):
		_, _ = s.up.Write([]byte{'X', 0, 0, 0, 4})
		return "terminated"
	case errors.Is(err, errTargetEnded):
		s.lastWords(nil)
		return "target-ended"
	case s.gate.Ended() != nil:
		denial = s.gate.Ended()
		report = denialReport(denial, true)
	case errors.As(err, &last):
		report = last.report
	case errors.As(err, &denial):
		report = denialReport(denial, true)
	case errors.As(err, &large):
		report = wire.Report{Severity: "FATAL", Code: "54000", Message: "message too large: " + large.Error(), Detail: "reason: " + ReasonMessageTooLarge, Hint: "Send less in one message, or raise postgres.max_message_bytes."}
	case errors.As(err, &framing):
		report = wire.Report{Severity: "FATAL", Code: "08P01", Message: framing.Error(), Detail: "reason: " + ReasonProtocol}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		s.log.WithError(err).Debug("connection closed")
		return "disconnected"
	default:
		s.log.WithError(err).Info("session ended by an error")
		report = wire.Report{Severity: "FATAL", Code: "08006", Message: "the connection to the target was lost", Detail: "reason: " + ReasonTargetLost, Hint: "Connect again."}
	}
	s.lastWords(wire.AppendError(nil, report))
	if denial != nil {
		return denial.Reason()
	}
	return report.Code
}

// lastWords gives the agent a moment to read what ends the connection. A close
// with unread input makes a TCP stack throw away what was written before it.
func (s *session) lastWords(message []byte) {
	_ = s.up.Close() // what the target still does for the agent ends now
	_ = s.client.SetDeadline(time.Now().Add(lastWords))
	if !s.cut && len(message) > 0 {
		if _, err := s.client.Write(message); err != nil {
			return
		}
	}
	if half, ok := s.client.(interface{ CloseWrite() error }); !ok || half.CloseWrite() != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, s.client, maxDrain)
}

// show writes to the agent.
func (s *session) show(data []byte) error {
	_, err := s.client.Write(data)
	if err != nil {
		s.cut = true // perhaps in the middle of a message
	}
	return err
}

// watchEnd acts when the session must end: it cancels what runs and wakes the
// serving goroutine.
func (s *session) watchEnd() {
	select {
	case <-s.ctx.Done():
		return
	case <-s.gate.Done():
	}
	why := s.gate.Ended()
	s.mu.Lock()
	doing, cancelHold := s.doing, s.cancelHold
	s.mu.Unlock()
	switch doing {
	case holding:
		cancelHold()
		return
	case running:
		if why.Reason() == engine.ReasonDraining {
			return // it may finish; Server.Shutdown has the last word
		}
		s.cancelTarget()
		// A target that does not react must not keep the agent connected.
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(cutAfter):
		}
	case idle:
		if why.Reason() == engine.ReasonExpired {
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(expiredGrace):
			}
		}
	}
	s.stop()
	_ = s.client.SetDeadline(longAgo)
	_ = s.up.SetDeadline(longAgo)
}

func (s *session) cancelTarget() {
	ctx, done := context.WithTimeout(context.WithoutCancel(s.ctx), 5*time.Second)
	defer done()
	if err := s.up.Cancel(ctx); err != nil {
		s.log.WithError(err).Warn("the target could not be told to cancel")
	}
}

// cancel carries out a cancel request of the agent's.
func (s *session) cancel() {
	s.mu.Lock()
	doing, cancelHold := s.doing, s.cancelHold
	s.mu.Unlock()
	switch doing {
	case holding:
		cancelHold()
	case running:
		s.cancelTarget()
	}
}

func (s *session) setDoing(a activity) {
	s.mu.Lock()
	s.doing = a
	s.mu.Unlock()
}

// nextFromClient waits for the agent's next message. After a while it also
// listens to the target.
func (s *session) nextFromClient() ([]byte, error) {
	for {
		if s.cr.Ready() {
			return s.cr.Next()
		}
		if now := time.Now(); s.clientDeadline.Sub(now) < idleAfter/2 {
			s.clientDeadline = now.Add(idleAfter)
			if err := s.client.SetReadDeadline(s.clientDeadline); err != nil {
				return nil, err
			}
		}
		message, err := s.cr.Next()
		if err == nil {
			return message, nil
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, err
		}
		s.clientDeadline = time.Time{}
		if s.ctx.Err() != nil {
			return nil, s.ctx.Err()
		}
		if len(s.batch) > 0 || s.expect.len() > 0 {
			continue // in the middle of a batch: its answers are read in turn
		}
		if err := s.idle(); err != nil {
			return nil, err
		}
	}
}

// idle waits for the agent and the target at once. It returns nil when the
// agent has sent something.
func (s *session) idle() error {
	s.cr.Shrink()
	s.ur.Shrink()
	if cap(s.out) > 64<<10 {
		s.out = nil
	}
	if cap(s.forward) > 64<<10 {
		s.forward = nil
	}
	if err := s.up.SetReadDeadline(zeroTime); err != nil {
		return err
	}
	s.upstreamDeadline = time.Time{}
	heard := make(chan error, 1)
	go func() { heard <- s.hear() }()
	err := s.client.SetReadDeadline(zeroTime)
	if err == nil {
		if s.ctx.Err() != nil { // the deadline that should wake us came before
			err = s.ctx.Err()
		} else {
			err = s.cr.Fill(0)
		}
	}
	s.clientDeadline = time.Time{}
	_ = s.up.SetReadDeadline(longAgo)
	fromTarget := <-heard
	if err != nil {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if fromTarget != nil {
			return fromTarget
		}
		return err
	}
	return fromTarget
}

// hear relays what the target says unasked. When the target goes away it wakes
// the goroutine that waits for the agent.
func (s *session) hear() error {
	for {
		message, err := s.ur.Next()
		if err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return nil
			}
			_ = s.client.SetReadDeadline(longAgo)
			return err
		}
		if err := s.async(message); err != nil {
			_ = s.client.SetReadDeadline(longAgo)
			return err
		}
		if err := s.flush(); err != nil {
			_ = s.client.SetReadDeadline(longAgo)
			return err
		}
	}
}

// handle acts on one message of the agent's.
func (s *session) handle(message []byte) error {
	if why := s.gate.Ended(); why != nil {
		return why
	}
	switch typ := message[0]; typ {
	case 'Q':
		if err := s.runBatch('H', true); err != nil {
			return err
		}
		return s.query(message)
	case 'P', 'B', 'D', 'E', 'C':
		return s.collect(message)
	case 'S', 'H':
		return s.runBatch(typ, false)
	case 'F':
		if err := s.runBatch('H', true); err != nil {
			return err
		}
		return s.functionCall(message)
	case 'X':
		return errTerminated
	case 'd', 'c', 'f':
		// Data for a COPY that is in the batch, or of one that has failed: the
		// target ignores that, too.
		if len(s.batch) == 0 || s.skip {
			return nil
		}
		s.early = bytes.Clone(message)
		err := s.runBatch('H', true)
		s.early = nil
		return err
	default:
		return &fatal{wire.Report{Severity: "FATAL", Code: "08P01", Message: "invalid frontend message type " + quoteByte(typ), Detail: "reason: " + ReasonProtocol}}
	}
}

func quoteByte(b byte) string {
	const hex = "0123456789abcdef"
	if b > ' ' && b < 0x7f {
		return "'" + string(rune(b)) + "'"
	}
	return "0x" + string([]byte{hex[b>>4], hex[b&15]})
}
