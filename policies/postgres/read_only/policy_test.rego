package regate.policies.regate.sql_read_only_test

import data.regate.policies.regate.sql_read_only

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

ids(set_of) := {element.id | some element in set_of}

groups := {"sql_read_only": {"readers": ["analysts"], "writers": ["loaders"]}}

test_readers_read if {
	ids(sql_read_only.allow) == {"regate.sql_read_only/read"} with input as request({}) with data.regate.settings as groups
	sql_read_only.deny == set() with input as request({}) with data.regate.settings as groups
}

test_readers_connect if {
	connect := object.union(request({"verb": "connect"}), {"stage": "session"})
	ids(sql_read_only.allow) == {"regate.sql_read_only/connect"} with input as connect with data.regate.settings as groups
	sql_read_only.deny == set() with input as connect with data.regate.settings as groups
}

test_nobody_reads_or_writes_by_default if {
	sql_read_only.allow == set() with input as request({}) with data.regate.settings as {}
	ids(sql_read_only.deny) == {"regate.sql_read_only/write"} with input as request({"writes": true}) with data.regate.settings as {}
}

test_writes_are_denied if {
	update := request({"verb": "update", "writes": true})
	ids(sql_read_only.deny) == {"regate.sql_read_only/write"} with input as update with data.regate.settings as groups
	sql_read_only.allow == set() with input as update with data.regate.settings as groups
}

test_writers_are_left_to_others if {
	update := object.union(request({"verb": "update", "writes": true}), {"subject": {"groups": ["loaders"]}})
	sql_read_only.deny == set() with input as update with data.regate.settings as groups
	sql_read_only.allow == set() with input as update with data.regate.settings as groups
}

test_settings if {
	ids(sql_read_only.deny) == {"regate.sql_read_only/settings"} with input as request({}) with data.regate.settings as {"sql_read_only": {"readers": "analysts"}}
}
