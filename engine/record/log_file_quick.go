//go:build linux && (amd64 || arm64 || ppc64le || riscv64 || s390x)

package record

import (
	"os"
	"syscall"
	"time"
	"unsafe"
)

const (
	// slowWrite is from where on a write was held back by the disk, and not
	// only by others that want the processor. Into the page cache it takes a few
	// microseconds.
	slowWrite = 50 * time.Millisecond
	// waryFor is for how many writes after such a one the scheduler is told.
	waryFor = 100
)

// quickFile writes into the page cache without a word to Go's scheduler. Told of
// a call, the scheduler wakes the thread that watches over calls which take
// long, if that sleeps, and it mostly does; then that thread polls for
// milliseconds: two switches of threads a statement, a third of its cost. Where
// a write does take long, the scheduler is told of those that follow, so that
// others can run meanwhile.
type quickFile struct {
	*os.File
	fd   uintptr
	wary int
}

func newQuickFile(f *os.File) logFile { return &quickFile{File: f, fd: f.Fd()} }

// WriteAt implements io.WriterAt. One goroutine at a time may call it.
func (f *quickFile) WriteAt(p []byte, off int64) (n int, err error) {
	began := time.Now()
	if f.wary > 0 {
		f.wary--
		n, err = f.File.WriteAt(p, off)
	} else {
		n, err = f.writeAt(p, off)
	}
	if time.Since(began) >= slowWrite {
		f.wary = waryFor
	}
	return n, err
}

func (f *quickFile) writeAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		rest := p[n:]
		wrote, _, errno := syscall.RawSyscall6(syscall.SYS_PWRITE64, f.fd,
			uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(len(rest)), uintptr(off)+uintptr(n), 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return n, &os.PathError{Op: "write", Path: f.Name(), Err: errno}
		case wrote == 0:
			return n, &os.PathError{Op: "write", Path: f.Name(), Err: syscall.EIO}
		default:
			n += int(wrote)
		}
	}
	return n, nil
}
