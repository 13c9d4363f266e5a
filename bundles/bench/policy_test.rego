package regate.policies.bench.pgbench_test

import data.regate.policies.bench.pgbench

request(action, table) := {
	"stage": "request", "complete": true,
	"action": object.union({"verb": "select", "writes": false, "ddl": false, "opaque": false, "locks": false}, action),
	"resource": {"table_names": [table]},
}

ids(set_of) := {element.id | some element in set_of}

test_connect if {
	ids(pgbench.allow) == {"bench.pgbench/connect"} with input as object.union(request({"verb": "connect"}, "public.x"), {"stage": "session"})
}

test_own_tables if {
	ids(pgbench.allow) == {"bench.pgbench/read"} with input as request({}, "public.pgbench_accounts")
	ids(pgbench.allow) == {"bench.pgbench/change"} with input as request({"verb": "update", "writes": true}, "public.pgbench_tellers")
}

test_other_tables if pgbench.allow == set() with input as request({}, "public.secrets")
