package httpproxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"

	"github.com/elazarl/goproxy"
	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
)

// goproxy tells what is asked of a forward proxy apart: a request with a whole
// URL, CONNECT, and what is not for a proxy. The answer is an exchange's, and
// what is in a tunnel is served by an HTTP server of our own. Nothing else of
// goproxy is used: its interception lets the Host in a tunnel be another than
// CONNECT's, has no limits, and signs with a key that everybody knows.

// dispatched is a request on its way through goproxy.
type dispatched struct {
	x *exchange
	w *agentWriter
}

type dispatchedKey struct{}

// refused stands for an answer that the agent has got already.
var refused = &goproxy.ConnectAction{Action: goproxy.ConnectReject}

// dispatcher is goproxy without anything that it would do by itself.
func (s *Server) dispatcher() *goproxy.ProxyHttpServer {
	p := goproxy.NewProxyHttpServer()
	p.Logger = printed{s.log}
	p.KeepHeader, p.KeepAcceptEncoding = true, true // an exchange decides what is sent on
	dial := func(context.Context, string, string) (net.Conn, error) {
		return nil, errors.New("only exchanges make connections")
	}
	p.Tr, p.ConnectDial = &http.Transport{DialContext: dial}, nil
	p.NonproxyHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		deny(w, &engine.Denial{Reasons: []string{ReasonForwardOnly}, Message: "this is a proxy, and the request is not one to a proxy", Hint: "Set HTTP_PROXY and HTTPS_PROXY to this address."}, false)
	})
	p.OnRequest().HandleConnectFunc(func(host string, ctx *goproxy.ProxyCtx) (*goproxy.ConnectAction, string) {
		d, ok := ctx.Req.Context().Value(dispatchedKey{}).(*dispatched)
		if !ok {
			return refused, host
		}
		t := s.connect(d.x)
		if t == nil {
			d.w.answered, ctx.Resp = true, &http.Response{}
			return refused, host
		}
		return &goproxy.ConnectAction{Action: goproxy.ConnectHijack, Hijack: func(_ *http.Request, conn net.Conn, _ *goproxy.ProxyCtx) {
			s.intercept(d.x.r.Context(), conn, t)
		}}, host
	})
	p.OnRequest().DoFunc(func(r *http.Request, _ *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		if d, ok := r.Context().Value(dispatchedKey{}).(*dispatched); ok {
			d.x.proxy()
			d.w.answered = true
		}
		return r, &http.Response{StatusCode: http.StatusBadGateway, Body: http.NoBody}
	})
	return p
}

// proxyHandler serves a listener of the forward proxy.
func (s *Server) proxyHandler(secure bool) http.Handler {
	dispatcher := s.dispatcher()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, err := bearer(r.Header, "Proxy-Authorization")
		if err != nil {
			deny(w, asDenial(err), true)
			return
		}
		d := &dispatched{w: &agentWriter{ResponseWriter: w}}
		r = r.WithContext(context.WithValue(r.Context(), dispatchedKey{}, d))
		d.x = &exchange{s: s, w: w, r: r, t: s.forward, token: token, header: "Proxy-Authorization", proxied: true, secure: secure}
		dispatcher.ServeHTTP(d.w, r)
	})
}

// agentWriter is the agent's connection for those who take it over: for
// goproxy, which may answer only what has not been answered, and for WebSocket.
type agentWriter struct {
	http.ResponseWriter
	answered bool
}

// Header implements http.ResponseWriter.
func (w *agentWriter) Header() http.Header {
	if w.answered {
		return http.Header{}
	}
	return w.ResponseWriter.Header()
}

// WriteHeader implements http.ResponseWriter.
func (w *agentWriter) WriteHeader(status int) {
	if !w.answered {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *agentWriter) Write(p []byte) (int, error) {
	if w.answered {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// Hijack implements http.Hijacker. What the server has read ahead, as a
// ClientHello in the packet of CONNECT, comes first from the connection: who
// takes it need not look into the reader, which is empty.
func (w *agentWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.answered {
		return nil, nil, errors.New("the request has its answer")
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if g, ok := conn.(*guardedConn); ok {
		g.release()
	}
	if n := rw.Reader.Buffered(); n > 0 {
		ahead, err := rw.Reader.Peek(n)
		if err != nil {
			_ = conn.Close()
			return nil, nil, err
		}
		conn = &aheadConn{Conn: conn, r: io.MultiReader(bytes.NewReader(slices.Clone(ahead)), conn)}
	}
	rw.Reader.Reset(conn)
	return conn, rw, nil
}

// aheadConn gives what was read ahead first.
type aheadConn struct {
	net.Conn
	r io.Reader
}

// Read implements net.Conn.
func (c *aheadConn) Read(p []byte) (int, error) { return c.r.Read(p) }

// printed sends what goproxy complains of to the log's lowest level.
type printed struct{ log logrus.FieldLogger }

// Printf implements goproxy.Logger.
func (p printed) Printf(format string, v ...any) { p.log.Debugf(format, v...) }
