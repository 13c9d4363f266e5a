package record

import (
	"encoding/binary"
	"errors"
	"unicode/utf8"
)

// errFormat is the cause of every refusal of the outer format. What is wrong
// and where is said around it.
var errFormat = errors.New("not in the recording format")

// cursor reads the outer format: heads in their shortest form only, so that
// there is one encoding of everything.
type cursor struct {
	buf []byte
	off int
	err error
}

func (c *cursor) fail() {
	if c.err == nil {
		c.err = errFormat
	}
}

func (c *cursor) head(major byte) uint64 {
	if c.err != nil || c.off >= len(c.buf) || c.buf[c.off]&0xe0 != major {
		c.fail()
		return 0
	}
	info := c.buf[c.off] & 0x1f
	c.off++
	if info < 24 {
		return uint64(info)
	}
	rest := c.buf[c.off:]
	var n, least uint64
	switch {
	case info == 24 && len(rest) >= 1:
		n, least, c.off = uint64(rest[0]), 24, c.off+1
	case info == 25 && len(rest) >= 2:
		n, least, c.off = uint64(binary.BigEndian.Uint16(rest)), 1<<8, c.off+2
	case info == 26 && len(rest) >= 4:
		n, least, c.off = uint64(binary.BigEndian.Uint32(rest)), 1<<16, c.off+4
	case info == 27 && len(rest) >= 8:
		n, least, c.off = binary.BigEndian.Uint64(rest), 1<<32, c.off+8
	default:
		c.fail()
		return 0
	}
	if n < least {
		c.fail()
	}
	return n
}

func (c *cursor) array(n uint64) {
	if c.head(majorArray) != n {
		c.fail()
	}
}

func (c *cursor) uint() uint64 { return c.head(majorUint) }

func (c *cursor) int() int64 {
	if c.err == nil && c.off < len(c.buf) && c.buf[c.off]&0xe0 == majorInt {
		n := c.head(majorInt)
		if n > 1<<63-1 {
			c.fail()
			return 0
		}
		return -1 - int64(n)
	}
	n := c.head(majorUint)
	if n > 1<<63-1 {
		c.fail()
		return 0
	}
	return int64(n)
}

// bytes returns a slice of the buffer.
func (c *cursor) bytes() []byte { return c.take(c.head(majorBytes)) }

func (c *cursor) text() string {
	b := c.take(c.head(majorText))
	if !utf8.Valid(b) {
		c.fail()
	}
	return string(b)
}

func (c *cursor) take(n uint64) []byte {
	if c.err != nil || n > uint64(len(c.buf)-c.off) {
		c.fail()
		return nil
	}
	b := c.buf[c.off : c.off+int(n) : c.off+int(n)]
	c.off += int(n)
	return b
}

func (c *cursor) fixed(into []byte) {
	b := c.bytes()
	if len(b) != len(into) {
		c.fail()
		return
	}
	copy(into, b)
}
