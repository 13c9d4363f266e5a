// Package pin keeps what servers have said of their tools, and which of it a
// person has approved: the whole definition, by the SHA-256 of its canonical
// form (RFC 8785). It is kept in a bucket that the gateways of a cluster share,
// and outlives them.
//
// A tool is known by its server and its name. It is new until somebody approves
// its definition, and changed while its server says something else than what
// was approved. A tool under another name is another tool.
package pin
