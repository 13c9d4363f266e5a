package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// errRecord says that what lies at a position of the log is no record.
var errRecord = errors.New("not a record")

// logReader reads a log's frames in order. It holds one in memory at a time.
type logReader struct {
	dir  string
	at   uint64 // position of the next frame
	file *os.File
	base uint64
	to   uint64 // where the segment ends because the next begins; 0: unknown
	buf  []byte
}

func (r *logReader) close() {
	if r.file != nil {
		_ = r.file.Close()
		r.file = nil
	}
}

// next returns the next frame, valid until the next call, and io.EOF at limit,
// the position up to which frames are stored. errRecord says that there is
// none; skip goes on behind it.
func (r *logReader) next(limit uint64) ([]byte, error) {
	if r.at >= limit {
		return nil, io.EOF
	}
	frame, err := r.read(limit)
	if errors.Is(err, errRecord) && r.to == 0 {
		// A segment may have begun since this one was opened.
		if err := r.open(); err != nil {
			return nil, err
		}
		return r.read(limit)
	}
	return frame, err
}

func (r *logReader) read(limit uint64) ([]byte, error) {
	if r.file == nil || r.to != 0 && r.at >= r.to {
		if err := r.open(); err != nil {
			return nil, err
		}
	}
	to := limit
	if r.to != 0 {
		to = min(to, r.to)
	}
	off := int64(r.at - r.base)
	var head [recordHead]byte
	if to-r.at < recordHead {
		return nil, fmt.Errorf("position %d: %w", r.at, errRecord)
	}
	if _, err := r.file.ReadAt(head[:], off); err != nil {
		return nil, r.cut(err)
	}
	n := uint64(binary.BigEndian.Uint32(head[:]))
	if n == 0 || n > MaxFrame || n > to-r.at-recordHead {
		return nil, fmt.Errorf("position %d: %w", r.at, errRecord)
	}
	r.buf = slices.Grow(r.buf[:0], int(n))[:n]
	if _, err := r.file.ReadAt(r.buf, off+recordHead); err != nil {
		return nil, r.cut(err)
	}
	if recordSum(head[:4], r.buf) != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("position %d: %w", r.at, errRecord)
	}
	r.at += recordHead + n
	return r.buf, nil
}

// cut tells a file that ends too early from one that cannot be read.
func (r *logReader) cut(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("position %d: %w: the file ends", r.at, errRecord)
	}
	return err
}

// open opens the segment that has the position.
func (r *logReader) open() error {
	bases, err := listSegments(r.dir)
	if err != nil {
		return err
	}
	i, exact := slices.BinarySearch(bases, r.at)
	if !exact {
		i--
	}
	if i < 0 {
		if len(bases) == 0 {
			return fmt.Errorf("position %d: %w: no segment has it", r.at, errRecord)
		}
		i, r.at = 0, bases[0] // what was before it is removed
	}
	file, err := os.Open(segmentPath(r.dir, bases[i]))
	if err != nil {
		return err
	}
	r.close()
	r.file, r.base, r.to = file, bases[i], 0
	if i+1 < len(bases) {
		r.to = bases[i+1]
	}
	return nil
}

// skip returns what is left of a segment that cannot be read on, and goes to
// the next, or to limit where there is none.
func (r *logReader) skip(limit uint64) (from uint64, rest []byte, err error) {
	if err := r.open(); err != nil && !errors.Is(err, errRecord) {
		return 0, nil, err
	}
	from = r.at
	to := limit
	if r.to != 0 {
		to = r.to
	}
	if r.file != nil {
		rest = make([]byte, min(to-from, SegmentBytes+MaxFrame))
		n, _ := r.file.ReadAt(rest, int64(from-r.base))
		rest = rest[:n]
	}
	r.at = to
	return from, rest, nil
}
