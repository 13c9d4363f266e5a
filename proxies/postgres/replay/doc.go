// Package replay shows recorded PostgreSQL traffic to people: the messages
// that an agent was sent become tables, command tags, notices and errors on a
// terminal, or structured results.
//
// What is shown comes from databases and from agents, so nothing of it reaches
// the terminal as it is: control characters, invisible and direction-changing
// ones are written as escapes. Columns in binary format are decoded.
//
// Everything here is pure: no clock, no network. It imports no other room of
// regate.
package replay
