package regate.policies.regate.sql_no_destructive_ddl_test

import data.regate.policies.regate.sql_no_destructive_ddl

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

ids(set_of) := {element.id | some element in set_of}

drop := request({"verb": "drop", "verbs": ["drop"], "writes": true, "ddl": true})

test_drop_is_denied if {
	ids(sql_no_destructive_ddl.deny) == {"regate.sql_no_destructive_ddl/destroys"} with input as drop with data.regate.settings as {}
}

test_truncate_inside_is_denied if {
	truncate := request({"verb": "drop", "verbs": ["select", "truncate"]})
	ids(sql_no_destructive_ddl.deny) == {"regate.sql_no_destructive_ddl/destroys"} with input as truncate with data.regate.settings as {}
}

test_reads_pass if sql_no_destructive_ddl.deny == set() with input as request({}) with data.regate.settings as {}

test_exempt_group_passes if {
	sql_no_destructive_ddl.deny == set() with input as drop with data.regate.settings as {"sql_no_destructive_ddl": {"exempt": ["analysts"]}}
}

test_temporary_table_may_go if {
	temporary := object.union(drop, {"resource": {"tables": {"public.t": {"kind": "temporary"}}}})
	sql_no_destructive_ddl.deny == set() with input as temporary with data.regate.settings as {}
}

test_settings if {
	ids(sql_no_destructive_ddl.deny) == {"regate.sql_no_destructive_ddl/settings"} with input as request({}) with data.regate.defaults as {} with data.regate.settings as {}
}

test_site_names_the_verbs if {
	site := {"sql_no_destructive_ddl": {"verbs": ["alter"]}}
	sql_no_destructive_ddl.deny == set() with input as drop with data.regate.settings as site
	alter := request({"verb": "alter", "verbs": ["alter"]})
	ids(sql_no_destructive_ddl.deny) == {"regate.sql_no_destructive_ddl/destroys"} with input as alter with data.regate.settings as site
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_no_destructive_ddl/input" in ids(sql_no_destructive_ddl.deny) with input as nothing with data.regate.settings as {}
}
