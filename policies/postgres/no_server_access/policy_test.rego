package regate.policies.regate.sql_no_server_access_test

import data.regate.policies.regate.sql_no_server_access

ids(set_of) := {element.id | some element in set_of}

request(action, statement, resource) := {
	"stage": "request",
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "ddl": false}, action),
	"resource": object.union({"function_names": [], "table_names": [], "setting_names": []}, resource),
	"sql": {"command": "select", "statement": object.union({"object_kind": "", "copy_to": "", "cascade": false}, statement)},
}

denied(doc) := out if {
	out := ids(sql_no_server_access.deny) with input as doc with data.regate.settings as {}
}

test_copy if {
	every to in ["file", "program"] {
		denied(request({}, {"copy_to": to}, {})) == {"regate.sql_no_server_access/copy"}
	}
	every to in ["", "stdin", "stdout"] {
		denied(request({}, {"copy_to": to}, {})) == set()
	}
}

test_functions if {
	every name in ["pg_catalog.pg_read_file", "public.dblink_exec", "pg_catalog.lo_import", "pg_catalog.pg_sleep", "pg_catalog.pg_terminate_backend", "public.get_raw_page", "pg_catalog.query_to_xml"] {
		denied(request({}, {}, {"function_names": [name]})) == {"regate.sql_no_server_access/function"}
	}
	denied(request({}, {}, {"function_names": ["pg_catalog.count", "pg_catalog.lower", "public.my_pg_read"]})) == set()
}

test_relations if {
	every name in ["pg_catalog.pg_stats", "pg_catalog.pg_statistic", "public.pg_stat_statements", "pg_catalog.pg_authid"] {
		denied(request({}, {}, {"table_names": [name]})) == {"regate.sql_no_server_access/relation"}
	}
	denied(request({}, {}, {"table_names": ["pg_catalog.pg_class", "public.stats"]})) == set()
}

test_exempt if {
	doc := request({}, {"copy_to": "program"}, {"function_names": ["pg_catalog.pg_read_file"], "table_names": ["pg_catalog.pg_stats"]})
	sql_no_server_access.deny == set() with input as doc with data.regate.settings as {"sql_no_server_access": {"exempt": ["analysts"]}}
}

test_site_settings if {
	site := {"sql_no_server_access": {"functions": ["acme.export_*"], "relations": ["acme.raw"]}}
	doc := request({}, {}, {"function_names": ["acme.export_all"], "table_names": ["acme.raw"]})
	ids(sql_no_server_access.deny) == {"regate.sql_no_server_access/function", "regate.sql_no_server_access/relation"} with input as doc with data.regate.settings as site
}

test_settings if {
	every bad in [{"functions": "a"}, {"relations": [1]}, {"exempt": "dba"}] {
		"regate.sql_no_server_access/settings" in ids(sql_no_server_access.deny) with input as request({}, {}, {}) with data.regate.settings as {"sql_no_server_access": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_no_server_access/input" in ids(sql_no_server_access.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(request({}, {}, {}), {"stage": "session", "sql": null})
	sql_no_server_access.deny == set() with input as connect with data.regate.settings as {}
}
