package handshake

import (
	"context"
	"errors"
	"net"
	"time"
)

// linger is how long a refused client may take to read why.
const linger = time.Second

// maxDrain bounds what is read and thrown away meanwhile.
const maxDrain = 256 << 10

// past is a deadline that has always gone by.
var past = time.Unix(1, 0)

// guard sets the handshake's deadline and breaks every read and write when ctx
// ends. The function it returns ends that, and tells whether ctx ended first;
// after it nothing touches the deadline any more.
func (c *Client) guard(ctx context.Context) (release func() error) {
	conn := c.Conn // c.Conn changes with TLS; the deadline is the socket's
	_ = conn.SetDeadline(c.deadline)
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = conn.SetDeadline(past)
	})
	return func() error {
		if stop() {
			return nil
		}
		<-done
		return context.Cause(ctx)
	}
}

// explain turns any failure of the handshake into an Error.
func (c *Client) explain(ctx context.Context, err error) *Error {
	var refusal *Error
	var network net.Error
	switch {
	case ctx.Err() != nil:
		return &Error{Code: codeShutdown, Reason: ReasonClosing, Message: "the gateway is closing the connection", Cause: context.Cause(ctx)}
	case errors.As(err, &refusal):
		return refusal
	case errors.As(err, &network) && network.Timeout():
		return &Error{Code: codeCancelled, Reason: ReasonTimeout, Message: "the handshake took too long", Cause: err}
	default:
		return &Error{Reason: ReasonGone, Message: "the client closed the connection during the handshake", Cause: err}
	}
}
