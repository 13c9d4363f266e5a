// Package upstream is the target's side of a PostgreSQL connection: it logs in
// with the gateway's own credential and hands over the socket.
//
// The login is pgconn's (SCRAM-SHA-256 with channel binding, md5, password,
// client certificate, trust). What is added here is what a gateway must hold
// on to: one server and no fallback, TLS verified in full or none at all by
// configuration, only the ways to authenticate that are allowed, a role and
// settings that no startup parameter of the agent can override, and errors
// that tell the operator everything and the agent nothing of the network.
//
// The package imports no other room of regate.
package upstream
