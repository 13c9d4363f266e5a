// Package catalog reads what a PostgreSQL database holds: schemas, relations
// with their columns, views, inheritance and foreign keys, functions,
// operators, casts and types. The result is a Snapshot, an immutable value
// that package analyze resolves names against.
//
// A Snapshot is truth as of one moment. Manager keeps the current one: it
// loads again on demand, when told that the catalogue changed, and by age; it
// never serves a snapshot that it knows to be stale to a caller that asks for
// a fresh one, and fails closed when none can be loaded.
//
// It imports no other room of regate.
package catalog
