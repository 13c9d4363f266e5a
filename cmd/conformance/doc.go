// Command conformance runs suites of others against a Kubernetes control plane,
// directly and through regate with a policy that allows everything, and fails on
// any difference that testdata/kubernetes/conformance/differences.txt does not
// justify. `make conformance-kubernetes` runs it; it needs bin/regate and what
// .ci/kubernetes and .ci/kubernetes-suites build.
package main
