// Package scaffold writes what a policy author starts from: a bundle for given
// protocols that passes every check, and Rego tests made of real input
// documents.
//
// It imports engine/input and engine/policy, and OPA for the formatter.
package scaffold
