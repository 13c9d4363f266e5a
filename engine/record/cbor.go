package record

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// CBOR major types (RFC 8949, section 3.1), shifted into place.
const (
	majorUint  byte = 0 << 5
	majorInt   byte = 1 << 5
	majorBytes byte = 2 << 5
	majorText  byte = 3 << 5
	majorArray byte = 4 << 5
	majorMap   byte = 5 << 5
)

const (
	cborFalse byte = 0xf4
	cborTrue  byte = 0xf5
)

// appendHead appends a head in its shortest form, as core deterministic
// encoding asks.
func appendHead(dst []byte, major byte, n uint64) []byte {
	switch {
	case n < 24:
		return append(dst, major|byte(n))
	case n <= math.MaxUint8:
		return append(dst, major|24, byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(dst, major|25), uint16(n))
	case n <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(dst, major|26), uint32(n))
	default:
		return binary.BigEndian.AppendUint64(append(dst, major|27), n)
	}
}

func appendUint(dst []byte, n uint64) []byte { return appendHead(dst, majorUint, n) }

func appendInt(dst []byte, n int64) []byte {
	if n < 0 {
		return appendHead(dst, majorInt, uint64(-1-n))
	}
	return appendHead(dst, majorUint, uint64(n))
}

func appendBytes(dst, b []byte) []byte {
	return append(appendHead(dst, majorBytes, uint64(len(b))), b...)
}

func appendText(dst []byte, s string) []byte {
	return append(appendHead(dst, majorText, uint64(len(s))), s...)
}

func appendArray(dst []byte, n int) []byte { return appendHead(dst, majorArray, uint64(n)) }

// body appends an event body: a map from small numbers to values, in the order
// of the numbers, without the zero values. A reader ignores numbers that it
// does not know, so a body can grow.
type body struct {
	buf []byte
	at  int // where the map's head is
	n   byte
}

func newBody(dst []byte) body {
	return body{buf: append(dst, majorMap), at: len(dst)}
}

// key must be called with growing numbers below 24, at most 23 of them, so
// that heads and keys are one byte.
func (b *body) key(k byte) {
	b.buf = append(b.buf, k)
	b.n++
}

func (b *body) uint(k byte, v uint64) {
	if v != 0 {
		b.key(k)
		b.buf = appendUint(b.buf, v)
	}
}

func (b *body) int(k byte, v int64) {
	if v != 0 {
		b.key(k)
		b.buf = appendInt(b.buf, v)
	}
}

func (b *body) bool(k byte, v bool) {
	if v {
		b.key(k)
		b.buf = append(b.buf, cborTrue)
	}
}

func (b *body) text(k byte, v string) {
	if v != "" {
		b.key(k)
		b.buf = appendText(b.buf, v)
	}
}

func (b *body) bytes(k byte, v []byte) {
	if len(v) != 0 {
		b.key(k)
		b.buf = appendBytes(b.buf, v)
	}
}

func (b *body) texts(k byte, v []string) {
	if len(v) != 0 {
		b.key(k)
		b.buf = appendArray(b.buf, len(v))
		for _, s := range v {
			b.buf = appendText(b.buf, s)
		}
	}
}

func (b *body) done() []byte {
	b.buf[b.at] = majorMap | b.n
	return b.buf
}

// decoding is strict where two readings of the same bytes would be possible,
// and bounded where a hostile file could ask for memory.
var decoding = func() cbor.DecMode {
	mode, err := cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		UTF8:             cbor.UTF8RejectInvalid,
		MaxNestedLevels:  8,
		MaxArrayElements: 1 << 20,
		MaxMapPairs:      1 << 10,
	}.DecMode()
	if err != nil {
		panic(err) // constant options
	}
	return mode
}()

func decodeBody(kind Kind, p []byte, into any) error {
	if err := decoding.Unmarshal(p, into); err != nil {
		return fmt.Errorf("%s event: %w", kind, err)
	}
	return nil
}

// labels appends a map from text to text, its keys in core deterministic
// order: shorter first, then bytewise.
func (b *body) labels(k byte, v map[string]string) {
	if len(v) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(v), func(x, y string) int {
		return cmp.Or(cmp.Compare(len(x), len(y)), cmp.Compare(x, y))
	})
	b.key(k)
	b.buf = appendHead(b.buf, majorMap, uint64(len(v)))
	for _, key := range keys {
		b.buf = appendText(appendText(b.buf, key), v[key])
	}
}
