package body

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxEvent bounds one server-sent event, in bytes.
const maxEvent = 8 << 20

// ErrEvent is returned for an event that is too large to be masked.
var ErrEvent = errors.New("an event is larger than can be masked")

// Event is one server-sent event, as its lines.
type Event struct {
	Raw   []byte // with its line ends and the empty line
	Data  []byte // of all data lines, joined by line feeds
	lines int    // of data
}

// EventReader splits a stream into events. Lines end in LF, CR LF or CR.
type EventReader struct {
	r    *bufio.Reader
	raw  []byte
	data []byte
	cr   bool // the last line ended in a CR: an LF that follows is of the same end
}

// NewEventReader returns a reader of in.
func NewEventReader(in io.Reader) *EventReader {
	return &EventReader{r: bufio.NewReaderSize(in, chunk)}
}

// Next returns the next event, which is valid until the next call. At the end
// it returns io.EOF, with the event that the stream broke off in, if any: a
// reader of events drops that one.
func (e *EventReader) Next() (Event, error) {
	e.raw, e.data = e.raw[:0], e.data[:0]
	lines := 0
	for {
		start := len(e.raw)
		if err := e.line(); err != nil {
			return Event{Raw: e.raw, Data: e.data, lines: lines}, err
		}
		line := bytes.TrimPrefix(bytes.TrimRight(e.raw[start:], "\r\n"), []byte("\n"))
		if start == 0 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) == 0 {
			return Event{Raw: e.raw, Data: e.data, lines: lines}, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(name) != "data" {
			continue
		}
		if lines > 0 {
			e.data = append(e.data, '\n')
		}
		e.data = append(e.data, bytes.TrimPrefix(value, []byte(" "))...)
		lines++
	}
}

// line appends one line with its end to raw.
func (e *EventReader) line() error {
	for {
		c, err := e.r.ReadByte()
		if err != nil {
			return err
		}
		if c == '\n' && e.cr {
			// A CR has ended the line at once; this LF of its CR LF came later, and
			// stands before the next line.
			e.cr = false
			e.raw = append(e.raw, c)
			continue
		}
		e.cr = false
		e.raw = append(e.raw, c)
		switch {
		case len(e.raw) > maxEvent:
			return ErrEvent
		case c == '\n':
			return nil
		case c == '\r':
			// A CR alone ends a line, too. Whether an LF follows may not be known
			// yet: what is there is looked at, nothing is waited for.
			e.cr = true
			if e.r.Buffered() > 0 {
				if next, err := e.r.Peek(1); err == nil && next[0] == '\n' {
					_, _ = e.r.Discard(1)
					e.raw = append(e.raw, '\n')
					e.cr = false
				}
			}
			return nil
		}
	}
}

// Events masks server-sent events one by one. done is called after each.
func (r *Rules) Events(in io.Reader, write func([]byte) error, done func() error) error {
	events := NewEventReader(in)
	carry := newCarry(r)
	for {
		e, err := events.Next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if errors.Is(err, io.EOF) {
			// What is held of texts that were told in pieces comes first; an
			// event that broke off is dropped, as its reader would.
			if err := carry.flush(write); err != nil {
				return err
			}
			return done()
		}
		if err := carry.event(e, write); err != nil {
			return err
		}
		if err := done(); err != nil {
			return err
		}
	}
}

// mask returns data masked; changed tells whether it is another than before.
func (r *Rules) data(data []byte) (out []byte, changed bool, err error) {
	if isJSON(data) {
		err = r.JSON(bytes.NewReader(data), func(p []byte) error {
			out = append(out, p...)
			return nil
		}, func() error { return nil })
		return out, !bytes.Equal(out, data), err
	}
	if r.Fields() && len(data) > 0 && string(data) != "[DONE]" {
		// It has no members that a field could name.
		return []byte("[REDACTED]"), true, nil
	}
	if r.rest.Detect == nil {
		return data, false, nil
	}
	out, changed = r.keyring.Text(nil, data, r.rest.Detect, r.rest.DetectSpec)
	return out, changed, nil
}

func isJSON(data []byte) bool {
	text := bytes.TrimLeft(data, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[' && string(text) != "[DONE]" || text[0] == '"')
}

// Rewrite returns an event with other data.
func Rewrite(e Event, data []byte) []byte {
	out := make([]byte, 0, len(e.Raw)+len(data))
	written := false
	for line := range lines(e.Raw) {
		text := bytes.TrimRight(line, "\r\n")
		name, _, _ := bytes.Cut(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")), []byte(":"))
		if string(name) != "data" || len(text) == 0 {
			out = append(out, line...)
			continue
		}
		if written {
			continue
		}
		written = true
		for part := range bytes.SplitSeq(data, []byte("\n")) {
			out = append(append(append(out, "data: "...), bytes.ReplaceAll(part, []byte("\r"), nil)...), '\n')
		}
	}
	return out
}

// lines splits at LF, CR LF and CR, and keeps the ends.
func lines(raw []byte) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(raw) > 0 {
			n := bytes.IndexAny(raw, "\r\n") + 1
			if n == 0 {
				n = len(raw)
			} else if raw[n-1] == '\r' && n < len(raw) && raw[n] == '\n' {
				n++
			}
			if !yield(raw[:n]) {
				return
			}
			raw = raw[n:]
		}
	}
}
