package record

import (
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/oklog/ulid/v2"
)

// follower follows the chain of one session, event by event.
type follower struct {
	session ulid.ULID
	key     ed25519.PublicKey // nil: signatures are not checked
	after   map[uint64]Gap    // declared gaps by their last event
	report  func(seq uint64, err error)

	seq    uint64 // of the last event
	events uint64 // read
	head   Hash
	broken bool // the chain cannot be followed any further
	closed *Close
	open   *Open
	losses uint64 // events that are declared lost and are missing
	jumped bool   // a gap was met that is not in after

	// The chain hash before event want, once it is known: for one who goes on
	// from there.
	want     uint64
	wantHead Hash
	wantSeen bool
}

func newFollower(session ulid.ULID, key ed25519.PublicKey, after map[uint64]Gap, report func(uint64, error)) *follower {
	return &follower{session: session, key: key, after: after, report: report, head: genesis(session)}
}

// next takes one event with its canonical bytes.
func (f *follower) next(e Event, encoded []byte) {
	if e.Session != f.session {
		f.report(e.Seq, fmt.Errorf("event of session %s", e.Session))
		return
	}
	if f.closed != nil {
		f.report(e.Seq, fmt.Errorf("%s event after the closing receipt", e.Kind))
		return
	}
	switch {
	case e.Seq == f.seq+1:
	case e.Seq <= f.seq:
		f.report(e.Seq, fmt.Errorf("event %d comes after event %d", e.Seq, f.seq))
		f.broken = true
		return
	default:
		gap, ok := f.after[e.Seq-1]
		if !ok || gap.First > f.seq+1 {
			f.report(e.Seq, fmt.Errorf("events %d to %d are missing", f.seq+1, e.Seq-1))
			f.broken, f.jumped = true, true
		} else {
			f.head = gap.After
			f.losses += e.Seq - 1 - f.seq
		}
	}
	if e.Seq == f.want {
		f.wantHead, f.wantSeen = f.head, true
	}
	if e.Prev != f.head.check() && !f.broken {
		f.report(e.Seq, fmt.Errorf("it does not follow from event %d: that one was changed, or this one", f.seq))
		f.broken = true
	}
	f.events++
	before := f.head
	f.seq, f.head = e.Seq, chain(f.head, encoded)
	switch e.Kind {
	case KindOpen:
		open, err := DecodeOpen(e.Body)
		if err != nil {
			f.report(e.Seq, err)
		} else if e.Seq != 1 {
			f.report(e.Seq, errors.New("the session is opened again"))
		}
		f.open = &open
	case KindClose:
		receipt, err := DecodeClose(e.Body)
		if err != nil {
			f.report(e.Seq, err)
			return
		}
		f.closed = &receipt
		if f.broken {
			// The chain says nothing any more, but the signature still does.
			before = receipt.Head
		}
		if err := receipt.Check(e, before, f.key); err != nil {
			f.report(e.Seq, fmt.Errorf("closing receipt: %w", err))
		}
		if o := f.open; o != nil && (o.Gateway != receipt.Gateway || o.Epoch != receipt.Epoch || o.Number != receipt.Number) {
			f.report(e.Seq, errors.New("closing receipt: for a session that was opened elsewhere"))
		}
	case KindLoss:
		if _, err := DecodeLoss(e.Body); err != nil {
			f.report(e.Seq, err)
		}
	}
}

// eventSource opens a session's events from the start. It may be called more
// than once.
type eventSource func() (next func() (Event, []byte, error), done func() error, err error)

// follow follows a session's chain from its first event to its last. A gap is
// declared by an event that comes after it, so where one is met the events are
// read twice: once for the declarations. An error of reading is reported like
// any other, with the place of the last event before it.
func follow(session ulid.ULID, key ed25519.PublicKey, want uint64, open eventSource, report func(uint64, error)) *follower {
	type problem struct {
		seq uint64
		err error
	}
	var problems []problem
	f := newFollower(session, key, nil, func(seq uint64, err error) { problems = append(problems, problem{seq, err}) })
	f.want = want
	gaps := map[uint64]Gap{}
	readAll(f, open, gaps)
	if f.jumped && len(gaps) > 0 {
		problems = problems[:0]
		f = newFollower(session, key, gaps, f.report)
		f.want = want
		readAll(f, open, nil)
	}
	if f.seq+1 == want && !f.wantSeen {
		f.wantHead, f.wantSeen = f.head, true
	}
	for _, p := range problems {
		report(p.seq, p.err)
	}
	return f
}

func readAll(f *follower, open eventSource, gaps map[uint64]Gap) {
	next, done, err := open()
	if err != nil {
		f.report(f.seq, err)
		return
	}
	for {
		e, encoded, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			f.report(f.seq, fmt.Errorf("after event %d: %w", f.seq, err))
			break
		}
		if e.Kind == KindLoss && gaps != nil {
			if loss, err := DecodeLoss(e.Body); err == nil {
				for _, g := range loss.Gaps {
					gaps[g.Last] = g
				}
			}
		}
		f.next(e, encoded)
	}
	if err := done(); err != nil {
		f.report(f.seq, err)
	}
}

func hashOf(b []byte) Hash { return sha256.Sum256(b) }
