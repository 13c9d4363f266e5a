package regate.policies.regate.sql_prod_writes_test

import data.regate.policies.regate.sql_prod_writes

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

ids(set_of) := {element.id | some element in set_of}

update := request({"verb": "update", "verbs": ["update"], "writes": true})

test_prod_write_waits if {
	sql_prod_writes.require_approval == {{
		"id": "regate.sql_prod_writes/approve", "msg": "UPDATE on prod needs approval",
		"from": ["group:dba"], "count": 1, "ttl": "15m", "wait": "60s",
	}} with input as update with data.regate.settings as {}
	sql_prod_writes.deny == set() with input as update with data.regate.settings as {}
}

test_reads_pass if sql_prod_writes.require_approval == set() with input as request({}) with data.regate.settings as {}

test_elsewhere_passes if {
	sql_prod_writes.require_approval == set() with input as object.union(update, {"target": {"labels": {"env": "dev"}}}) with data.regate.settings as {}
}

test_exempt if {
	sql_prod_writes.require_approval == set() with input as update with data.regate.settings as {"sql_prod_writes": {"exempt": ["analysts"]}}
}

test_settings if {
	ids(sql_prod_writes.deny) == {"regate.sql_prod_writes/settings"} with input as update with data.regate.settings as {"sql_prod_writes": {"count": 0}}
}

test_site_settings if {
	site := {"sql_prod_writes": {"environments": ["live"], "approvers": ["any"], "count": 2, "ttl": "5m", "wait": "0s", "exempt": []}}
	live := object.union(update, {"target": {"labels": {"env": "live"}}})
	sql_prod_writes.require_approval == {{
		"id": "regate.sql_prod_writes/approve", "msg": "UPDATE on live needs approval",
		"from": ["any"], "count": 2, "ttl": "5m", "wait": "0s",
	}} with input as live with data.regate.settings as site
	sql_prod_writes.require_approval == set() with input as update with data.regate.settings as site
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_prod_writes/input" in ids(sql_prod_writes.deny) with input as nothing with data.regate.settings as {}
}
