package regate.policies.regate.sql_no_stored_code_test

import data.regate.policies.regate.sql_no_stored_code

ids(set_of) := {element.id | some element in set_of}

request(action, statement, resource) := {
	"stage": "request",
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "ddl": false}, action),
	"resource": object.union({"function_names": [], "table_names": [], "setting_names": []}, resource),
	"sql": {"command": "select", "statement": object.union({"object_kind": "", "copy_to": "", "cascade": false}, statement)},
}

test_definitions if {
	every kind in ["function", "trigger", "extension", "system", "policy"] {
		doc := request({"verb": "create", "verbs": ["create"], "ddl": true}, {"object_kind": kind}, {})
		ids(sql_no_stored_code.deny) == {"regate.sql_no_stored_code/defines"} with input as doc with data.regate.settings as {}
		sql_no_stored_code.deny == set() with input as doc with data.regate.settings as {"sql_no_stored_code": {"exempt": ["analysts"]}}
	}
}

test_tables_are_left_to_others if {
	every kind in ["table", "index", "view", "schema"] {
		doc := request({"verb": "create", "verbs": ["create"], "ddl": true}, {"object_kind": kind}, {})
		sql_no_stored_code.deny == set() with input as doc with data.regate.settings as {}
	}
}

test_load if {
	ids(sql_no_stored_code.deny) == {"regate.sql_no_stored_code/loads"} with input as request({"verb": "load", "verbs": ["load"]}, {}, {}) with data.regate.settings as {}
}

test_site_settings if {
	doc := request({"verb": "create", "verbs": ["create"], "ddl": true}, {"object_kind": "view"}, {})
	ids(sql_no_stored_code.deny) == {"regate.sql_no_stored_code/defines"} with input as doc with data.regate.settings as {"sql_no_stored_code": {"kinds": ["view"]}}
}

test_connecting if {
	sql_no_stored_code.deny == set() with input as {"stage": "session", "subject": {"groups": []}, "action": {"verb": "connect", "verbs": ["connect"], "ddl": false}, "sql": null} with data.regate.settings as {}
}

test_settings if {
	every bad in [{"kinds": "function"}, {"kinds": [1]}, {"exempt": "dba"}] {
		"regate.sql_no_stored_code/settings" in ids(sql_no_stored_code.deny) with input as request({}, {}, {}) with data.regate.settings as {"sql_no_stored_code": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_no_stored_code/input" in ids(sql_no_stored_code.deny) with input as nothing with data.regate.settings as {}
}
