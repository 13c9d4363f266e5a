package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// ErrMalformed is wrapped by every error about bytes that do not follow the
// protocol. Nothing of such a message may be sent on.
var ErrMalformed = errors.New("malformed")

// DataRow rewrites the body of a DataRow message (without type and length) and
// appends a complete message to dst, which must not overlap body. After an
// error dst is returned as it was given. Nothing is allocated once dst has
// grown.
func (p *Plan) DataRow(dst, body []byte) ([]byte, error) {
	base := len(dst)
	if len(body) < 2 {
		return dst, fmt.Errorf("%w: DataRow of %d bytes", ErrMalformed, len(body))
	}
	if n := int(binary.BigEndian.Uint16(body)); n != len(p.columns) {
		return dst, fmt.Errorf("%w: DataRow of %d columns where %d were described", ErrMalformed, n, len(p.columns))
	}
	dst = append(dst, 'D', 0, 0, 0, 0)
	dst, rest, err := p.tuple(dst, body)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: %d bytes after the last column of a DataRow", ErrMalformed, len(rest))
	}
	if err == nil && len(dst)-base-1 > math.MaxInt32 {
		err = errors.New("masked row is longer than a message can be")
	}
	if err != nil {
		return dst[:base], err
	}
	binary.BigEndian.PutUint32(dst[base+1:], uint32(len(dst)-base-1))
	return dst, nil
}

// errShort means that a tuple goes on beyond the bytes given.
var errShort = fmt.Errorf("%w: row ends within a column", ErrMalformed)

// tuple rewrites a column count, taken as checked, and as many values, each
// behind its length; rest is what follows them. DataRow and binary COPY share
// this form.
func (p *Plan) tuple(dst, b []byte) (out, rest []byte, err error) {
	sent, pos := 0, 2 // b[sent:pos] is to be sent as it is
	for i := range p.columns {
		c := &p.columns[i]
		if len(b)-pos < 4 {
			return dst, nil, errShort
		}
		n := int(int32(binary.BigEndian.Uint32(b[pos:])))
		if n < 0 {
			if n != -1 {
				return dst, nil, fmt.Errorf("%w: length %d of %s", ErrMalformed, n, c.label())
			}
			pos += 4
			continue
		}
		if len(b)-pos-4 < n {
			return dst, nil, errShort
		}
		next := pos + 4 + n
		if c.pass {
			pos = next
			continue
		}
		keep := len(dst)
		dst = append(dst, b[sent:pos]...)
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		var what outcome
		dst, what = p.value(dst, c, b[pos+4:next], c.Binary)
		switch what {
		case kept:
			dst = dst[:keep]
			pos = next
			continue
		case replaced:
			if len(dst)-at-4 > math.MaxInt32 {
				return dst, nil, fmt.Errorf("masked value of %s is longer than a value can be", c.label())
			}
			binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
		case nulled:
			dst = append(dst[:at], 0xff, 0xff, 0xff, 0xff)
		}
		sent, pos = next, next
	}
	return append(dst, b[sent:pos]...), b[pos:], nil
}
