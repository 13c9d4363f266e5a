package regate.policies.regate.sql_no_privilege_changes_test

import data.regate.policies.regate.sql_no_privilege_changes

ids(set_of) := {element.id | some element in set_of}

request(action, statement, resource) := {
	"stage": "request",
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "ddl": false}, action),
	"resource": object.union({"function_names": [], "table_names": [], "setting_names": []}, resource),
	"sql": {"command": "select", "text": "", "statement": object.union({"object_kind": "", "copy_to": "", "cascade": false}, statement)},
}

statement(command, verb, kind, text) := object.union(
	request({"verb": verb, "verbs": [verb], "ddl": true}, {"object_kind": kind}, {}),
	{"sql": {"command": command, "text": text}},
)

test_changes if {
	every doc in [
		statement("grant", "grant", "table", "GRANT ALL ON t TO x"), statement("revoke role", "revoke", "role", "REVOKE a FROM b"),
		statement("alter default privileges", "grant", "default privileges", "ALTER DEFAULT PRIVILEGES …"),
		statement("create role", "create", "role", "CREATE ROLE x"), statement("reassign owned", "alter", "owned", "REASSIGN OWNED BY a TO b"),
		statement("security label", "alter", "table", "SECURITY LABEL …"), statement("alter table", "alter", "table", "ALTER TABLE t OWNER  TO me"),
	] {
		ids(sql_no_privilege_changes.deny) == {"regate.sql_no_privilege_changes/changes"} with input as doc with data.regate.settings as {}
		sql_no_privilege_changes.deny == set() with input as doc with data.regate.settings as {"sql_no_privilege_changes": {"exempt": ["analysts"]}}
	}
}

test_others_pass if {
	every doc in [statement("alter table", "alter", "table", "ALTER TABLE t ADD owner text"), statement("create table", "create", "table", "CREATE TABLE t ()")] {
		sql_no_privilege_changes.deny == set() with input as doc with data.regate.settings as {}
	}
}

test_settings if {
	ids(sql_no_privilege_changes.deny) == {"regate.sql_no_privilege_changes/settings"} with input as request({}, {}, {}) with data.regate.settings as {"sql_no_privilege_changes": {"exempt": "dba"}}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_no_privilege_changes/input" in ids(sql_no_privilege_changes.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(request({}, {}, {}), {"stage": "session", "sql": null})
	sql_no_privilege_changes.deny == set() with input as connect with data.regate.settings as {}
}
