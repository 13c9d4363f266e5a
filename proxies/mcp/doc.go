// Package mcp is the proxy for servers of the Model Context Protocol. Every
// message is read (package message below it), decided by the gate and recorded
// before it is sent on; lists hold what the agent may know of, results are
// masked, and a tool is what it was when somebody approved it.
//
// It travels over HTTP: of the other proxies, it imports proxies/http alone.
package mcp
