// Package prove tests policies before they decide anything: it runs their Rego
// tests with OPA's own tester, then tries what no Rego test does.
//
//   - Missing fields (mutate.go): every field that a policy reads is deleted,
//     made null and given another type, in each input that a test uses and in
//     each recorded one. No decision may become more permissive (loosen.go).
//   - Optimisations (differential.go): with and without OPA's rule index and
//     early exit, every input gives the same ruling.
//
// Inputs come from the tests themselves (capture.go), completed to whole
// documents by the input schema (skeleton.go), and from recordings.
//
// It is a pure library: files are read by engine/policy, and what is found is
// returned. It imports engine/policy, engine/policy/corpus and engine/input.
package prove
