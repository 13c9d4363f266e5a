package regate.policies.regate.sql_masked_predicates_test

import data.regate.policies.regate.sql_masked_predicates

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

ids(set_of) := {element.id | some element in set_of}

site := {"sql_pii_masks": {"fields": {"public.t.email": {"method": "hash"}}, "exempt": []}}

by(column) := object.union(request({}), {"sql": {"statement": {"predicate_columns": [column]}}})

test_hidden_column if {
	ids(sql_masked_predicates.deny) == {"regate.sql_masked_predicates/filter"} with input as by("public.t.email") with data.regate.settings as site
}

test_other_column if {
	sql_masked_predicates.deny == set() with input as by("public.t.id") with data.regate.settings as site
}

test_usable_column if {
	sql_masked_predicates.deny == set() with input as by("public.t.email") with data.regate.settings as object.union(site, {"sql_masked_predicates": {"usable": ["public.t.email"]}})
}

test_settings if {
	ids(sql_masked_predicates.deny) == {"regate.sql_masked_predicates/settings"} with input as by("public.t.id") with data.regate.defaults as {} with data.regate.settings as {}
}

test_exempt if {
	sql_masked_predicates.deny == set() with input as by("public.t.email") with data.regate.settings as object.union(site, {"sql_pii_masks": {"exempt": ["analysts"]}})
}
