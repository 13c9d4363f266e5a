package rows

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// copyBinary is COPY's binary format: a header, tuples, and a tuple of -1
// columns at the end.
type copyBinary struct {
	plan *Plan
	next part
}

// part is what comes next in binary data.
type part uint8

const (
	partHeader part = iota
	partTuple
	partNothing
)

const (
	copySignature  = "PGCOPY\n\xff\r\n\x00"
	copyHeaderSize = len(copySignature) + 8 // flags and length of the extension: int32 each
	// maxCopyExtension is far beyond any header extension: none is defined.
	maxCopyExtension = 1 << 16
)

func newCopyBinary(p *Plan, o CopyOptions) (*copyBinary, error) {
	if o.Header || o.NullSet || o.Delimiter != 0 || o.Quote != 0 || o.Escape != 0 {
		return nil, errors.New("copy: binary format takes no HEADER, NULL, DELIMITER, QUOTE or ESCAPE")
	}
	return &copyBinary{plan: p}, nil
}

func (f *copyBinary) split(b []byte) (int, error) {
	switch f.next {
	case partHeader:
		return f.splitHeader(b)
	case partNothing:
		return 0, fmt.Errorf("%w: data after the trailer", ErrMalformed)
	}
	if len(b) < 2 {
		return 0, nil
	}
	n := int(int16(binary.BigEndian.Uint16(b)))
	if n == -1 {
		return 2, nil
	}
	if n != len(f.plan.columns) {
		return 0, errColumns(fmt.Sprint(n), len(f.plan.columns))
	}
	pos := 2
	for range n {
		if len(b)-pos < 4 {
			return 0, nil
		}
		size := int(int32(binary.BigEndian.Uint32(b[pos:])))
		pos += 4
		switch {
		case size < -1:
			return 0, fmt.Errorf("%w: value of length %d", ErrMalformed, size)
		case size > len(b)-pos:
			return 0, nil
		case size > 0:
			pos += size
		}
	}
	return pos, nil
}

func (f *copyBinary) splitHeader(b []byte) (int, error) {
	if n := min(len(b), len(copySignature)); string(b[:n]) != copySignature[:n] {
		return 0, fmt.Errorf("%w: no signature of binary COPY", ErrMalformed)
	}
	if len(b) < copyHeaderSize {
		return 0, nil
	}
	// The upper half are flags that a reader must know; the one that ever was
	// used put an OID in front of each row.
	if flags := binary.BigEndian.Uint32(b[len(copySignature):]); flags>>16 != 0 {
		return 0, fmt.Errorf("binary COPY with unknown flags %#x", flags)
	}
	extension := binary.BigEndian.Uint32(b[len(copySignature)+4:])
	if extension > maxCopyExtension {
		return 0, fmt.Errorf("%w: header extension of %d bytes", ErrMalformed, extension)
	}
	if n := copyHeaderSize + int(extension); len(b) >= n {
		return n, nil
	}
	return 0, nil
}

func (f *copyBinary) rewrite(dst, row []byte) ([]byte, error) {
	switch {
	case f.next == partHeader:
		f.next = partTuple
		return append(dst, row...), nil
	case len(row) == 2 && int16(binary.BigEndian.Uint16(row)) == -1:
		f.next = partNothing
		return append(dst, row...), nil
	}
	dst, rest, err := f.plan.tuple(dst, row)
	if err == nil && len(rest) > 0 {
		err = errShort
	}
	return dst, err
}

// end takes data without a trailer as an error: something is missing.
func (f *copyBinary) end(rest []byte) error {
	if f.next != partNothing || len(rest) > 0 {
		return fmt.Errorf("%w: data ends without a trailer", ErrMalformed)
	}
	return nil
}
