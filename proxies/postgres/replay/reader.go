package replay

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// errShort is a message that ends too early.
var errShort = errors.New("message ends too early")

// reader takes a message's body apart. After the first error every value is
// zero.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n > len(r.b) {
		r.err, r.b = errShort, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

// string is text up to a zero byte.
func (r *reader) string() string {
	i := bytes.IndexByte(r.b, 0)
	if i < 0 {
		r.err, r.b = errShort, nil
		return ""
	}
	return string(r.take(i + 1)[:i])
}

// value is bytes behind their length; nil is NULL.
func (r *reader) value() []byte {
	n := int32(r.uint32())
	switch {
	case r.err != nil || n == -1:
		return nil
	case n < 0:
		r.err, r.b = fmt.Errorf("value of length %d", n), nil
		return nil
	case n == 0:
		return []byte{}
	}
	return r.take(int(n))
}
