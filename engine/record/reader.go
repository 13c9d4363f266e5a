package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// EventReader reads events that lie one after the other. It holds one event
// in memory at a time.
type EventReader struct {
	r      *bufio.Reader
	buf    []byte
	offset int64
}

// NewEventReader reads from r.
func NewEventReader(r io.Reader) *EventReader {
	return &EventReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// maxEventHead is more than the head of any event takes, in bytes: 1 for the
// array, 17 for the session, 9 each for number, check and time, 2 for the kind and 5
// for the body's length.
const maxEventHead = 64

// Next returns the next event and its canonical bytes, both valid until the
// next call, and io.EOF after the last. io.ErrUnexpectedEOF says that the
// input ends inside an event.
func (r *EventReader) Next() (Event, []byte, error) {
	peek, err := r.r.Peek(maxEventHead)
	if len(peek) == 0 {
		if errors.Is(err, io.EOF) {
			return Event{}, nil, io.EOF
		}
		return Event{}, nil, err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return Event{}, nil, err
	}
	c := cursor{buf: peek}
	c.array(6)
	var session [16]byte
	c.fixed(session[:])
	c.uint()
	var prev Check
	c.fixed(prev[:])
	c.int()
	c.uint()
	n := c.head(majorBytes)
	if c.err != nil || n > MaxBody {
		if len(peek) < maxEventHead && c.off >= len(peek) {
			return Event{}, nil, fmt.Errorf("at byte %d: %w", r.offset, io.ErrUnexpectedEOF)
		}
		return Event{}, nil, fmt.Errorf("at byte %d: event: %w", r.offset, errFormat)
	}
	total := c.off + int(n)
	if cap(r.buf) < total {
		r.buf = make([]byte, max(total, 4<<10))
	}
	r.buf = r.buf[:total]
	if _, err := io.ReadFull(r.r, r.buf); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return Event{}, nil, fmt.Errorf("at byte %d: %w", r.offset, err)
	}
	e, _, err := DecodeEvent(r.buf)
	if err != nil {
		return Event{}, nil, fmt.Errorf("at byte %d: %w", r.offset, err)
	}
	r.offset += int64(total)
	return e, r.buf, nil
}

// Offset returns how many bytes the events read so far take.
func (r *EventReader) Offset() int64 { return r.offset }
