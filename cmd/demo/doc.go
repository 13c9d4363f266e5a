// Demo shows regate at work, with nothing imitated: it starts what stands behind
// the gateway (a PostgreSQL cluster of its own, say), an OpenID Connect issuer
// and the gateway, all on free loopback ports, and then acts as an agent, its
// approver and an operator. Every step checks that it did what it says; the exit
// status is 0 only if all did.
//
//	demo [-dir build/demo/NAME] [-regate bin/regate] [NAME]
//
// NAME is one of the shows: one file each, beside what they share (stage.go,
// show.go). KEEP=1 leaves everything running afterwards and says how to connect.
// Ctrl-C stops everything that was started, and so does the death of this
// process.
package main
