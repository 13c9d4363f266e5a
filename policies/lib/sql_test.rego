package regate.lib.sql_test

import data.regate.lib.sql

read := {
	"stage": "request", "complete": true,
	"action": {"verb": "select", "writes": false, "ddl": false, "opaque": false, "locks": false},
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
}

change := {
	"stage": "request", "complete": true,
	"action": {"verb": "update", "writes": true, "ddl": false, "opaque": false, "locks": false},
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
}

test_connects if {
	sql.connects with input as {"stage": "session", "action": {"verb": "connect"}}
	not sql.connects with input as read
}

test_reads_only if {
	sql.reads_only with input as read
	not sql.reads_only with input as change
	not sql.reads_only with input as object.union(read, {"action": {"locks": true}})
	not sql.reads_only with input as object.union(read, {"action": {"opaque": true}})
	not sql.reads_only with input as object.union(read, {"complete": false})
	not sql.reads_only with input as object.union(read, {"stage": "session"})
	not sql.reads_only with input as {}
}

test_changes_rows if {
	sql.changes_rows with input as change
	not sql.changes_rows with input as read
	not sql.changes_rows with input as object.union(change, {"action": {"ddl": true}})
	not sql.changes_rows with input as object.union(change, {"action": {"verb": "truncate"}})
}

test_only_in_schemas if {
	sql.only_in_schemas(["public"]) with input as read
	not sql.only_in_schemas(["sales"]) with input as read
}

test_only_temporary_tables if {
	not sql.only_temporary_tables with input as read
	sql.only_temporary_tables with input as {"resource": {"tables": {"pg_temp.t": {"kind": "temporary"}}}}
	not sql.only_temporary_tables with input as {"resource": {"tables": {}}}
}
