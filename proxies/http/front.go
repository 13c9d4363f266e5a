package httpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// front takes connections that are ready (after TLS) to the HTTP server of
// their protocol. Those of HTTP/1 are guarded.
type front struct {
	s      *Server
	plain  *handed // HTTP/1
	second *handed // HTTP/2, always *tls.Conn
}

// front starts the servers of a handler.
func (s *Server) front(ctx context.Context, handler http.Handler) (*front, error) {
	f := &front{s: s, plain: newHanded(), second: newHanded()}
	one, two := s.httpServer(ctx, handler, false), s.httpServer(ctx, handler, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.serving = append(s.serving, one, two)
	// They end when Shutdown closes them, and with them what was handed to them.
	go func() { _ = one.Serve(f.plain) }()
	go func() { _ = two.Serve(f.second) }()
	return f, nil
}

func (f *front) stop() {
	_ = f.plain.Close()
	_ = f.second.Close()
}

// accept takes connections of a listener until it fails or the server is shut
// down.
func (f *front) accept(ln net.Listener, take func(net.Conn)) error {
	defer f.stop()
	go func() {
		<-f.plain.done
		_ = ln.Close()
	}()
	for {
		conn, err := ln.Accept()
		if err != nil {
			select {
			case <-f.plain.done:
				return ErrClosed
			default:
			}
			var temporary net.Error
			if errors.As(err, &temporary) && temporary.Timeout() || !errors.Is(err, net.ErrClosed) && isExhausted(err) {
				time.Sleep(50 * time.Millisecond) // out of files: it passes
				continue
			}
			return err
		}
		take(conn)
	}
}

// handshake does TLS and hands the connection to the server of its protocol.
func (f *front) handshake(ctx context.Context, conn *tls.Conn) {
	go func() {
		ctx, cancel := context.WithTimeout(ctx, headerTimeout)
		defer cancel()
		if err := conn.HandshakeContext(ctx); err != nil {
			f.s.log.WithError(err).WithField("client", conn.RemoteAddr().String()).Debug("no TLS with an agent")
			_ = conn.Close()
			return
		}
		if conn.ConnectionState().NegotiatedProtocol == "h2" {
			f.second.give(conn)
			return
		}
		f.plain.give(&guardedConn{Conn: conn})
	}()
}

// handed is a listener of connections that somebody else has accepted.
type handed struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func newHanded() *handed {
	return &handed{conns: make(chan net.Conn), done: make(chan struct{})}
}

// give hands a connection over, or closes it when nobody takes it any more.
func (h *handed) give(c net.Conn) {
	select {
	case h.conns <- c:
	case <-h.done:
		_ = c.Close()
	}
}

// Accept implements net.Listener.
func (h *handed) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handed) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handed) Addr() net.Addr { return &net.UnixAddr{Name: "handed over", Net: "unix"} }
