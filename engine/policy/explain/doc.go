// Package explain says why a decision is what it is.
//
// It evaluates a recorded input again and looks at every rule that was asked:
// which fired, and which came closest to it, with the conditions that did not
// hold and the values that they saw (rules.go). Then it searches for single
// values of the input that would have changed the outcome (search.go). A change
// is only told after the policies have been asked about it: nothing is guessed.
//
// What it prints of values is in the recorded input or in the text of the
// policies; it shows no more than the recording does.
//
// The package is pure: a set of policies and a document in, an explanation out.
// It imports engine/policy and engine/input.
package explain
