package regate.policies.regate.sql_complete_test

import data.regate.policies.regate.sql_complete

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

ids(set_of) := {element.id | some element in set_of}

test_understood_passes if sql_complete.deny == set() with input as request({}) with data.regate.settings as {}

test_incomplete if {
	doc := object.union(request({}), {"complete": false, "unknown": [{"what": "relation:x", "why": "not in catalogue"}]})
	{d.msg | some d in sql_complete.deny} == {"the statement refers to something unknown: relation:x"} with input as doc with data.regate.settings as {}
}

test_unknown_verb if {
	ids(sql_complete.deny) == {"regate.sql_complete/unknown"} with input as request({"verb": "unknown"}) with data.regate.settings as {}
}

test_opaque if {
	doc := object.union(request({"opaque": true}), {"complete": false, "unknown": [{"what": "function:pg_sleep", "why": "reaches the server"}]})
	ids(sql_complete.deny) == {"regate.sql_complete/opaque"} with input as doc with data.regate.settings as {}
	{d.msg | some d in sql_complete.deny} == {"what this statement does is not in its text: function:pg_sleep"} with input as doc with data.regate.settings as {}
	sql_complete.deny == set() with input as doc with data.regate.settings as {"sql_complete": {"opaque_for": ["analysts"]}}
}

test_settings if {
	ids(sql_complete.deny) == {"regate.sql_complete/settings"} with input as request({}) with data.regate.defaults as {} with data.regate.settings as {}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_complete/input" in ids(sql_complete.deny) with input as nothing with data.regate.settings as {}
}
