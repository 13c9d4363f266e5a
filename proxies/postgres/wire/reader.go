package wire

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Sizes of a Reader's buffer, in bytes. It starts small, because most sessions
// idle, grows to comfortable as long as reads fill it, and past that only for
// a message that needs it.
const (
	smallBuffer = 4 << 10
	readBuffer  = 64 << 10
)

// HeaderSize is the size of a message's type and length.
const HeaderSize = 5

// TooLargeError is a message over the reader's limit.
type TooLargeError struct {
	Type byte
	Size int64
	Max  int
}

// Error implements error.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("message %q of %d bytes is over the limit of %d", e.Type, e.Size, e.Max)
}

// FramingError is a length that no message can have.
type FramingError struct {
	Type   byte
	Length uint32
}

// Error implements error.
func (e *FramingError) Error() string {
	return fmt.Sprintf("message %q has the impossible length %d", e.Type, e.Length)
}

// Reader takes messages off a connection through one buffer. It survives a
// read that fails with a timeout: the next call goes on where it stopped.
type Reader struct {
	src  io.Reader
	buf  []byte
	r, w int
	max  int
}

// NewReader returns a reader of src that has already read buffered. A message
// of more than max bytes is a *TooLargeError.
func NewReader(src io.Reader, buffered []byte, max int) *Reader {
	rd := &Reader{src: src, max: max, buf: make([]byte, smallBuffer)}
	if len(buffered) > len(rd.buf) {
		rd.buf = make([]byte, len(buffered))
	}
	rd.w = copy(rd.buf, buffered)
	return rd
}

// Buffered is the number of bytes read but not taken yet.
func (rd *Reader) Buffered() int { return rd.w - rd.r }

// size returns the whole size of the message at r, 0 when its header is not
// complete.
func (rd *Reader) size() (int, error) {
	if rd.w-rd.r < HeaderSize {
		return 0, nil
	}
	typ := rd.buf[rd.r]
	length := binary.BigEndian.Uint32(rd.buf[rd.r+1:])
	if length < 4 || length > 1<<30 {
		return 0, &FramingError{Type: typ, Length: length}
	}
	if int64(length)+1 > int64(rd.max) {
		return 0, &TooLargeError{Type: typ, Size: int64(length) + 1, Max: rd.max}
	}
	return int(length) + 1, nil
}

// Ready reports whether Next would return without reading.
func (rd *Reader) Ready() bool {
	n, err := rd.size()
	return err != nil || n > 0 && rd.w-rd.r >= n
}

// Next returns the next message, header included. It is valid until the next
// call of Next, Fill or Shrink.
func (rd *Reader) Next() (message []byte, err error) {
	for {
		n, err := rd.size()
		if err != nil {
			return nil, err
		}
		if n > 0 && rd.w-rd.r >= n {
			message = rd.buf[rd.r : rd.r+n : rd.r+n]
			rd.r += n
			return message, nil
		}
		if err := rd.Fill(n); err != nil {
			return nil, err
		}
	}
}

// Fill reads once, after it has made room for a message of want bytes. An end
// of the stream inside a message is io.ErrUnexpectedEOF.
func (rd *Reader) Fill(want int) error {
	if rd.r == rd.w {
		rd.r, rd.w = 0, 0
	}
	free := len(rd.buf) - rd.w
	switch {
	case want > len(rd.buf)-rd.r || free == 0:
		need := max(want, rd.w-rd.r+1)
		if need <= len(rd.buf) {
			rd.w = copy(rd.buf, rd.buf[rd.r:rd.w])
			rd.r = 0
			break
		}
		size := len(rd.buf)
		for size < need {
			size *= 2
		}
		if size > rd.max && need <= rd.max {
			size = max(rd.max, need)
		}
		rd.move(size)
	case rd.w == 0 && len(rd.buf) > 4*readBuffer:
		rd.move(readBuffer) // give back what one large message needed
	}
	n, err := rd.src.Read(rd.buf[rd.w:])
	full := n == len(rd.buf)-rd.w
	rd.w += n
	if full && len(rd.buf) < readBuffer {
		rd.move(min(readBuffer, 2*len(rd.buf)))
	}
	if n > 0 {
		return nil
	}
	if err == io.EOF && rd.w > rd.r {
		return io.ErrUnexpectedEOF
	}
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// Shrink gives memory back. It is for a session that goes idle; what was read
// but not taken is kept.
func (rd *Reader) Shrink() {
	if len(rd.buf) > smallBuffer && rd.w-rd.r <= smallBuffer {
		rd.move(smallBuffer)
	}
}

func (rd *Reader) move(size int) {
	fresh := make([]byte, size)
	rd.w = copy(fresh, rd.buf[rd.r:rd.w])
	rd.r = 0
	rd.buf = fresh
}
