// Package handshake is the agent's side of a PostgreSQL connection until the
// first statement: TLS, the startup packet, the token, and the answer.
//
//	client ──▶ [GSSENCRequest ◀ N] [SSLRequest ◀ S|N, TLS] or direct TLS
//	       ──▶ CancelRequest                       Accept: Client.Cancel
//	       ──▶ StartupMessage                      Accept: Client
//	       ◀── [NegotiateProtocolVersion]
//	       ◀── AuthenticationCleartextPassword     Token
//	       ──▶ PasswordMessage (the JWT)
//	    or ◀── AuthenticationSASL OAUTHBEARER      Token
//	       ──▶ SASLInitialResponse (the JWT)
//	       ◀── AuthenticationOk, ParameterStatus…, BackendKeyData,
//	           ReadyForQuery                       Welcome
//	    or ◀── ErrorResponse, end                  Refuse
//
// Nothing here decides who the agent is or what it may do. Until the token is
// known every byte comes from a stranger: lengths are bounded, time is
// bounded, a parameter that is not on the list is refused by name, and nothing
// is read past the message that is being read. So when Welcome returns,
// Client.Conn stands exactly at the first message after the handshake, and
// bytes sent ahead of a TLS handshake can only end up in that handshake.
//
// The package imports no other room of regate.
package handshake
