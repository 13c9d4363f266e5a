package record

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"slices"
	"sync"

	"github.com/oklog/ulid/v2"
)

// maxParts bounds the parts that a Writer remembers having written. When it is
// reached they are forgotten, and written again under a new index when they
// are next used.
const maxParts = 4096

// Writer appends the events of one session. It is safe for concurrent use;
// events get their order from the order of the calls.
type Writer struct {
	j      *Journal
	id     ulid.ULID
	number uint64

	mu     sync.Mutex
	seq    uint64
	head   Hash
	closed bool

	parts     map[Hash]uint32
	lastPart  uint32
	staleTurn bool // a part was lost: the next request would refer to nothing

	gaps     []Gap
	declared []declaration // Loss events that may not be stored yet
	refused  uint64
	reason   string // of gaps and refused

	closing     *Ack // a Close that waits for the journal to come back
	receipt     *Ack // of the last try to do that Close
	closeReason string

	hasher  hash.Hash
	scratch []byte // an event's head
	encoded []byte // a part's body
}

func newWriter(j *Journal, id ulid.ULID) *Writer {
	return &Writer{j: j, id: id, head: genesis(id), hasher: sha256.New(), scratch: make([]byte, 0, 64)}
}

// ID returns the session's ULID.
func (w *Writer) ID() ulid.ULID { return w.id }

// Events returns how many events the session has so far.
func (w *Writer) Events() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seq
}

// Intern returns the index of a part, and writes it into the session the first
// time. Nothing is kept of canonicalJSON. Where the journal refuses the part,
// the request that refers to it is refused too.
func (w *Writer) Intern(digest [32]byte, canonicalJSON []byte) uint32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, ok := w.parts[digest]; ok {
		return i
	}
	if w.parts == nil || len(w.parts) >= maxParts {
		w.parts = make(map[Hash]uint32, 16)
	}
	w.lastPart++
	index := w.lastPart
	w.encoded = Part{Index: index, Digest: digest, JSON: canonicalJSON}.Encode(w.encoded[:0])
	if _, err := w.append(KindPart, w.encoded); err != nil {
		w.staleTurn = true
		return index
	}
	w.parts[digest] = index
	if cap(w.encoded) > 64<<10 {
		w.encoded = nil
	}
	return index
}

// Append adds an event. The body is copied. The returned Ack is never nil; it
// is settled when the event is stored, or at once when it is refused: with
// ErrClosed, ErrTooLong, or what Journal.Healthy returns. Append blocks only
// while the journal has too much to store already.
func (w *Writer) Append(kind Kind, body []byte) *Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	ack, err := w.append(kind, body)
	if err != nil {
		return failedAck(err)
	}
	return ack
}

func (w *Writer) append(kind Kind, body []byte) (*Ack, error) {
	if w.closed {
		return nil, ErrClosed
	}
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%s event of %d bytes: %w", kind, len(body), ErrTooLong)
	}
	if w.lossy() {
		// Not before the journal takes events again: a full one would take
		// the loss event, and another for every event that is tried.
		err := w.j.Healthy()
		if err == nil {
			err = w.declare()
		}
		if err != nil {
			w.refuse(err)
			return nil, err
		}
	}
	if w.staleTurn && (kind == KindRequest || kind == KindDecision) {
		w.staleTurn = false
		err := fmt.Errorf("%w: it lost a part that this %s refers to", ErrDown, kind)
		w.refuse(err)
		return nil, err
	}
	ack, err := w.put(kind, body, w.j.opts.Clock().UnixNano())
	if err != nil {
		w.refuse(err)
	}
	return ack, err
}

// smallBody is up to where a body is copied to be hashed, in bytes.
const smallBody = 4 << 10

// put encodes, chains and hands over one event.
func (w *Writer) put(kind Kind, body []byte, at int64) (*Ack, error) {
	seq := w.seq + 1
	// The chain hash is over the one before, the head and the body.
	w.scratch = append(w.scratch[:0], w.head[:]...)
	w.scratch = appendEventHead(w.scratch, w.id, seq, w.head.check(), at, kind, len(body))
	head := len(w.scratch)
	var next Hash
	if len(body) <= smallBody {
		// In one go: the hasher's own way to a sum allocates.
		w.scratch = append(w.scratch, body...)
		next = sha256.Sum256(w.scratch)
	} else {
		w.hasher.Reset()
		w.hasher.Write(w.scratch)
		w.hasher.Write(body)
		w.hasher.Sum(next[:0])
	}
	ack, err := w.j.add(w, seq, next, w.scratch[len(w.head):head], body, kind)
	if err != nil {
		return nil, err
	}
	w.seq, w.head = seq, next
	return ack, nil
}

// refuse counts an event that got no number. The first of a session counts for
// nothing: there is no session to declare it in.
func (w *Writer) refuse(cause error) {
	if w.seq == 0 {
		return
	}
	w.refused++
	w.note(cause)
}

func (w *Writer) note(cause error) {
	if w.reason == "" && cause != nil {
		w.reason = cause.Error()
	}
}

func (w *Writer) lossy() bool { return w.refused > 0 || len(w.gaps) > 0 }

// declare writes what was lost into the session.
func (w *Writer) declare() error {
	loss := Loss{Refused: w.refused, Reason: w.reason, Gaps: w.gaps}
	for _, g := range w.gaps {
		loss.Count += g.Last - g.First + 1
	}
	ack, err := w.put(KindLoss, loss.Encode(nil), w.j.opts.Clock().UnixNano())
	if err != nil {
		return err
	}
	w.declared = append(slices.DeleteFunc(w.declared, declaration.stored), declaration{w.seq, loss, ack})
	w.refused, w.gaps, w.reason = 0, nil, ""
	return nil
}

// declaration is a Loss event that may itself be lost: until it is stored,
// what it declares is not declared.
type declaration struct {
	seq  uint64
	loss Loss
	ack  *Ack
}

func (d declaration) stored() bool {
	done, err := d.ack.Ready()
	return done && err == nil
}

// takeBack makes the losses of a declaration that was lost be declared again.
func (w *Writer) takeBack(seq uint64) {
	i := slices.IndexFunc(w.declared, func(d declaration) bool { return d.seq == seq })
	if i < 0 {
		return
	}
	d := w.declared[i]
	w.declared = slices.Delete(w.declared, i, i+1)
	w.refused += d.loss.Refused
	w.gaps = append(w.gaps, d.loss.Gaps...)
	slices.SortFunc(w.gaps, func(a, b Gap) int { return cmp.Compare(a.First, b.First) })
}

// lost notes that an event was not stored, as far as the journal knows.
func (w *Writer) lost(seq uint64, after Hash, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.takeBack(seq)
	if n := len(w.gaps); n > 0 && w.gaps[n-1].Last+1 == seq {
		w.gaps[n-1].Last, w.gaps[n-1].After = seq, after
	} else {
		w.gaps = append(w.gaps, Gap{First: seq, Last: seq, After: after})
	}
	w.note(cause)
	if w.parts != nil {
		w.parts, w.staleTurn = nil, true
	}
	if w.closed && seq == w.seq && w.closing == nil { // its Close is lost: another must follow
		w.closing = newAck()
	}
}

// recovered declares losses and does a Close that had to wait. The journal
// calls it when it takes events again.
func (w *Writer) recovered() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing == nil {
		if !w.closed && w.lossy() {
			_ = w.declare() // refused again: it stays to be declared
		}
		return
	}
	if w.receipt != nil {
		if done, err := w.receipt.Ready(); !done || err == nil {
			return // under way, or just stored
		}
	}
	receipt, err := w.close(w.closeReason)
	if err != nil {
		return // down again; the next recovery comes back here
	}
	w.receipt = receipt
	waiting := w.closing
	go func() {
		<-receipt.done
		w.mu.Lock()
		defer w.mu.Unlock()
		// Where the receipt is lost too, the next recovery comes back here.
		if receipt.err == nil && w.closing == waiting {
			w.closing = nil
			waiting.settle(nil)
		}
	}()
}

// ended ends a Close that waits: nothing more of the session is stored.
func (w *Writer) ended(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing != nil {
		w.closing.settle(err)
		w.closing = nil
	}
	w.closed = true
}

// Close ends the session with a signed receipt. While the journal is down the
// Close waits for it; while the journal is full it uses the reserve. A second
// Close returns ErrClosed.
func (w *Writer) Close(reason string) *Ack {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return failedAck(ErrClosed)
	}
	ack, err := w.close(reason)
	switch {
	case err == nil:
		return ack
	case errors.Is(err, ErrClosed):
		w.closed = true
		return failedAck(err)
	}
	w.closed = true
	w.closing, w.closeReason = newAck(), reason
	return w.closing
}

func (w *Writer) close(reason string) (*Ack, error) {
	if w.lossy() {
		if err := w.declare(); err != nil {
			return nil, err
		}
	}
	at := w.j.opts.Clock().UnixNano()
	receipt := Close{
		Reason: reason, Events: w.seq + 1, Head: w.head, Time: at,
		Gateway: w.j.opts.Gateway, Epoch: w.j.epoch, Number: w.number,
	}
	receipt.sign(w.id, w.j.opts.Key)
	ack, err := w.put(KindClose, receipt.Encode(nil), at)
	if err != nil {
		return nil, err
	}
	w.closed, w.closeReason = true, reason
	w.parts = nil
	return ack, nil
}
