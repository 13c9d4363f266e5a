// Package backtest asks policies about what was decided before.
//
// Replay compares a candidate with the recorded decisions and counts what would
// have changed; Coverage says which rules traffic reaches and which traffic no
// rule does; Suggest drafts the tightest rules for what an agent did, for a
// person to edit.
//
// Each of them reads a corpus.Source once, in bounded memory, with all cores,
// and evaluates inputs that a policy cannot tell apart once (key.go, memo.go).
// Results do not depend on the order in which decisions are read.
//
// The package imports engine/policy, its corpus and engine/input alone.
package backtest
