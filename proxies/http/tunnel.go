package httpproxy

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/http/request"
)

// The forward proxy. A request with a whole URL is decided as it is. CONNECT
// opens a tunnel that ends here: the agent's TLS is with the gateway, under a
// certificate that its authority signs, and each request in it is decided as
// any other. The host of CONNECT, that of TLS (SNI) and that of each request
// have to be one: else an agent could be let through to one and talk to another.

// proxy serves a request with a whole URL.
func (x *exchange) proxy() {
	var err error
	if x.origin, x.path, x.query, err = request.Target(x.r.RequestURI, x.r.Host, "http", true); err != nil {
		x.denyUnread(err)
		return
	}
	x.serve()
}

// denyUnread refuses a request that cannot be read far enough to be served.
func (x *exchange) denyUnread(err error) {
	session, open := x.open()
	if open != nil {
		deny(x.w, asDenial(open), x.proxied)
		return
	}
	x.session = session
	defer session.Release()
	x.refuse(err)
}

// tunnel is a CONNECT that was let through.
type tunnel struct {
	origin  request.Origin
	token   string
	address string // of the agent
	secure  bool   // the agent's connection to the proxy has TLS
	sni     string // canonical; "" where the agent named none
}

// tunnelConn is the agent's connection under the inner TLS.
type tunnelConn struct {
	net.Conn
	t *tunnel
}

type tunnelKey struct{}

func withTunnel(ctx context.Context, c *tls.Conn) context.Context {
	if inner, ok := c.NetConn().(*tunnelConn); ok {
		return context.WithValue(ctx, tunnelKey{}, inner.t)
	}
	return ctx
}

// connect says whether an agent gets a tunnel. Where it is nil, the agent has its
// answer.
func (s *Server) connect(x *exchange) *tunnel {
	session, err := x.open()
	if err != nil {
		deny(x.w, asDenial(err), true)
		return nil
	}
	x.session = session
	defer session.Release()
	origin, err := request.ParseOrigin("https", x.r.RequestURI)
	if g, ok := x.r.Context().Value(guardKey{}).(*guardedConn); ok && err == nil {
		if refusal := g.violation(); refusal != nil {
			err = refusal // its Host, among others, which net/http keeps to itself
		}
	}
	if err != nil {
		x.refuse(err)
		return nil
	}
	x.origin, x.path = origin, "/"
	if s.signer == nil {
		d := &engine.Denial{Reasons: []string{ReasonNoIntercept}, Message: "the gateway has no authority to look into TLS with, and lets nothing through that it cannot see", Hint: "Ask the operator for 'regate ca'."}
		s.refuseConnect(x, d)
		return nil
	}
	// TLS with an unknown authority is the agent's most likely trouble: the
	// certificate is there before the tunnel says that it is.
	if _, err := s.signer.certificate(origin.Host); err != nil {
		s.log.WithError(err).Error("no certificate can be signed")
		s.refuseConnect(x, &engine.Denial{Reasons: []string{engine.ReasonInternal}, Message: "no certificate can be signed for the host", Hint: "Tell the gateway's operator."})
		return nil
	}
	return &tunnel{origin: origin, token: x.token, address: x.r.RemoteAddr, secure: x.secure}
}

// intercept begins TLS on the agent's connection, which is ours from here on.
func (s *Server) intercept(ctx context.Context, conn net.Conn, t *tunnel) {
	_ = conn.SetDeadline(time.Now().Add(headerTimeout))
	if _, err := conn.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	s.inner.handshake(context.WithoutCancel(ctx), tls.Server(&tunnelConn{Conn: conn, t: t}, s.tunnelTLS(t)))
}

func (s *Server) refuseConnect(x *exchange, d *engine.Denial) {
	p := request.Connecting("forward", x.origin)
	x.session.Refuse(&engine.Request{Action: p.Action, Resource: p.Resource, Detail: p.Detail, Complete: true, Writes: true, Summary: "CONNECT " + x.origin.Authority()}, d)
	deny(x.w, d, true)
}

// tunnelTLS is the gateway's side of the agent's TLS.
func (s *Server) tunnelTLS(t *tunnel) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, SessionTicketsDisabled: true,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			host := t.origin.Host
			if hello.ServerName != "" {
				named, err := request.ParseOrigin("https", hello.ServerName)
				if err != nil {
					return nil, errors.New("the server name is none")
				}
				t.sni, host = named.Host, named.Host
			}
			return s.signer.certificate(host)
		},
	}
}

// tunnelHandler serves requests that come through tunnels.
func (s *Server) tunnelHandler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, ok := r.Context().Value(tunnelKey{}).(*tunnel)
		if !ok {
			deny(w, &engine.Denial{Reasons: []string{engine.ReasonInternal}, Message: "the request came by no tunnel"}, false)
			return
		}
		r.RemoteAddr = t.address
		x := &exchange{s: s, w: w, r: r, t: s.forward, token: t.token, header: "Proxy-Authorization", secure: t.secure, proxied: false}
		var err error
		x.origin, x.path, x.query, err = request.Target(r.RequestURI, r.Host, "https", false)
		if err != nil {
			x.denyUnread(err)
			return
		}
		if x.origin != t.origin || t.sni != "" && t.sni != t.origin.Host {
			x.misdirected()
			return
		}
		x.serve()
	})
}

// misdirected refuses a request to another host than the tunnel is to.
func (x *exchange) misdirected() {
	session, err := x.open()
	if err != nil {
		deny(x.w, asDenial(err), false)
		return
	}
	defer session.Release()
	d := &engine.Denial{Reasons: []string{request.ReasonMisdirected}, Message: "CONNECT, the TLS server name and the request name different hosts", Hint: "Open a tunnel for each host."}
	p := request.Connecting("forward", x.origin)
	session.Refuse(&engine.Request{Action: p.Action, Resource: p.Resource, Detail: p.Detail, Complete: true, Writes: true, Summary: shorten(x.r.Method + " " + x.origin.String() + x.path)}, d)
	deny(x.w, d, false)
}
