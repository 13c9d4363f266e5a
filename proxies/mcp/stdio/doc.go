// Package stdio runs MCP servers that speak over standard input and output, and
// makes streamable HTTP of them: to the proxy, one is like any other server.
//
// In the legacy era each session has a process of its own, begun by initialize.
// In the modern era, which has no sessions, each identity has. Ids and progress
// tokens are the gateway's own on the way to the process, so that what one
// client calls a request is never taken for another's.
package stdio
