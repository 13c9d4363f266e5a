package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// ErrBody is a body that does not have the layout of its message.
var ErrBody = errors.New("malformed message body")

// Body takes values off a message body. The first value that is not there
// makes Err non-nil, and every later value zero.
type Body struct {
	rest []byte
	err  error
}

// NewBody reads the body of message, whose header it skips.
func NewBody(message []byte) Body {
	if len(message) < HeaderSize {
		return Body{err: ErrBody}
	}
	return Body{rest: message[HeaderSize:]}
}

// Err returns ErrBody when a value was missing.
func (b *Body) Err() error { return b.err }

// Done returns ErrBody when a value was missing or bytes are left over.
func (b *Body) Done() error {
	if b.err == nil && len(b.rest) > 0 {
		b.err = ErrBody
	}
	return b.err
}

// Rest returns the bytes not taken yet.
func (b *Body) Rest() []byte { return b.rest }

// Text takes a zero-terminated string, without the zero.
func (b *Body) Text() []byte {
	if b.err != nil {
		return nil
	}
	end := bytes.IndexByte(b.rest, 0)
	if end < 0 {
		b.err = ErrBody
		return nil
	}
	out := b.rest[:end]
	b.rest = b.rest[end+1:]
	return out
}

// Bytes takes n bytes.
func (b *Body) Bytes(n int) []byte {
	if b.err != nil || n < 0 || n > len(b.rest) {
		b.err = ErrBody
		return nil
	}
	out := b.rest[:n:n]
	b.rest = b.rest[n:]
	return out
}

// Byte takes one byte.
func (b *Body) Byte() byte {
	if v := b.Bytes(1); v != nil {
		return v[0]
	}
	return 0
}

// Int16 takes a 16-bit number.
func (b *Body) Int16() int16 {
	if v := b.Bytes(2); v != nil {
		return int16(binary.BigEndian.Uint16(v))
	}
	return 0
}

// Int32 takes a 32-bit number.
func (b *Body) Int32() int32 {
	if v := b.Bytes(4); v != nil {
		return int32(binary.BigEndian.Uint32(v))
	}
	return 0
}

// Uint32 takes a 32-bit number without sign.
func (b *Body) Uint32() uint32 { return uint32(b.Int32()) }
