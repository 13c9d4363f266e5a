package record

import (
	"fmt"
	"time"
)

// headRoom is left free at the start of a frame's buffer for its head and the
// log's, which are known only when the frame is sealed.
const headRoom = 256

// frame gathers the events of one publish.
type frame struct {
	ack    *Ack
	buf    []byte // headRoom free bytes, then the encoded events
	events []frameEvent

	// Set when it is sent.
	seq  uint64
	sent time.Time
}

// frameEvent remembers whose event it is, so that a frame that is lost can be
// declared in the right sessions.
type frameEvent struct {
	w    *Writer
	seq  uint64
	hash Hash
	last bool // the session's Close
}

func (f *frame) size() int { return len(f.buf) - headRoom }

// add puts one encoded event into the current frame. It blocks while too much
// is unacknowledged, and returns the refusal where events are refused.
// Close and Loss may use the reserve.
func (j *Journal) add(w *Writer, seq uint64, hash Hash, head, body []byte, kind Kind) (*Ack, error) {
	n := len(head) + len(body)
	privileged := kind == KindClose || kind == KindLoss
	j.mu.Lock()
	defer j.mu.Unlock()
	for j.refusal == nil && j.pending > 0 && j.pending+n > maxPending {
		j.room.Wait()
	}
	if j.refusal != nil && !(privileged && j.full) {
		return nil, j.refusal
	}
	if !privileged {
		if err := j.checkRoom(n); err != nil {
			j.setRefusal(err, true)
			j.log.WithError(err).Error("the journal refuses events until there is room")
			return nil, err
		}
	}

	f := j.current
	if f != nil && (f.size()+n > frameSize || len(f.events) == maxFrameEvents) && f.size() > 0 {
		j.ready = append(j.ready, f)
		f = nil
	}
	if f == nil {
		f = j.newFrame()
		j.current = f
		j.used += frameOverhead
	}
	f.buf = append(append(f.buf, head...), body...)
	f.events = append(f.events, frameEvent{w: w, seq: seq, hash: hash, last: kind == KindClose})
	j.pending += n
	j.used += int64(n)
	j.unasked += int64(n)
	j.rouse()
	return f.ack, nil
}

// rouse wakes who stores, if they sleep and there is something for them to do.
// The caller holds mu.
func (j *Journal) rouse() {
	if !j.idle || j.pub != nil && !j.pub.may(j) {
		return
	}
	j.idle = false
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// checkRoom returns ErrFull when n more bytes would reach into the reserve.
// The disk is asked only now and then: it is a system call.
func (j *Journal) checkRoom(n int) error {
	limit := j.opts.MaxBytes - j.opts.Reserve
	if j.used+int64(n)+frameOverhead > limit {
		return fmt.Errorf("%w: %d of %d bytes in use, %d reserved", ErrFull, j.used, j.opts.MaxBytes, j.opts.Reserve)
	}
	if j.opts.FreeBytes == nil || j.unasked < j.opts.Reserve/8 {
		return nil
	}
	j.unasked = 0
	return j.checkDisk()
}

func (j *Journal) checkDisk() error {
	if j.opts.FreeBytes == nil {
		return nil
	}
	free, err := j.opts.FreeBytes()
	if err != nil {
		return fmt.Errorf("%w: its disk does not answer: %w", ErrFull, err)
	}
	if free < j.opts.Reserve {
		return fmt.Errorf("%w: its disk has %d bytes left, %d are reserved", ErrFull, free, j.opts.Reserve)
	}
	return nil
}

func (j *Journal) newFrame() *frame {
	var f *frame
	if n := len(j.spare); n > 0 {
		f = j.spare[n-1]
		j.spare = j.spare[:n-1]
	} else {
		f = &frame{buf: make([]byte, headRoom, 16<<10)}
	}
	f.ack = newAck()
	f.ack.commit = j.commit
	return f
}

// recycle keeps a settled frame's memory for the next, but for the outsized.
func (j *Journal) recycle(f *frame) {
	if cap(f.buf) > 2*frameSize || len(j.spare) > maxInFlight+1 {
		return
	}
	clear(f.events)
	*f = frame{buf: f.buf[:headRoom], events: f.events[:0]}
	j.spare = append(j.spare, f)
}

// hello queues an empty frame and returns its Ack.
func (j *Journal) hello() *Ack {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := j.newFrame()
	j.ready = append(j.ready, f)
	j.rouse()
	return f.ack
}
