// Package policy turns an input document into a ruling by evaluating Rego.
//
// It loads bundles through OPA's own bundle machinery (bundles.go, remote.go,
// local.go), checks a candidate in full before it decides anything
// (activate.go), and swaps it in as one immutable snapshot (snapshot.go). A
// request then costs one lookup in the decision cache (cache.go), or one
// evaluation (evaluate.go), strict decoding (decode.go) and the laws of
// combining (combine.go).
//
// Everything that goes wrong is a denial: no bundle, an error, a panic, a
// timeout, an element that does not have the contract's shape. A failed
// activation leaves the last good snapshot in force.
//
// Tools load policies as a Set (set.go), which the same code reads, checks,
// evaluates and combines.
//
// The package imports engine/input and no other room of regate. Proxies never
// see OPA.
package policy
