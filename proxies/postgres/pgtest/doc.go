// Package pgtest starts a real PostgreSQL cluster of its own: for tests, for
// the demo and for benchmarks. Nothing here imitates PostgreSQL; it runs the
// newest installed server on a free loopback port in a folder of its own, and
// takes it down again even when the process that started it is killed.
//
// It imports no other room of regate, and not package testing: TB is what
// Shared needs of it.
package pgtest
