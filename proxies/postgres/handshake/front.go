package handshake

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"
)

const (
	// DefaultTimeout bounds a handshake when Front.Timeout is 0.
	DefaultTimeout = 15 * time.Second
	// DefaultMaxStartup is MAX_STARTUP_PACKET_LENGTH of PostgreSQL.
	DefaultMaxStartup = 10_000
	// DefaultMaxPassword is PG_MAX_AUTH_TOKEN_LENGTH of PostgreSQL.
	DefaultMaxPassword = 64 << 10

	// alpn is the protocol name that PostgreSQL 17 registered.
	alpn = "postgresql"

	// minPacket is a length and a request code; maxCancel adds the process id
	// and the longest secret of protocol 3.2.
	minPacket = 8
	minCancel = 12 + 4
	maxCancel = 12 + 256

	codeSSL    = 1234<<16 | 5679
	codeGSSENC = 1234<<16 | 5680
	codeCancel = 1234<<16 | 5678
)

// Front is how a listener receives clients. The zero value refuses everyone:
// it has neither TLS nor leave for plaintext. It is read-only once in use.
type Front struct {
	// TLS returns the configuration for one connection, so that certificates
	// can change while the gateway runs. nil: this listener has no TLS. When it
	// returns nil the client is refused; there is no way down to plaintext.
	TLS func() *tls.Config
	// Plaintext allows connections without TLS: tokens travel in the clear.
	Plaintext bool

	// OAuthBearer allows OAUTHBEARER. PostgreSQL offers one method to a
	// connection, and a client older than version 18 fails on a list that
	// holds OAUTHBEARER alone. So a client asks for it with the startup
	// parameter regate.auth=oauthbearer.
	OAuthBearer bool
	// OAuthFirst turns that round: OAUTHBEARER is offered unless the client
	// asks for regate.auth=password. It needs OAuthBearer.
	OAuthFirst bool
	// Discovery is the OpenID configuration's URL and Scope the scopes to ask
	// for: sent to OAUTHBEARER clients that have no valid token.
	Discovery, Scope string

	// Timeout bounds a handshake, from Accept to the end of Token, and each
	// write after it. 0: DefaultTimeout.
	Timeout time.Duration
	// MaxStartup bounds the startup packet in bytes, without its length word.
	// 0: DefaultMaxStartup.
	MaxStartup int
	// MaxPassword bounds the message that carries the token, in bytes.
	// 0: DefaultMaxPassword.
	MaxPassword int
}

// Accept reads everything up to and including the startup packet. It returns
// within Timeout, and a moment more when a refused client is given time to
// read why.
//
// When Client.Cancel is set the connection is a cancel request: act on it,
// answer nothing, close. An error is always an *Error: the client has been
// answered as far as that is possible, and the connection is closed.
func (f *Front) Accept(ctx context.Context, conn net.Conn) (*Client, error) {
	c := &Client{Conn: conn, front: f, deadline: time.Now().Add(f.timeout())}
	release := c.guard(ctx)
	err := c.start()
	if gone := release(); gone != nil {
		err = gone
	}
	if err != nil {
		refusal := c.explain(ctx, err)
		c.Refuse(refusal)
		return nil, refusal
	}
	return c, nil
}

// start is Accept without its clock.
func (c *Client) start() error {
	f := c.front
	var sslDone, gssDone bool
	var header [4]byte
	if _, err := io.ReadFull(c.Conn, header[:1]); err != nil {
		return err
	}
	if header[0] == recordTypeHandshake {
		if err := c.direct(header[0]); err != nil {
			return err
		}
		sslDone = true
		if _, err := io.ReadFull(c.Conn, header[:1]); err != nil {
			return err
		}
	}
	for {
		if _, err := io.ReadFull(c.Conn, header[1:]); err != nil {
			return err
		}
		body, err := c.packet(header)
		if err != nil {
			return err
		}
		switch code := binary.BigEndian.Uint32(body); {
		case code == codeSSL && len(body) == 4 && !sslDone:
			sslDone = true
			if err := c.upgrade(); err != nil {
				return err
			}
		case code == codeGSSENC && len(body) == 4 && !gssDone:
			gssDone = true
			if err := c.send([]byte{'N'}); err != nil {
				return err
			}
		case code == codeSSL || code == codeGSSENC:
			c.Version = version30
			return &Error{Code: codeProtocolViolation, Reason: ReasonProtocol, Message: "encryption was asked for twice, or in a malformed request"}
		case code == codeCancel:
			// A client before version 17 cancels in plaintext even when its
			// session is encrypted, so this comes before the demand for TLS.
			if len(body) < minCancel-4 || len(body) > maxCancel-4 {
				return &Error{Reason: ReasonProtocol, Message: fmt.Sprintf("a cancel request of %d bytes", len(body)+4)}
			}
			c.Cancel = &CancelKey{PID: binary.BigEndian.Uint32(body[4:]), Secret: body[8:]}
			return nil
		default:
			c.Version = version30 // it can read an ErrorResponse
			if !c.TLS && !f.Plaintext {
				return &Error{Code: codeInvalidAuth, Reason: ReasonTLSRequired,
					Message: "this gateway takes encrypted connections only",
					Hint:    "Connect with sslmode=verify-full, or sslmode=require."}
			}
			return c.startup(body)
		}
		if _, err := io.ReadFull(c.Conn, header[:1]); err != nil {
			return err
		}
	}
}

// packet reads the body of a packet without a type byte.
func (c *Client) packet(header [4]byte) ([]byte, error) {
	size := binary.BigEndian.Uint32(header[:])
	if looksLikeHTTP(header) {
		return nil, &Error{Reason: ReasonNotPostgres, Message: "the client speaks HTTP; this address speaks PostgreSQL", Cause: errHTTP}
	}
	if size < minPacket || uint64(size) > uint64(c.front.maxStartup())+4 {
		// PostgreSQL answers nothing here either: whoever sent this would not
		// understand it.
		return nil, &Error{Reason: ReasonNotPostgres, Message: fmt.Sprintf("the first packet has an impossible length: %d bytes", size)}
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(c.Conn, body); err != nil {
		return nil, err
	}
	return body, nil
}

// upgrade answers an SSLRequest. c.Conn has been read to the end of the
// request and no further, so whatever follows goes through the TLS handshake:
// plaintext put in front of it by somebody else makes it fail.
func (c *Client) upgrade() error {
	if c.front.TLS == nil {
		return c.send([]byte{'N'})
	}
	config := c.front.tlsConfig()
	if config == nil {
		c.Version = version30
		return &Error{Code: codeCannotConnect, Reason: ReasonTLSUnavailable, Message: "the gateway has no certificate at the moment"}
	}
	if err := c.send([]byte{'S'}); err != nil {
		return err
	}
	return c.encrypt(c.Conn, config)
}

// direct takes a connection that begins with a TLS handshake (PostgreSQL 17).
// Only the ALPN tells that it is meant for PostgreSQL.
func (c *Client) direct(first byte) error {
	config := c.front.tlsConfig()
	if config == nil {
		return &Error{Reason: ReasonTLSUnavailable, Message: "direct TLS on a listener without TLS"}
	}
	if err := c.encrypt(&prefixed{Conn: c.Conn, first: []byte{first}}, config); err != nil {
		return err
	}
	if got := c.Conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; got != alpn {
		return &Error{Reason: ReasonTLS, Message: "direct TLS without the ALPN protocol " + alpn}
	}
	return nil
}

func (c *Client) encrypt(conn net.Conn, config *tls.Config) error {
	secured := tls.Server(conn, config)
	if err := secured.Handshake(); err != nil {
		c.Version = 0 // no plaintext answer into a broken TLS stream
		var network net.Error
		if errors.As(err, &network) && network.Timeout() {
			return err
		}
		return &Error{Reason: ReasonTLS, Message: "the TLS handshake failed", Cause: err}
	}
	c.Conn, c.TLS, c.SNI = secured, true, secured.ConnectionState().ServerName
	return nil
}

// tlsConfig returns the configuration for one connection: the listener's with
// the parts that this protocol fixes, nil when there is none.
func (f *Front) tlsConfig() *tls.Config {
	if f.TLS == nil {
		return nil
	}
	return fixed(f.TLS())
}

func fixed(config *tls.Config) *tls.Config {
	if config == nil {
		return nil
	}
	if config.GetConfigForClient == nil && config.MinVersion >= tls.VersionTLS12 && slices.Equal(config.NextProtos, []string{alpn}) {
		return config
	}
	config = config.Clone()
	config.NextProtos = []string{alpn}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	if choose := config.GetConfigForClient; choose != nil {
		config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			chosen, err := choose(hello)
			if chosen == nil || err != nil {
				return nil, err
			}
			chosen = chosen.Clone()
			chosen.GetConfigForClient = nil
			return fixed(chosen), nil
		}
	}
	return config
}

// recordTypeHandshake begins every TLS connection. A startup packet begins
// with the first byte of its length, which is 0.
const recordTypeHandshake = 0x16

// prefixed gives back the byte that was read to tell TLS from a packet.
type prefixed struct {
	net.Conn
	first []byte
}

func (p *prefixed) Read(b []byte) (int, error) {
	if len(p.first) > 0 && len(b) > 0 {
		n := copy(b, p.first)
		p.first = p.first[n:]
		return n, nil
	}
	return p.Conn.Read(b)
}

func (p *prefixed) CloseWrite() error {
	closer, ok := p.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	return closer.CloseWrite()
}

var errHTTP = errors.New("an HTTP request")

func looksLikeHTTP(first [4]byte) bool {
	switch string(first[:]) {
	case "GET ", "POST", "PUT ", "HEAD", "DELE", "OPTI", "PATC", "CONN", "TRAC", "PRI ":
		return true
	}
	return false
}

func (f *Front) timeout() time.Duration {
	if f.Timeout > 0 {
		return f.Timeout
	}
	return DefaultTimeout
}

func (f *Front) maxStartup() int {
	if f.MaxStartup > 0 {
		return f.MaxStartup
	}
	return DefaultMaxStartup
}

func (f *Front) maxPassword() int {
	if f.MaxPassword > 0 {
		return f.MaxPassword
	}
	return DefaultMaxPassword
}
