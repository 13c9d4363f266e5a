package upstream

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"
)

// frameReader gives pgproto3 the bytes of one message at a time. pgproto3
// reads as much as it can get; what it would have read past the login could
// not be taken out of it again.
type frameReader struct {
	r      io.Reader
	header [5]byte
	have   int // bytes of the header that have been passed on
	left   int // bytes of the body that have not
}

func (f *frameReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if f.left > 0 {
		n, err := f.r.Read(p[:min(len(p), f.left)])
		f.left -= n
		return n, err
	}
	n, err := f.r.Read(p[:min(len(p), len(f.header)-f.have)])
	copy(f.header[f.have:], p[:n])
	f.have += n
	if f.have == len(f.header) {
		f.have = 0
		// A length under 4 is an error that pgproto3 finds in the same bytes.
		f.left = max(0, int(int32(binary.BigEndian.Uint32(f.header[1:])))-4)
	}
	return n, err
}

// drain returns what pgconn's background reader, which helps a slow write, has
// read past the login. It does not wait: a deadline in the past makes a read
// of the socket itself end at once.
func (f *frameReader) drain(conn net.Conn) ([]byte, error) {
	if f.have != 0 || f.left != 0 {
		return nil, errors.New("the login ended inside a message")
	}
	if err := conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, err
	}
	var out []byte
	buf := make([]byte, 4096)
	for {
		n, err := f.r.Read(buf)
		out = append(out, buf[:n]...)
		var network net.Error
		switch {
		case errors.As(err, &network) && network.Timeout():
			return out, conn.SetReadDeadline(time.Time{})
		case errors.Is(err, io.EOF):
			// The background reader has met the end, and whoever reads next
			// will: what came before it is not lost.
			return out, conn.SetReadDeadline(time.Time{})
		case err != nil:
			return nil, err
		}
	}
}
