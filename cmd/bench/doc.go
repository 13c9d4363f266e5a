// Command bench measures regate against PostgreSQL itself and against
// pgbouncer, in one run and in turn, so that the ratios hold on a machine whose
// speed drifts; policies against OPA as a library and as a server; HTTP against
// nginx, haproxy, goproxy's own interception and mitmproxy, each on one core; and
// ways to an API server of Kubernetes.
// `make bench` runs it; it needs bin/regate, PostgreSQL, pgbouncer, nginx, haproxy,
// mitmproxy, for the policies build/tools/opa, and for Kubernetes what
// .ci/kubernetes builds.
//
// It prints a table and writes build/bench.json: a list of
// {"name", "value", "unit", "peer"}. A peer is what the value is a ratio to, ""
// for a plain figure. It may import the servers for tests of
// proxies/postgres and proxies/kubernetes.
package main
