package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Socket returns a TCP connection whose reads and writes are made without a
// word to Go's scheduler, and conn itself where it is no TCP connection. The
// sockets do not block, so there is nothing that the scheduler could do
// meanwhile; told of a call, it looks after 20 µs whether to give the
// processor to another thread, which costs more than a call that a busy
// machine has delayed. Waiting for a socket is the scheduler's, as ever.
func Socket(conn net.Conn) net.Conn {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return conn
	}
	s := &socket{TCPConn: tcp, raw: raw}
	s.in.call, s.out.call = s.in.read, s.out.write
	return s
}

type socket struct {
	*net.TCPConn
	raw     syscall.RawConn
	in, out transfer
}

// transfer is one direction of a socket.
type transfer struct {
	mu    sync.Mutex
	call  func(fd uintptr) (done bool)
	p     []byte // to be filled or sent
	n     int    // bytes of it that were
	errno syscall.Errno
}

// maxTransfer is how much one system call is asked for, in bytes.
const maxTransfer = 1 << 30

func (t *transfer) read(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(unsafe.SliceData(t.p))), uintptr(min(len(t.p), maxTransfer)))
		switch errno {
		case 0:
			t.n = int(n)
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			return false
		default:
			t.errno = errno
		}
		return true
	}
}

func (t *transfer) write(fd uintptr) bool {
	for t.n < len(t.p) {
		rest := t.p[t.n:]
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(unsafe.SliceData(rest))), uintptr(min(len(rest), maxTransfer)))
		switch errno {
		case 0:
			t.n += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			t.errno = errno
			return true
		}
	}
	return true
}

// begin prepares one call; the caller holds mu.
func (t *transfer) begin(p []byte) { t.p, t.n, t.errno = p, 0, 0 }

func (t *transfer) end() (n int, errno syscall.Errno) {
	t.p = nil
	return t.n, t.errno
}

// Read implements net.Conn.
func (s *socket) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	s.in.begin(p)
	err := s.raw.Read(s.in.call)
	n, errno := s.in.end()
	switch {
	case err != nil:
		return n, s.failed("read", err)
	case errno != 0:
		return n, s.failed("read", os.NewSyscallError("read", errno))
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// Write implements net.Conn.
func (s *socket) Write(p []byte) (int, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.out.begin(p)
	err := s.raw.Write(s.out.call)
	n, errno := s.out.end()
	switch {
	case err != nil:
		return n, s.failed("write", err)
	case errno != 0:
		return n, s.failed("write", os.NewSyscallError("write", errno))
	}
	return n, nil
}

// failed words an error as a net.TCPConn does.
func (s *socket) failed(op string, err error) error {
	var raw *net.OpError
	if errors.As(err, &raw) {
		err = raw.Err
	}
	return &net.OpError{Op: op, Net: "tcp", Source: s.LocalAddr(), Addr: s.RemoteAddr(), Err: err}
}
