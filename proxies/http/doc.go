// Package httpproxy is the proxy for HTTP APIs: a reverse proxy for named
// upstreams, and a forward proxy for clients that are told to use one. Every
// request is read (package request below it), decided by the gate, recorded,
// and only then sent to a target whose address was checked; what comes back is
// masked while it streams (package body below it).
//
// It imports package engine and engine/input, mask; never OPA.
package httpproxy
