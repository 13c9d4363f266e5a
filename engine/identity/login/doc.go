// Package login gets a token for whoever runs the command line: by client
// credentials for machines, or by authorization code with PKCE and a loopback
// redirect (RFC 8252) for people. Tokens are kept in a file that only their
// owner can read, until shortly before they expire.
//
// It is the client's side: it imports no other room of regate.
package login
