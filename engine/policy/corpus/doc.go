// Package corpus is what was decided, with the exact input of each decision:
// the material of back-testing, learning, explaining and of tests over real
// traffic.
//
// A Source yields one recorded decision after the other and may be read again
// from its start. Nothing here knows where recordings are kept: cmd/regate makes
// Sources from archives, and Files reads what was exported.
//
// The package imports engine/policy and engine/input alone.
package corpus
