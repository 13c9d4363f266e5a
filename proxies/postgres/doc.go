// Package postgres is the proxy for PostgreSQL's wire protocol. It decodes
// what an agent sends, has the gate decide every statement before anything of
// it is forwarded, masks what comes back, and has it recorded before the agent
// sees it.
//
// One goroutine serves a connection, as in PostgreSQL itself: it reads what
// the agent sent up to a Sync, Flush or Query, decides all of it, forwards it,
// and relays the answers until nothing more is owed. Read server.go for how a
// connection comes in, session.go for the loop, decide.go for how a statement
// reaches the gate, and relay.go for the way back.
//
// The rooms below it: wire (frames), handshake (the agent's login), upstream
// (regate's own login), analyze and catalog (SQL to input), rows (masking),
// replay (showing recordings), pgtest (real servers for tests). It imports
// package engine and engine/input; never OPA.
package postgres
