package handshake

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	version30 = 3 << 16
	version32 = 3<<16 | 2
)

// CancelKey is what a cancel request names a session by.
type CancelKey struct {
	PID    uint32
	Secret []byte // 4 to 256 bytes
}

// Client is a connection whose startup packet has been read.
type Client struct {
	// Conn is the connection, after TLS. Nothing has been read past the
	// handshake, so the next read begins with the next message.
	Conn net.Conn
	// Cancel is set when the connection is a cancel request; then nothing
	// below but TLS and SNI is.
	Cancel *CancelKey

	Version     uint32 // as negotiated: 3<<16 or 3<<16|2
	User        string
	Database    string // the user's name when none was given
	Application string // application_name
	SNI         string // the TLS server name, "" without TLS
	TLS         bool

	// Params are the settings to start the session upstream with, by
	// PostgreSQL's own spelling of their names. application_name is among them.
	Params map[string]string
	// Dropped are names the client sent that are accepted and not forwarded:
	// protocol options we do not know (the client is told so) and settings
	// whose value the gateway fixes anyway.
	Dropped []string
	// Asserted is what the agent says of itself, from the startup parameters
	// regate.purpose, regate.ticket, regate.task and regate.step, without the
	// prefix. It is never verified. Not nil.
	Asserted map[string]string

	front    *Front
	deadline time.Time // of the whole handshake
	oauth    bool      // OAUTHBEARER, not a password
	// negotiate is a NegotiateProtocolVersion still to be sent.
	negotiate []byte
	// pending says that an OAUTHBEARER exchange awaits its outcome.
	pending bool
}

// SecretSize is the length of the cancel secret that this client expects: 4
// bytes in protocol 3.0, 32 in 3.2.
func (c *Client) SecretSize() int {
	if c.Version >= version32 {
		return 32
	}
	return 4
}

// Welcome ends the handshake: AuthenticationOk, the server's settings, the
// cancel key and ReadyForQuery in one write. Deadlines are lifted.
//
// secret has SecretSize bytes (protocol 3.2 allows 4 to 256), tx is 'I', 'T'
// or 'E'. On an error the connection is closed.
func (c *Client) Welcome(status map[string]string, pid uint32, secret []byte, tx byte) error {
	if err := c.welcome(status, pid, secret, tx); err != nil {
		_ = c.Conn.Close()
		return fmt.Errorf("welcome the client: %w", err)
	}
	c.pending = false
	return nil
}

func (c *Client) welcome(status map[string]string, pid uint32, secret []byte, tx byte) error {
	if c.Version != version30 && c.Version != version32 {
		return errors.New("no startup packet has been read")
	}
	if len(secret) < 4 || len(secret) > 256 || (c.Version == version30 && len(secret) != 4) {
		return fmt.Errorf("a cancel secret of %d bytes does not fit protocol 3.%d", len(secret), c.Version&0xffff)
	}
	if tx != 'I' && tx != 'T' && tx != 'E' {
		return fmt.Errorf("impossible transaction status %q", tx)
	}
	b, err := (&pgproto3.AuthenticationOk{}).Encode(c.negotiate)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(status)) {
		value := status[name]
		if strings.IndexByte(name, 0) >= 0 || strings.IndexByte(value, 0) >= 0 {
			return fmt.Errorf("parameter status %q holds a zero byte", name)
		}
		if b, err = (&pgproto3.ParameterStatus{Name: name, Value: value}).Encode(b); err != nil {
			return err
		}
	}
	if b, err = (&pgproto3.BackendKeyData{ProcessID: pid, SecretKey: secret}).Encode(b); err != nil {
		return err
	}
	if b, err = (&pgproto3.ReadyForQuery{TxStatus: tx}).Encode(b); err != nil {
		return err
	}
	c.negotiate = nil
	if err := c.Conn.SetDeadline(time.Now().Add(c.front.timeout())); err != nil {
		return err
	}
	if err := c.send(b); err != nil {
		return err
	}
	return c.Conn.SetDeadline(time.Time{})
}

// Refuse tells the client why, as PostgreSQL would (FATAL), and closes the
// connection. It waits up to a second for the client to read it: a close with
// unread input makes a TCP stack throw the message away.
//
// After an OAUTHBEARER exchange an error of SQLSTATE class 28 is told the way
// RFC 7628 wants it first. A nil error is an internal one.
func (c *Client) Refuse(e *Error) {
	defer c.Conn.Close()
	if e == nil {
		e = &Error{Reason: "gateway/internal", Message: "the connection was refused"}
	}
	until := time.Now().Add(linger)
	_ = c.Conn.SetDeadline(until)
	switch {
	case e.Reason == ReasonGone || c.Cancel != nil:
		return
	case errors.Is(e.Cause, errHTTP):
		_ = c.send([]byte(httpAnswer))
	case c.Version == 0:
		return // nothing that has been said so far is PostgreSQL
	default:
		if c.pending && strings.HasPrefix(e.Code, "28") {
			c.pending = false
			c.failBearer()
		}
		b, err := (&pgproto3.ErrorResponse{
			Severity: "FATAL", SeverityUnlocalized: "FATAL",
			Code:    or(e.Code, codeInternal),
			Message: cstring(or(e.Message, "the connection was refused")),
			Detail:  "reason: " + cstring(e.Reason),
			Hint:    cstring(e.Hint),
		}).Encode(c.negotiate)
		if err != nil {
			return
		}
		c.negotiate = nil
		if c.send(b) != nil {
			return
		}
	}
	c.drain()
}

const httpAnswer = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThis address speaks the PostgreSQL protocol, not HTTP.\n"

// drain says that no more comes and reads until the client has closed too.
func (c *Client) drain() {
	closer, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || closer.CloseWrite() != nil {
		return
	}
	if secured, ok := c.Conn.(*tls.Conn); ok {
		if inner, ok := secured.NetConn().(interface{ CloseWrite() error }); ok {
			_ = inner.CloseWrite()
		}
	}
	_, _ = io.CopyN(io.Discard, c.Conn, maxDrain)
}

func (c *Client) send(b []byte) error {
	_, err := c.Conn.Write(b)
	return err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// cstring makes s fit a field that ends with a zero byte.
func cstring(s string) string { return strings.ReplaceAll(s, "\x00", "") }
