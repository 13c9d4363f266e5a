package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	// recordHead is what the log puts before a frame, in bytes: the frame's
	// length and a CRC-32C of length and frame, both big-endian.
	recordHead = 8
	// SegmentBytes is where a segment counts as full. Whole segments are
	// removed, so it bounds what the log holds for nothing.
	SegmentBytes = 16 << 20
	segmentExt   = ".log"
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Log is a journal in files of this machine: frames one after the other in
// segments. A frame has a position, the number of bytes that were ever written
// before it, and a segment is named by the position of its first frame. What
// is stored survives kill -9; with Sync it survives the loss of power too.
//
// It is kept by us because the logs that other projects offer flush to the
// disk at each write, or cannot go on after a write that failed.
type Log struct {
	dir      string
	sync     bool
	lock     *os.File
	openFile func(name string, flag int) (logFile, error)

	end   atomic.Uint64 // position behind the last frame that is stored
	first atomic.Uint64 // position of the oldest segment
	wake  chan struct{} // sent to when something is stored and a reader waits
	reads atomic.Bool   // a reader waits

	// Owned by whoever appends.
	file   logFile
	base   uint64 // of file
	broken bool   // a write failed: what lies behind end in file is not ours
	rotate atomic.Bool

	flushed uint64 // owned by who flushes

	mu       sync.Mutex
	segments []uint64               // in order; the last is being written
	readers  map[string]logPosition // where each recorder is
	reading  bool                   // one of them is at work: they would take each other's wake-ups
	segment  int64                  // bytes at which a segment is full
}

// logFile is what the log needs of a file that it writes.
type logFile interface {
	WriteAt(p []byte, off int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

// LogOptions says how a log stores.
type LogOptions struct {
	// Sync flushes every write to the disk before it counts as stored.
	Sync bool
	// Segment is where a segment is full, in bytes; 16 MiB when 0.
	Segment int64
}

// OpenLog opens or makes the log in dir, which it locks. What a killed process
// left half written at the end is cut off.
func OpenLog(dir string, opts LogOptions) (*Log, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	l := &Log{
		dir: dir, sync: opts.Sync, wake: make(chan struct{}, 1), segment: opts.Segment,
		openFile: func(name string, flag int) (logFile, error) {
			f, err := os.OpenFile(name, flag, 0o600)
			if err != nil || opts.Sync { // a flush takes long at all times
				return f, err
			}
			return newQuickFile(f), nil
		},
	}
	if l.segment <= 0 {
		l.segment = SegmentBytes
	}
	var err error
	if l.lock, err = lockSpool(dir); err == nil {
		err = l.load()
	}
	if err != nil {
		if l.lock != nil {
			_ = l.lock.Close()
		}
		return nil, fmt.Errorf("open log: %w", err)
	}
	return l, nil
}

// HoldLog keeps every gateway from opening the log in dir until release is
// called, and changes nothing in it. ErrLocked: one has it open.
func HoldLog(dir string) (release func() error, err error) {
	lock, err := lockSpool(dir)
	if err != nil {
		return nil, fmt.Errorf("hold log: %w", err)
	}
	return lock.Close, nil
}

func segmentPath(dir string, base uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%020d%s", base, segmentExt))
}

// listSegments returns the positions of the segments in dir, in order.
func listSegments(dir string) ([]uint64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var bases []uint64
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), segmentExt)
		if base, err := strconv.ParseUint(name, 10, 64); ok && err == nil && len(name) == 20 {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func (l *Log) load() error {
	var err error
	if l.segments, err = listSegments(l.dir); err != nil {
		return err
	}
	if l.readers, err = readPositions(l.dir); err != nil {
		return err
	}
	if len(l.segments) == 0 {
		// Behind what any recorder has read, should the segments be gone.
		var base uint64
		for _, p := range l.readers {
			base = max(base, p.at)
		}
		l.end.Store(base)
		l.first.Store(base)
		return l.begin(base)
	}
	l.first.Store(l.segments[0])
	base := l.segments[len(l.segments)-1]
	end, torn, err := scanSegment(l.dir, base)
	if err != nil {
		return err
	}
	l.end.Store(end)
	if !torn {
		info, err := os.Stat(segmentPath(l.dir, base))
		if err != nil {
			return err
		}
		// Evidence: the reader keeps it aside. What comes now begins behind it.
		if to := base + uint64(info.Size()); to > end {
			l.end.Store(to)
			return l.begin(to)
		}
	}
	file, err := l.openFile(segmentPath(l.dir, base), os.O_WRONLY)
	if err != nil {
		return err
	}
	l.file, l.base = file, base
	return file.Truncate(int64(end - base))
}

// scanSegment returns the position behind the last whole frame of a segment
// that begins at base. torn: what follows it is the beginning of a write that
// was cut short, and of nothing that was ever acknowledged.
func scanSegment(dir string, base uint64) (end uint64, torn bool, err error) {
	info, err := os.Stat(segmentPath(dir, base))
	if err != nil {
		return 0, false, err
	}
	limit := base + uint64(info.Size())
	r := &logReader{dir: dir, at: base}
	defer r.close()
	for {
		_, err := r.next(limit)
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return r.at, false, nil
		case !errors.Is(err, errRecord):
			return 0, false, err
		default:
			end := r.at
			_, rest, err := r.skip(limit)
			return end, isTorn(rest), err
		}
	}
}

// isTorn tells the beginning of a record, or zeros that were never written,
// from whole records one of which was changed.
func isTorn(rest []byte) bool {
	if len(rest) < recordHead || bytes.Count(rest, []byte(FrameFormat)) > 1 {
		return len(rest) < recordHead
	}
	n := uint64(binary.BigEndian.Uint32(rest))
	return n == 0 && len(bytes.Trim(rest, "\x00")) == 0 || n > uint64(len(rest)-recordHead)
}

// begin starts a segment at base. The caller may append.
func (l *Log) begin(base uint64) error {
	file, err := l.openFile(segmentPath(l.dir, base), os.O_WRONLY|os.O_CREATE)
	if err != nil {
		return err
	}
	if err = file.Truncate(0); err == nil && l.sync {
		err = syncPath(l.dir)
	}
	if err != nil {
		_ = file.Close()
		return err
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file, l.base, l.broken = file, base, false
	l.rotate.Store(false)
	l.mu.Lock()
	if n := len(l.segments); n == 0 || l.segments[n-1] != base {
		l.segments = append(l.segments, base)
	}
	l.mu.Unlock()
	return nil
}

// sealRecord fills in the head of a record: p is recordHead free bytes and the
// frame.
func sealRecord(p []byte) {
	binary.BigEndian.PutUint32(p, uint32(len(p)-recordHead))
	binary.BigEndian.PutUint32(p[4:], recordSum(p[:4], p[recordHead:]))
}

func recordSum(length, frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(length, castagnoli), castagnoli, frame)
}

// append stores sealed records, all or none of them: after an error what was
// written of them is gone, or will be before anything else is stored. One
// goroutine at a time may call it.
func (l *Log) append(records ...[]byte) error {
	at := l.end.Load()
	if l.broken || l.rotate.Load() || int64(at-l.base) >= l.segment {
		if err := l.next(at); err != nil {
			return err
		}
	}
	to := at
	for _, p := range records {
		if _, err := l.file.WriteAt(p, int64(to-l.base)); err != nil {
			return l.takeBack(at, err)
		}
		to += uint64(len(p))
	}
	if l.sync {
		if err := l.file.Sync(); err != nil {
			return l.takeBack(at, err)
		}
	}
	l.end.Store(to)
	if l.reads.CompareAndSwap(true, false) {
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// next begins the next segment, at the log's end.
func (l *Log) next(at uint64) error {
	if l.broken {
		// After this, nobody reads what failed.
		if err := l.file.Truncate(int64(at - l.base)); err != nil {
			return err
		}
		l.broken = false
	}
	if at == l.base {
		return nil // nothing is in this one yet
	}
	if !l.sync {
		// Whoever is killed now finds the segment before it whole; the next
		// flush of the system's own brings it to the disk.
		return l.begin(at)
	}
	if err := l.file.Sync(); err != nil {
		return err
	}
	return l.begin(at)
}

func (l *Log) takeBack(at uint64, cause error) error {
	if err := l.file.Truncate(int64(at - l.base)); err != nil {
		l.broken = true
	}
	return cause
}

// flush brings what is stored to the disk, for a log that does not do so at
// each write. One goroutine at a time may call it, beside those that append.
func (l *Log) flush() error {
	end := l.end.Load()
	if l.sync || end == l.flushed {
		return nil
	}
	l.mu.Lock()
	bases := slices.Clone(l.segments)
	l.mu.Unlock()
	for i, base := range bases {
		if i+1 < len(bases) && bases[i+1] <= l.flushed {
			continue
		}
		// By a handle of its own: the writer's may be closed meanwhile.
		if err := syncPath(segmentPath(l.dir, base)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := syncPath(l.dir); err != nil {
		return err
	}
	l.flushed = end
	return nil
}

// End returns the position behind the last frame that is stored.
func (l *Log) End() uint64 { return l.end.Load() }

// Size returns how many bytes the log holds.
func (l *Log) Size() int64 { return int64(l.end.Load() - l.first.Load()) }

// Close stops the log. Nobody may be appending.
func (l *Log) Close() error {
	err := errors.Join(l.file.Sync(), l.file.Close(), l.lock.Close())
	if err != nil {
		return fmt.Errorf("close log: %w", err)
	}
	return nil
}

// logPosition is where a recorder is, and the spool that has what it read.
type logPosition struct {
	at    uint64
	spool string
}

// A position is kept in a file of its own: 20 digits, a space and the spool's
// name. One that is cut short is none.
const positionExt = ".position"

func readPositions(dir string) (map[string]logPosition, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*"+positionExt))
	if err != nil {
		return nil, err
	}
	positions := map[string]logPosition{}
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		digits, spool, _ := strings.Cut(strings.TrimSuffix(string(raw), "\n"), " ")
		at, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || len(digits) != 20 {
			at = 0 // read from the beginning: what is known is skipped
		}
		positions[strings.TrimSuffix(filepath.Base(path), positionExt)] = logPosition{at, spool}
	}
	return positions, nil
}

// attach returns where the named reader goes on. From here on nothing is
// removed that it has not passed. One reader at a time is at work, until detach.
func (l *Log) attach(name, spool string, takeover bool) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reading {
		return 0, errors.New("another recorder reads this log")
	}
	p := l.readers[name]
	if p.spool != "" && p.spool != spool && !takeover {
		return 0, otherSpool(name, p.spool, spool)
	}
	p.at, p.spool = max(p.at, l.first.Load()), spool
	if p.at > l.end.Load() {
		p.at = l.first.Load() // of a log that is gone: what is known is skipped
	}
	l.readers[name] = p
	l.reading = true
	return p.at, l.keep(name, p)
}

func (l *Log) detach() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reading = false
}

// pass keeps where the named reader is.
func (l *Log) pass(name string, at uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := l.readers[name]
	p.at = at
	if err := l.keep(name, p); err != nil {
		return err
	}
	l.readers[name] = p
	return nil
}

func (l *Log) keep(name string, p logPosition) error {
	return writeFile(filepath.Join(l.dir, name+positionExt), fmt.Appendf(nil, "%020d %s\n", p.at, p.spool), 0o600)
}

// trim removes the segments that every reader has passed. A segment that is
// still written but read to the end is not filled further where it is large.
func (l *Log) trim() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	floor := l.end.Load()
	for _, p := range l.readers {
		floor = min(floor, p.at)
	}
	if last := l.segments[len(l.segments)-1]; floor == l.end.Load() && int64(floor-last) >= l.segment/8 {
		l.rotate.Store(true)
	}
	for len(l.segments) > 1 && l.segments[1] <= floor {
		if err := os.Remove(segmentPath(l.dir, l.segments[0])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		l.segments = l.segments[1:]
		l.first.Store(l.segments[0])
	}
	return nil
}
