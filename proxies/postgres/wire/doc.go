// Package wire reads and writes the frames of the PostgreSQL protocol, version
// 3: one type byte, a length that counts itself, a body. It looks into no
// body but to take strings and numbers out of it, keeps no state of the
// protocol, and imports no other room.
//
// Source of every layout: PostgreSQL's documentation, "Message Formats".
package wire
