// Command bench measures regate against PostgreSQL itself and against
// pgbouncer, in one run and in turn, so that the ratios hold on a machine whose
// speed drifts. `make bench` runs it; it needs bin/regate, PostgreSQL and
// pgbouncer.
//
// It prints a table and writes build/bench.json: a list of
// {"name", "value", "unit", "peer"}. A peer is what the value is a ratio to, ""
// for a plain figure. It may import proxies/postgres/pgtest.
package main
