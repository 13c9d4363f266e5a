// Package record writes down what agents did, so that it can be proved later.
//
// A Writer appends the events of one session. The Journal puts the events of
// all sessions into frames and stores a frame at a time, in a Log on the local
// disk or in a JetStream stream; an event's Ack is settled when the frame that
// holds it is stored.
// The Recorder reads the journal and writes one immutable file a session to a
// blob store, with an Index to search. Archive reads the files back and
// Verify checks them: events of a session are chained by hash, frames of a
// gateway are chained by hash, and a session's last event carries a signed
// receipt.
//
// docs/recording-format.md describes every byte.
//
// This package is a leaf: it imports no other room of regate. JetStream comes
// in as a client, and everything else as plain values.
package record
