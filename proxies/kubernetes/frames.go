package kubernetes

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
)

// What one SPDY frame of an agent may hold, in bytes. Its length has 24 bits, and
// whoever reads frames keeps many of them; a control frame is compressed.
const (
	maxControlFrame = 16 << 10
	maxDataFrame    = maxMessage
)

// Hijack implements http.Hijacker.
func (h *hijacked) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	bounded := &framed{Conn: conn, from: rw.Reader}
	h.conn = bounded
	return bounded, bufio.NewReadWriter(bufio.NewReader(bounded), rw.Writer), nil
}

// framed is a connection on which SPDY frames come, and none that is too large.
type framed struct {
	net.Conn
	from  interface{ Read([]byte) (int, error) }
	check frameCheck
	err   error
}

// Read implements net.Conn.
func (f *framed) Read(p []byte) (int, error) {
	if f.err != nil {
		return 0, f.err
	}
	n, err := f.from.Read(p)
	if f.err = f.check.see(p[:n]); f.err != nil {
		return 0, f.err
	}
	return n, err
}

// frameCheck follows SPDY frames: 8 bytes of head, the last three of which are the
// length of what follows.
type frameCheck struct {
	head [8]byte
	have int // bytes of head
	left int // of the frame under way
}

func (c *frameCheck) see(p []byte) error {
	for len(p) > 0 {
		if c.left > 0 {
			n := min(c.left, len(p))
			c.left -= n
			p = p[n:]
			continue
		}
		n := copy(c.head[c.have:], p)
		c.have += n
		p = p[n:]
		if c.have < len(c.head) {
			return nil
		}
		c.have = 0
		c.left = int(binary.BigEndian.Uint32(c.head[4:]) & (1<<24 - 1))
		most := maxDataFrame
		if c.head[0]&0x80 != 0 {
			most = maxControlFrame
		}
		if c.left > most {
			return fmt.Errorf("kubernetes: a SPDY frame of %d bytes", c.left)
		}
	}
	return nil
}
