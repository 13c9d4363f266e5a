// Package bridge is the other end of the gateway's streamable HTTP for clients
// that speak MCP over standard input and output alone: it takes one message a
// line, sends it with the agent's token, and writes what comes back, one
// message a line.
package bridge
