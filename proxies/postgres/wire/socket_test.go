package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"
)

func socketPair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = Socket(a), Socket(b)
	t.Cleanup(func() { _ = a.Close(); _ = b.Close() })
	return a, b
}

// More than any socket buffer holds goes through whole, both ways at once.
func TestSocketCarriesEverything(t *testing.T) {
	a, b := socketPair(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	var all sync.WaitGroup
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		all.Go(func() {
			if n, err := way[0].Write(data); n != len(data) || err != nil {
				t.Error("write:", n, err)
			}
		})
		all.Go(func() {
			got := make([]byte, len(data))
			if _, err := io.ReadFull(way[1], got); err != nil || !bytes.Equal(got, data) {
				t.Error("read:", err)
			}
		})
	}
	all.Wait()
	if n, err := a.Write(nil); n != 0 || err != nil {
		t.Error("nothing written:", n, err)
	}
	if n, err := a.Read(nil); n != 0 || err != nil {
		t.Error("nothing read:", n, err)
	}
}

// Its errors are those of a net.TCPConn.
func TestSocketErrors(t *testing.T) {
	a, b := socketPair(t)
	// A deadline in the past wakes a reader and a writer that wait.
	time.AfterFunc(50*time.Millisecond, func() { _ = a.SetDeadline(time.Unix(1, 0)) })
	_, err := a.Read(make([]byte, 1))
	var op *net.OpError
	if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &op) || !op.Timeout() || op.Op != "read" {
		t.Error("a read over its deadline:", err)
	}
	if err := a.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(200*time.Millisecond, func() { _ = a.SetWriteDeadline(time.Unix(1, 0)) })
	n, err := a.Write(make([]byte, 64<<20))
	if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 64<<20 {
		t.Error("a write over its deadline:", n, err)
	}

	// The end of the stream, and a reset.
	if err := b.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Read(make([]byte, 1)); err != io.EOF {
		t.Error("after the end:", err)
	}
	_ = b.Close() // with unread data: a reset
	_ = a.SetWriteDeadline(time.Time{})
	for err = nil; err == nil; {
		_, err = a.Write(make([]byte, 1<<10))
	}
	if !errors.As(err, &op) || op.Op != "write" || op.Timeout() {
		t.Error("a write to nobody:", err)
	}

	// Closed, by oneself.
	c, _ := socketPair(t)
	time.AfterFunc(50*time.Millisecond, func() { _ = c.Close() })
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
		t.Error("closed while it reads:", err)
	}
	if _, err := c.Write([]byte("x")); !errors.Is(err, net.ErrClosed) {
		t.Error("closed:", err)
	}
}

func TestSocketDoesNotAllocate(t *testing.T) {
	a, b := socketPair(t)
	buf := make([]byte, 16)
	if n := testing.AllocsPerRun(100, func() {
		_, _ = a.Write(buf)
		_, _ = b.Read(buf)
	}); n > 0 {
		t.Errorf("%.0f allocations to write and read", n)
	}
}
