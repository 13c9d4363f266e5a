package handshake

import "strings"

// The reason ids of this package. They are API: logs, dashboards and agents
// match on them.
const (
	// ReasonGone: the client closed the connection or its network broke.
	ReasonGone = "postgres/client-gone"
	// ReasonTimeout: the handshake took longer than Front.Timeout.
	ReasonTimeout = "postgres/handshake-timeout"
	// ReasonClosing: the context ended; the gateway is shutting down.
	ReasonClosing = "postgres/closing"
	// ReasonNotPostgres: the first bytes are of another protocol.
	ReasonNotPostgres = "postgres/not-postgres"
	// ReasonProtocol: a message breaks the protocol.
	ReasonProtocol = "postgres/protocol-violation"
	// ReasonOversized: a message is longer than its limit.
	ReasonOversized = "postgres/oversized"
	// ReasonVersion: the client speaks another major version.
	ReasonVersion = "postgres/protocol-version"
	// ReasonTLS: the TLS handshake failed.
	ReasonTLS = "postgres/tls-failed"
	// ReasonTLSRequired: plaintext on a listener that wants TLS.
	ReasonTLSRequired = "postgres/tls-required"
	// ReasonTLSUnavailable: TLS is configured but there is no certificate.
	ReasonTLSUnavailable = "postgres/tls-unavailable"
	// ReasonReplication: a replication connection was asked for.
	ReasonReplication = "postgres/replication-refused"
	// ReasonParameter: a startup parameter, or its value, is not allowed.
	ReasonParameter = "postgres/parameter-refused"
	// ReasonUser: no user name in the startup packet.
	ReasonUser = "postgres/user-missing"
	// ReasonNoToken: the client sent no token, or an empty one. The id is the
	// one of engine/identity.
	ReasonNoToken = "identity/missing"
	// ReasonBadToken: what came cannot be a token.
	ReasonBadToken = "identity/malformed"
	// ReasonUnsupportedAuth: the client chose a way to authenticate that this
	// listener does not offer.
	ReasonUnsupportedAuth = "postgres/authentication-unsupported"
)

// SQLSTATEs, from PostgreSQL's appendix A.
const (
	codeProtocolViolation = "08P01"
	codeUnsupported       = "0A000"
	codeInvalidAuth       = "28000"
	codeInvalidPassword   = "28P01"
	codeNotAllowed        = "42501"
	codeCancelled         = "57014"
	codeShutdown          = "57P01"
	codeCannotConnect     = "57P03"
	codeInternal          = "XX000"
)

// Error is why a connection ended before its first statement. All of it but
// the cause is shown to the client.
type Error struct {
	Code    string // SQLSTATE, five characters; "" is XX000
	Reason  string // a reason id, sent as the DETAIL "reason: …"
	Message string // what is wrong, one sentence
	Hint    string // what to do next, one sentence; may be empty
	Cause   error  // for the log, never for the client
}

// Error returns the reason id, the message and the cause.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Reason)
	b.WriteString(": ")
	b.WriteString(e.Message)
	if e.Cause != nil {
		b.WriteString(": ")
		b.WriteString(e.Cause.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }
