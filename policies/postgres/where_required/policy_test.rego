package regate.policies.regate.sql_where_required_test

import data.regate.policies.regate.sql_where_required

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

ids(set_of) := {element.id | some element in set_of}

test_where_passes if {
	sql_where_required.deny == set() with input as request({"verb": "update", "verbs": ["update"]}) with data.regate.settings as {}
}

test_select_passes if {
	sql_where_required.deny == set() with input as request({"has_where": false, "where_constant": null}) with data.regate.settings as {}
}

test_no_where if {
	ids(sql_where_required.deny) == {"regate.sql_where_required/missing"} with input as request({"verb": "delete", "verbs": ["delete", "select"], "has_where": false}) with data.regate.settings as {}
	ids(sql_where_required.deny) == {"regate.sql_where_required/missing"} with input as request({"verb": "update", "verbs": ["update"], "has_where": null, "where_constant": null}) with data.regate.settings as {}
}

test_where_true if {
	ids(sql_where_required.deny) == {"regate.sql_where_required/constant"} with input as request({"verb": "update", "verbs": ["update"], "where_constant": true}) with data.regate.settings as {}
}

test_exempt if {
	sql_where_required.deny == set() with input as request({"verb": "update", "verbs": ["update"], "has_where": false, "where_constant": true}) with data.regate.settings as {"sql_where_required": {"exempt": ["analysts"]}}
}

test_settings if {
	ids(sql_where_required.deny) == {"regate.sql_where_required/settings"} with input as request({}) with data.regate.defaults as {} with data.regate.settings as {}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_where_required/input" in ids(sql_where_required.deny) with input as nothing with data.regate.settings as {}
}
