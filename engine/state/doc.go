// Package state keeps what regate must remember: NATS JetStream, embedded in
// the process by default or an existing cluster at scale.
//
// The embedded server has no listener: the process talks to it over an
// in-memory connection, and its directory is locked, so that a second process
// cannot open it. An acknowledged publish to a stream with one replica has
// been handed to the operating system (a write(2) before the
// acknowledgement), so it survives kill -9; with Sync "always" it has been
// flushed to the disk and survives the loss of power too.
//
// This package imports no other room of regate.
package state
