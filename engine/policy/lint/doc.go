// Package lint finds what is wrong with policies before they decide anything:
// all that the gateway would refuse, and what it would take but its author did
// not mean: a value that the input never has, a rule that can never hold, an
// allow that an agent can talk itself into, a deny that a missing key lets
// vanish.
//
// Check loads policies as the gateway does (load.go), through engine/policy. The
// checks look at the compiled rules, where imports are resolved and local
// variables are unique. A small abstract evaluation says what a term can be
// (value.go): a path of the input, or literals. Helper rules and functions are
// followed with the arguments that they are called with (ways.go, visit.go).
// What is not understood is left alone: a check that is not sure says nothing.
//
// catalogue.go lists every check with what it means; the ids are stable.
// The package imports engine/input, engine/policy and OPA.
package lint
