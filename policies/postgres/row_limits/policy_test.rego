package regate.policies.regate.sql_row_limits_test

import data.regate.policies.regate.sql_row_limits

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

test_defaults if {
	sql_row_limits.limit == {{"id": "regate.sql_row_limits/rows", "rows": 10000}, {"id": "regate.sql_row_limits/seconds", "seconds": 60}} with input as request({}) with data.regate.settings as {}
	sql_row_limits.deny == set() with input as request({}) with data.regate.settings as {}
}

test_largest_of_groups if {
	site := {"sql_row_limits": {"rows_by_group": {"analysts": {"rows": 50}, "all": {"rows": 20}, "other": {"rows": 99}}, "seconds": 0}}
	doc := object.union(request({}), {"subject": {"groups": ["analysts", "all"]}})
	sql_row_limits.limit == {{"id": "regate.sql_row_limits/rows", "rows": 50}} with input as doc with data.regate.settings as site
}

test_unlimited_group if {
	site := {"sql_row_limits": {"rows_by_group": {"analysts": {"rows": 0}}, "seconds": 0, "bytes": 1000}}
	sql_row_limits.limit == {{"id": "regate.sql_row_limits/bytes", "bytes": 1000}} with input as request({}) with data.regate.settings as site
}

test_settings if {
	{d.id | some d in sql_row_limits.deny} == {"regate.sql_row_limits/settings"} with input as request({}) with data.regate.settings as {"sql_row_limits": {"rows": "many"}}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": null}}
	sql_row_limits.deny == {{"id": "regate.sql_row_limits/input", "severity": "high", "msg": "what regate.sql_row_limits is asked about is not as it should be"}} with input as nothing with data.regate.settings as {}
}
