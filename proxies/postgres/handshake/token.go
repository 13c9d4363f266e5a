package handshake

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Token asks the client for its token and returns it as it came: not verified.
// It asks once; it ends with the handshake's deadline or ctx.
//
// An error is always an *Error: the client has been answered and the
// connection is closed. After a token the caller ends with Welcome or Refuse.
func (c *Client) Token(ctx context.Context) (string, error) {
	release := c.guard(ctx)
	token, err := c.token()
	if gone := release(); gone != nil {
		err = gone
	}
	if err != nil {
		refusal := c.explain(ctx, err)
		c.Refuse(refusal)
		return "", refusal
	}
	return token, nil
}

func (c *Client) token() (string, error) {
	if c.Version == 0 || c.Cancel != nil {
		return "", &Error{Reason: ReasonProtocol, Message: "no startup packet has been read"}
	}
	if !c.TLS && !c.front.Plaintext {
		return "", &Error{Code: codeInvalidAuth, Reason: ReasonTLSRequired, Message: "a token is taken over an encrypted connection only"}
	}
	if c.oauth {
		return c.bearer()
	}
	if err := c.ask(&pgproto3.AuthenticationCleartextPassword{}); err != nil {
		return "", err
	}
	body, err := c.answer()
	if err != nil {
		return "", err
	}
	// A password is one C string and nothing more.
	token, rest, terminated := strings.Cut(string(body), "\x00")
	switch {
	case !terminated || rest != "":
		return "", &Error{Code: codeProtocolViolation, Reason: ReasonProtocol, Message: "invalid password packet"}
	case token == "":
		return "", &Error{Code: codeInvalidPassword, Reason: ReasonNoToken,
			Message: "no token was given",
			Hint:    "Send the access token as the password, for example in PGPASSWORD."}
	}
	return token, nil
}

// ask sends a question, after the version that is still to be announced.
func (c *Client) ask(question pgproto3.BackendMessage) error {
	b, err := question.Encode(c.negotiate)
	if err != nil {
		return err
	}
	c.negotiate = nil
	return c.send(b)
}

// answer reads one 'p' message, the only one a client may send meanwhile, and
// returns its body.
func (c *Client) answer() ([]byte, error) {
	var header [5]byte
	if _, err := io.ReadFull(c.Conn, header[:]); err != nil {
		return nil, err
	}
	if header[0] == 'X' {
		return nil, io.EOF
	}
	if header[0] != 'p' {
		return nil, &Error{Code: codeProtocolViolation, Reason: ReasonProtocol,
			Message: fmt.Sprintf("expected a password message, got message type %q", header[0])}
	}
	size := binary.BigEndian.Uint32(header[1:])
	switch {
	case size < 4:
		return nil, &Error{Code: codeProtocolViolation, Reason: ReasonProtocol, Message: "invalid password packet size"}
	case uint64(size) > uint64(c.front.maxPassword())+4:
		return nil, &Error{Code: codeProtocolViolation, Reason: ReasonOversized,
			Message: fmt.Sprintf("the token is longer than %d bytes", c.front.maxPassword())}
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(c.Conn, body); err != nil {
		return nil, err
	}
	return body, nil
}
