// Package pack makes bundles: what `regate policy build` writes.
//
// A bundle is an OPA bundle like any other: a .tar.gz of Rego, one data.json
// and a .manifest, signed the way `opa sign` signs, that stock opa inspects,
// tests and runs. Two things are regate's own: the bytes depend on the input
// alone (build.go), and the manifest may say which place a revision has in the
// order of revisions, so that a gateway does not go back to an older one.
//
// A bundle that a gateway would refuse is not built: what was packed is read
// back and goes through every check of activation.
//
// The package imports engine/policy and no other room of regate.
package pack
