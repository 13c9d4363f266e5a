package record

import (
	"crypto/sha256"
	"fmt"

	"github.com/oklog/ulid/v2"
)

// FrameFormat is the first element of every frame: the format and its version.
const FrameFormat = "regate.frame/1"

// MaxFrame bounds an encoded frame, in bytes. It fits state.DefaultMaxPayload.
const MaxFrame = MaxBody + (1 << 20) + (64 << 10)

// maxFrameEvents bounds the events of one frame.
const maxFrameEvents = 1 << 16

// FrameHead is what a frame says of itself.
type FrameHead struct {
	Gateway string
	Epoch   ulid.ULID // one run of the gateway's process
	Seq     uint64    // from 1 in an epoch
	Prev    Hash      // the hash of the frame before it in the epoch, zero for the first
	Time    int64     // Unix time in nanoseconds
	Events  int
	Hashes  Hash // SHA-256 over the chain hashes of its events, in order
	// Unacked is how many frames directly before it were not acknowledged,
	// and so may be missing.
	Unacked uint64
}

// Frame is a decoded frame.
type Frame struct {
	FrameHead
	// Hash is that of the head's bytes, which bind the events by Hashes.
	Hash Hash
	// Payload holds the encoded events, one after the other.
	Payload []byte
}

func appendFrameHead(dst []byte, h FrameHead) []byte {
	dst = appendArray(dst, 9)
	dst = appendText(dst, FrameFormat)
	dst = appendText(dst, h.Gateway)
	dst = appendBytes(dst, h.Epoch[:])
	dst = appendUint(dst, h.Seq)
	dst = appendBytes(dst, h.Prev[:])
	dst = appendInt(dst, h.Time)
	dst = appendUint(dst, uint64(h.Events))
	dst = appendBytes(dst, h.Hashes[:])
	return appendUint(dst, h.Unacked)
}

// DecodeFrame reads a frame. It checks the outer format; the events are read
// by Each. The frame keeps p.
func DecodeFrame(p []byte) (Frame, error) {
	var f Frame
	c := cursor{buf: p}
	c.array(9)
	if c.text() != FrameFormat {
		c.fail()
	}
	f.Gateway = c.text()
	c.fixed(f.Epoch[:])
	f.Seq = c.uint()
	c.fixed(f.Prev[:])
	f.Time = c.int()
	events := c.uint()
	c.fixed(f.Hashes[:])
	f.Unacked = c.uint()
	if f.Seq == 0 || events > maxFrameEvents || len(p) > MaxFrame {
		c.fail()
	}
	if c.err != nil {
		return Frame{}, fmt.Errorf("frame: %w", c.err)
	}
	f.Events = int(events)
	f.Hash = sha256.Sum256(p[:c.off])
	f.Payload = p[c.off:]
	return f, nil
}

// Each calls fn for every event with its canonical bytes, and fails where the
// payload is not exactly the frame's number of events.
func (f Frame) Each(fn func(e Event, encoded []byte) error) error {
	c := cursor{buf: f.Payload}
	for i := range f.Events {
		start := c.off
		e := c.event()
		if c.err != nil {
			return fmt.Errorf("frame %d, event %d: %w", f.Seq, i+1, c.err)
		}
		if err := fn(e, c.buf[start:c.off]); err != nil {
			return err
		}
	}
	if c.off != len(f.Payload) {
		return fmt.Errorf("frame %d: %d bytes after the last event: %w", f.Seq, len(f.Payload)-c.off, errFormat)
	}
	return nil
}
