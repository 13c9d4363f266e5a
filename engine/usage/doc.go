// Package usage counts what subjects, actors and tasks have used, across
// sessions, gateways and restarts, so that a policy can hold them to a budget.
//
// There is one meter a subject, one an actor, and one a task of a subject. A
// meter counts in the UTC day and in slots of five minutes, of which the last
// thirteen make "the last hour": 60 to 65 minutes, never less.
//
// A request touches memory alone. Twice a second what was counted is merged into
// the key-value bucket by compare-and-set, and what other gateways have merged
// comes back by a watch. So:
//
//   - A gateway that is killed loses what it counted in its last second.
//   - Gateways see each other's counts a second late, or two: N gateways can
//     overshoot a budget by what N-1 of them let through in that time.
//   - A write of which it is not known whether it happened is counted again
//     where another gateway has written over it: too much, never too little.
//
// What is not known is said to be unknown, and policies deny it: the bucket does
// not answer, cannot be read, or there are more meters than may be kept. The
// bucket holds digests of names, not names.
//
// This package imports no other room of regate.
package usage
