# METADATA
# title: Policy for measurements
# description: |
#   Allows what pgbench does on its own tables. The ready packs check every
#   statement as they do in the demo, one column is masked, nothing waits for
#   approval.
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.bench.pgbench

import data.regate.lib.sql

tables := {"public.large", "public.pgbench_accounts", "public.pgbench_branches", "public.pgbench_history", "public.pgbench_tellers"}

own_tables if {
	every table in input.resource.table_names {
		table in tables
	}
}

allow contains {"id": "bench.pgbench/connect"} if sql.connects

allow contains {"id": "bench.pgbench/read"} if {
	sql.reads_only
	own_tables
}

allow contains {"id": "bench.pgbench/change"} if {
	sql.changes_rows
	own_tables
}
