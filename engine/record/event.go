package record

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
)

// Limits of one event. An event lives in memory whole; a caller splits what is
// longer.
const (
	MaxBody  = 4 << 20   // bytes of a body
	MaxChunk = 256 << 10 // bytes of a Chunk's data
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// Check is the first bytes of a chain hash.
type Check [8]byte

func (h Hash) check() Check { return Check(h[:8]) }

// Event is one event of a session.
type Event struct {
	Session ulid.ULID
	Seq     uint64 // from 1, without gaps but those that a Loss declares
	Prev    Check  // of the chain hash before it: shows where a chain breaks
	Time    int64  // Unix time in nanoseconds, by the gateway's clock
	Kind    Kind
	Body    []byte // encoded by the kind's type
}

// At returns the event's time in UTC.
func (e Event) At() time.Time { return time.Unix(0, e.Time).UTC() }

// appendEventHead appends all of an event but the bytes of its body.
func appendEventHead(dst []byte, session ulid.ULID, seq uint64, prev Check, at int64, kind Kind, bodyLen int) []byte {
	dst = appendArray(dst, 6)
	dst = appendBytes(dst, session[:])
	dst = appendUint(dst, seq)
	dst = appendBytes(dst, prev[:])
	dst = appendInt(dst, at)
	dst = appendUint(dst, uint64(kind))
	return appendHead(dst, majorBytes, uint64(bodyLen))
}

// Encode appends the event's canonical bytes: what is hashed, journalled and
// archived.
func (e Event) Encode(dst []byte) []byte {
	return append(appendEventHead(dst, e.Session, e.Seq, e.Prev, e.Time, e.Kind, len(e.Body)), e.Body...)
}

// DecodeEvent reads the event at the start of p and returns how many bytes it
// took. Body is a slice of p.
func DecodeEvent(p []byte) (Event, int, error) {
	c := cursor{buf: p}
	e := c.event()
	if c.err != nil {
		return Event{}, 0, fmt.Errorf("event: %w", c.err)
	}
	return e, c.off, nil
}

func (c *cursor) event() Event {
	var e Event
	c.array(6)
	c.fixed(e.Session[:])
	e.Seq = c.uint()
	c.fixed(e.Prev[:])
	e.Time = c.int()
	kind := c.uint()
	if kind == 0 || kind > 255 || e.Seq == 0 {
		c.fail()
	}
	e.Kind = Kind(kind)
	e.Body = c.bytes()
	if len(e.Body) > MaxBody {
		c.fail()
	}
	return e
}

// chain returns the hash of a session after an event: the SHA-256 over the
// hash before it and the event's canonical bytes. Before the first event it is
// the genesis hash.
func chain(prev Hash, encoded []byte) Hash {
	var room [1 << 10]byte
	if len(prev)+len(encoded) <= len(room) {
		// In one go: the hasher's own way to a sum allocates.
		return sha256.Sum256(append(append(room[:0], prev[:]...), encoded...))
	}
	h := sha256.New()
	h.Write(prev[:])
	h.Write(encoded)
	var sum Hash
	h.Sum(sum[:0])
	return sum
}

// genesis is the hash of a session before its first event. It binds the chain
// to the format and to the session.
func genesis(session ulid.ULID) Hash {
	return sha256.Sum256(append([]byte("regate.session/1\x00"), session[:]...))
}
