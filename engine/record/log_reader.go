package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// errRecord says that what lies at a position of the log is no record.
var errRecord = errors.New("not a record")

// logReader reads a log's frames in order. It holds one in memory, and what it
// read ahead.
type logReader struct {
	dir  string
	at   uint64 // position of the next frame
	file *os.File
	base uint64
	to   uint64 // where the segment ends because the next begins; 0: unknown
	buf  []byte // bytes of the segment from position from on
	from uint64
}

// readAhead is how much is read at a time, in bytes.
const readAhead = 256 << 10

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
	if to-r.at < recordHead {
		return nil, fmt.Errorf("position %d: %w", r.at, errRecord)
	}
	head, err := r.bytes(recordHead, to)
	if err != nil {
		return nil, err
	}
	n := uint64(binary.BigEndian.Uint32(head))
	if n == 0 || n > MaxFrame || n > to-r.at-recordHead {
		return nil, fmt.Errorf("position %d: %w", r.at, errRecord)
	}
	record, err := r.bytes(recordHead+n, to)
	if err != nil {
		return nil, err
	}
	if recordSum(record[:4], record[recordHead:]) != binary.BigEndian.Uint32(record[4:]) {
		return nil, fmt.Errorf("position %d: %w", r.at, errRecord)
	}
	r.at += recordHead + n
	return record[recordHead:], nil
}

// bytes returns n bytes from the reader's position on, and reads ahead to to.
func (r *logReader) bytes(n, to uint64) ([]byte, error) {
	if r.at < r.from || r.at+n > r.from+uint64(len(r.buf)) {
		want := min(max(n, readAhead), to-r.at)
		r.buf = slices.Grow(r.buf[:0], int(want))[:want]
		r.from = r.at
		got, err := r.file.ReadAt(r.buf, int64(r.at-r.base))
		r.buf = r.buf[:got]
		if uint64(got) < n {
			return nil, r.cut(err)
		}
	}
	return r.buf[r.at-r.from:][:n], nil
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
	r.buf = r.buf[:0]
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

// Read calls each for every frame that is stored, the oldest first. What each
// is given is valid during the call.
func (l *Log) Read(ctx context.Context, each func(Frame) error) error {
	r := &logReader{dir: l.dir, at: l.first.Load()}
	defer r.close()
	for limit := l.End(); ctx.Err() == nil; {
		data, err := r.next(limit)
		if errors.Is(err, io.EOF) {
			return nil
		}
		var f Frame
		if err == nil {
			f, err = DecodeFrame(data)
		}
		if err == nil {
			err = each(f)
		}
		if err != nil {
			return fmt.Errorf("read log: %w", err)
		}
	}
	return ctx.Err()
}
