package httpproxy

import (
	"bytes"
	"errors"
	"net"
	"strconv"
	"sync/atomic"

	"github.com/regate-dev/regate/proxies/http/request"
)

// guardKey is the context key of a request's *guardedConn.
type guardKey struct{}

// guardedConn looks at the HTTP/1 that an agent sends before net/http does:
// net/http forgives what another reader may take differently (a Content-Length
// beside Transfer-Encoding, bare line feeds, headers over two lines), and shows
// no handler that it was there. It follows the framing only as far as it is
// plain; what is not is a violation, and the connection's next request is
// refused.
type guardedConn struct {
	net.Conn

	state guardState
	head  []byte // so far; in chunks the line with their size
	left  int64  // bytes of a body, or of a chunk
	found atomic.Pointer[request.Refusal]
}

type guardState int

const (
	inHead guardState = iota
	inBody
	inSize    // the line before a chunk
	inChunk   // its bytes, and the line's end behind them
	inTrailer // what comes after the last chunk
	blind     // nothing more is looked at
)

// Read implements net.Conn.
func (g *guardedConn) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	if n > 0 {
		g.scan(p[:n])
	}
	return n, err
}

// violation returns what was found, nil when nothing was.
func (g *guardedConn) violation() *request.Refusal { return g.found.Load() }

// release ends the guard: the connection is no longer one of HTTP/1. Nothing
// may read from it meanwhile.
func (g *guardedConn) release() { g.state, g.head = blind, nil }

func (g *guardedConn) fail(err error) {
	g.state, g.head = blind, nil
	var refusal *request.Refusal
	if errors.As(err, &refusal) {
		g.found.Store(refusal)
	}
}

func (g *guardedConn) scan(p []byte) {
	for len(p) > 0 {
		switch g.state {
		case blind:
			return
		case inBody, inChunk:
			n := min(int64(len(p)), g.left)
			g.left -= n
			p = p[n:]
			if g.left > 0 {
				return
			}
			if g.state == inBody {
				g.state = inHead
			} else {
				g.state = inSize
			}
		case inHead, inSize, inTrailer:
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				i = len(p) - 1
			}
			g.head = append(g.head, p[:i+1]...)
			p = p[i+1:]
			if len(g.head) > maxHeader+4096 {
				g.state = blind // net/http refuses it
				return
			}
			if g.head[len(g.head)-1] == '\n' {
				g.line()
			}
		}
	}
}

// line is called at each line feed in a head.
func (g *guardedConn) line() {
	switch g.state {
	case inHead:
		if len(g.head) > 2 && bytes.HasSuffix(g.head, []byte("\n\n")) || bytes.HasSuffix(g.head, []byte("\n\r\n")) && !bytes.HasSuffix(g.head, []byte("\r\n\r\n")) {
			_, err := request.CheckHead(append(bytes.TrimRight(g.head, "\r\n"), "\n\r\n\r\n"...))
			g.fail(err)
			return
		}
		if !bytes.HasSuffix(g.head, []byte("\r\n\r\n")) {
			return
		}
		framing, err := request.CheckHead(g.head)
		if err != nil {
			g.fail(err)
			return
		}
		g.head = g.head[:0]
		switch {
		case framing.Chunked:
			g.state = inSize
		case framing.Length > 0:
			g.state, g.left = inBody, framing.Length
		}
	case inSize:
		size, ok := chunkSize(g.head)
		g.head = g.head[:0]
		switch {
		case !ok:
			g.fail(request.BadChunk())
		case size == 0:
			g.state = inTrailer
		default:
			g.state, g.left = inChunk, size+2
		}
	case inTrailer:
		if bytes.Equal(g.head, []byte("\r\n")) || bytes.HasSuffix(g.head, []byte("\r\n\r\n")) {
			g.state, g.head = inHead, g.head[:0]
		}
	}
}

// chunkSize reads the line before a chunk. Extensions are let through: they end
// here.
func chunkSize(line []byte) (int64, bool) {
	text, ok := bytes.CutSuffix(line, []byte("\r\n"))
	if !ok || bytes.ContainsAny(text, "\r\n") {
		return 0, false
	}
	digits, _, _ := bytes.Cut(text, []byte(";"))
	if len(digits) == 0 || len(digits) > 15 {
		return 0, false
	}
	for _, c := range digits {
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0, false
		}
	}
	size, err := strconv.ParseInt(string(digits), 16, 63)
	return size, err == nil
}
