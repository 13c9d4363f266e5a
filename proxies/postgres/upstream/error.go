package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// The reason ids of this package. They are API: logs, dashboards and agents
// match on them.
const (
	ReasonConfig      = "upstream/config"      // the target cannot be used as configured
	ReasonCredential  = "upstream/credential"  // the gateway's own password cannot be read
	ReasonUnreachable = "upstream/unreachable" // no connection, or it broke
	ReasonTimeout     = "upstream/timeout"     // no answer in time
	ReasonCancelled   = "upstream/cancelled"   // the caller gave up
	ReasonTLS         = "upstream/tls"         // no TLS, or the server is not who it should be
	ReasonAuth        = "upstream/auth"        // the server refused us, or wanted what is not allowed
	ReasonBusy        = "upstream/busy"        // out of connections, starting up or shutting down
	ReasonRefused     = "upstream/refused"     // the server refused database, role or a setting
	ReasonProtocol    = "upstream/protocol"    // what answers is not PostgreSQL
)

// Error is why there is no connection to the target. Error is for the
// operator's log; AgentMessage and Code are for the agent.
type Error struct {
	Reason string
	Cause  error
}

// Error returns the reason id and everything known, except credentials.
func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Reason, e.Cause) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Code returns the SQLSTATE for the agent.
func (e *Error) Code() string {
	switch e.Reason {
	case ReasonTimeout, ReasonUnreachable, ReasonTLS, ReasonProtocol:
		return "08006"
	case ReasonBusy:
		return "53300"
	case ReasonCancelled:
		return "57014"
	case ReasonRefused:
		return "08004"
	}
	return "08001"
}

// AgentMessage returns what the agent may know: no host, no user, no role.
func (e *Error) AgentMessage() string {
	switch e.Reason {
	case ReasonUnreachable:
		return "the database cannot be reached"
	case ReasonTimeout:
		return "the database did not answer in time"
	case ReasonCancelled:
		return "the connection to the database was given up"
	case ReasonTLS:
		return "the database's TLS certificate could not be verified, or it has no TLS"
	case ReasonAuth, ReasonCredential:
		return "the gateway could not log in to the database"
	case ReasonBusy:
		return "the database takes no connections at the moment"
	case ReasonRefused:
		return "the database refused the session: its name, the role or a parameter"
	}
	return "the gateway cannot use this database"
}

// AgentHint returns what the agent can do.
func (e *Error) AgentHint() string {
	switch e.Reason {
	case ReasonUnreachable, ReasonTimeout, ReasonBusy, ReasonCancelled:
		return "Try again later."
	case ReasonRefused:
		return "Check the connection parameters; the gateway's operator finds the details in its log."
	}
	return "The gateway's operator finds the details in its log."
}

// stage is how far a login has come. pgconn's errors do not tell.
type stage int32

const (
	dialling stage = iota
	encrypting
	loggingIn
)

// classify turns an error of pgconn into one of ours. It leaves out
// pgconn.ConnectError, whose Config holds the password.
func classify(ctx context.Context, at stage, err error) *Error {
	var connect *pgconn.ConnectError
	if errors.As(err, &connect) {
		err = connect.Unwrap()
	}
	return &Error{Reason: reason(ctx, at, err), Cause: err}
}

func reason(ctx context.Context, at stage, err error) string {
	var server *pgconn.PgError
	var network net.Error
	var tooLong *pgproto3.ExceededMaxBodyLenErr
	switch {
	case errors.As(err, &server):
		return serverReason(server.Code)
	case errors.Is(ctx.Err(), context.Canceled):
		return ReasonCancelled
	case ctx.Err() != nil, errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return ReasonTimeout
	case at == dialling:
		return ReasonUnreachable
	case at == encrypting:
		return ReasonTLS
	case errors.As(err, &tooLong):
		return ReasonProtocol
	case errors.As(err, &network), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ReasonUnreachable
	}
	// What is left are pgconn's own refusals: a way to authenticate that is
	// not allowed, no channel binding, a server that does not know the
	// password either.
	return ReasonAuth
}

func serverReason(code string) string {
	switch {
	case strings.HasPrefix(code, "28"):
		return ReasonAuth
	case strings.HasPrefix(code, "53"), strings.HasPrefix(code, "57P"):
		return ReasonBusy
	}
	return ReasonRefused
}
