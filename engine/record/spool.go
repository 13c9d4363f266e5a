package record

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/oklog/ulid/v2"
)

// spoolFile holds the events of a session that is not archived yet, one after
// the other. Its name carries what must be known of the session even where its
// opening event is lost: <session>@<gateway>@<epoch>.events.
type spoolFile struct {
	path    string
	session ulid.ULID
	gateway string
	epoch   ulid.ULID

	size int64  // bytes that are known to be on disk
	seq  uint64 // of the last event in the file or in tail
	tail []byte // not yet on disk
}

func spoolDir(dir string) string { return filepath.Join(dir, "sessions") }

func newSpoolFile(dir string, session ulid.ULID, gateway string, epoch ulid.ULID) *spoolFile {
	name := fmt.Sprintf("%s@%s@%s.events", session, gateway, epoch)
	return &spoolFile{path: filepath.Join(spoolDir(dir), name), session: session, gateway: gateway, epoch: epoch}
}

// parseSpoolName is the reverse of newSpoolFile.
func parseSpoolName(dir, name string) (*spoolFile, bool) {
	base, ok := strings.CutSuffix(name, ".events")
	parts := strings.Split(base, "@")
	if !ok || len(parts) != 3 {
		return nil, false
	}
	session, err1 := ulid.ParseStrict(parts[0])
	epoch, err2 := ulid.ParseStrict(parts[2])
	if err1 != nil || err2 != nil {
		return nil, false
	}
	return newSpoolFile(dir, session, parts[1], epoch), true
}

// listSpool returns the files of a spool directory, none where it is missing.
func listSpool(dir string) ([]*spoolFile, error) {
	entries, err := os.ReadDir(spoolDir(dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	var files []*spoolFile
	for _, e := range entries {
		if f, ok := parseSpoolName(dir, e.Name()); ok {
			files = append(files, f)
		}
	}
	return files, nil
}

// load reads the file up to the first byte that is no whole event, which is
// where a process was killed as it wrote, and passes every event to each. What
// comes after is written over.
func (f *spoolFile) load(each func(e Event, encoded []byte)) error {
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer file.Close()
	r := NewEventReader(file)
	for {
		e, encoded, err := r.Next()
		if err != nil {
			var pathErr *fs.PathError
			if errors.As(err, &pathErr) {
				return fmt.Errorf("spool: %w", err)
			}
			break
		}
		if e.Session != f.session {
			break
		}
		f.seq = e.Seq
		f.size = r.Offset()
		each(e, encoded)
	}
	return nil
}

// add appends an event to what the next flush writes.
func (f *spoolFile) add(seq uint64, encoded []byte) {
	if f.tail == nil {
		f.tail = (*tails.Get().(*[]byte))[:0]
	}
	f.tail = append(f.tail, encoded...)
	f.seq = seq
}

// flush writes the tail, which then survives the death of the process; sync
// makes it survive more. After an error it can be called again: it writes at
// the same place.
func (f *spoolFile) flush() error {
	if len(f.tail) == 0 {
		return nil
	}
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	defer file.Close()
	if _, err := file.WriteAt(f.tail, f.size); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := file.Truncate(f.size + int64(len(f.tail))); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	f.size += int64(len(f.tail))
	if cap(f.tail) <= 4<<20 {
		tail := f.tail
		tails.Put(&tail)
	}
	f.tail = nil
	return nil
}

// sync brings what was flushed to the disk. A file that was archived since is
// there already.
func (f *spoolFile) sync() error {
	if err := syncPath(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// tails are buffers for what is not yet on disk: sessions that are at rest
// have none.
var tails = sync.Pool{New: func() any { return new([]byte) }}

// truncate cuts the file behind the event that ends at size.
func (f *spoolFile) truncate(size int64, seq uint64) error {
	if err := os.Truncate(f.path, size); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	f.size, f.seq = size, seq
	return nil
}

// source reads the flushed events.
func (f *spoolFile) source() (func() (Event, []byte, error), func() error, error) {
	file, err := os.Open(f.path)
	if err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	r := NewEventReader(io.LimitReader(file, f.size))
	return r.Next, file.Close, nil
}

// syncPath brings a file or a directory to the disk.
func syncPath(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
