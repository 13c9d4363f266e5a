package regate.policies.regate.sql_masked_predicates_test

import data.regate.policies.regate.sql_masked_predicates

site := {"sql_masked_predicates": {"columns": ["public.t.email"], "exempt": ["staff"]}}

by(column, group) := {
	"stage": "request",
	"subject": {"groups": [group]},
	"sql": {"statement": {"predicate_columns": [column]}},
}

ids(set_of) := {element.id | some element in set_of}

test_hidden_column if {
	ids(sql_masked_predicates.deny) == {"regate.sql_masked_predicates/filter"} with input as by("public.t.email", "analysts") with data.regate.settings as site
}

test_other_column if {
	sql_masked_predicates.deny == set() with input as by("public.t.id", "analysts") with data.regate.settings as site
}

test_exempt if {
	sql_masked_predicates.deny == set() with input as by("public.t.email", "staff") with data.regate.settings as site
}

test_nothing_is_hidden_by_default if {
	sql_masked_predicates.deny == set() with input as by("public.t.email", "analysts") with data.regate.settings as {}
}

test_settings if {
	ids(sql_masked_predicates.deny) == {"regate.sql_masked_predicates/settings"} with input as by("public.t.id", "analysts") with data.regate.settings as {"sql_masked_predicates": {"columns": [1]}}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_masked_predicates/input" in ids(sql_masked_predicates.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(by("public.t.email", "analysts"), {"stage": "session", "sql": null})
	sql_masked_predicates.deny == set() with input as connect with data.regate.settings as site
}
