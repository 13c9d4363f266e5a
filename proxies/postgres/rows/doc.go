// Package rows rewrites what a PostgreSQL server sends back, so that masks
// hold: DataRow messages, COPY OUT data in its three formats, and the fields
// of errors and notices that could carry a value.
//
// A Plan is made once for a result set from its columns and their rules, and
// is then applied to one row after another. What a rule replaces keeps the
// type of its column: text stays text, JSON becomes a JSON string, and a value
// of any other type becomes NULL, never a value that a driver would read as
// something else. Columns without a rule pass byte for byte.
//
// Everything here is pure: no connection, no goroutine, no clock. Malformed
// input is an error, and the caller must then send nothing of it: a row that
// cannot be read cannot be masked.
//
// It imports engine/mask and no other room of regate.
package rows
