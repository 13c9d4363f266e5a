// Package engine is the gate: the one straight path that every request of
// every protocol takes.
//
//	agent ──▶ proxy ──▶ gate ──▶ proxy ──▶ target
//	          decode    identify            forward
//	                    evaluate (Rego)
//	                    hold for approval
//	                    journal
//	agent ◀── proxy ◀── gate ◀── proxy ◀── target
//	          encode    mask, meter,        raw result
//	                    journal
//
// A proxy knows one wire protocol and nothing of policy; the gate knows policy
// and nothing of wires. Read engine.go first: it holds Gate, Session, Turn and
// Denial, and says in which order a proxy calls them.
//
// The package may import the rooms below it (engine/identity, engine/policy,
// engine/approval, engine/record, engine/mask, engine/input). It never imports
// a proxy.
package engine
