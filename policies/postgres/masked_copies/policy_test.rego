package regate.policies.regate.sql_masked_copies_test

import data.regate.policies.regate.sql_masked_copies

site := {
	"sql_masked_copies": {"columns": ["public.t.card"], "exempt": ["staff"]},
	"sql_pii_masks": {"fields": {"public.t.email": {"method": "hash"}}},
}

by(group, flows) := {
	"stage": "request",
	"subject": {"groups": [group]},
	"action": {"verbs": ["insert"]},
	"resource": {"table_names": ["public.t"]},
	"sql": {"statement": {"flows": flows, "object_kind": ""}},
}

altering(table, kind) := object.union(by("analysts", []), {
	"action": {"verbs": ["alter"]},
	"resource": {"table_names": [table]},
	"sql": {"statement": {"object_kind": kind}},
})

ids(set_of) := {element.id | some element in set_of}

test_copies if {
	every source in ["public.t.card", "public.t.email", "public.t.*", "*"] {
		flow := {"to": "public.n.body", "from": ["public.t.id", source]}
		ids(sql_masked_copies.deny) == {"regate.sql_masked_copies/copy"} with input as by("analysts", [flow]) with data.regate.settings as site
	}
}

test_no_copies if {
	flows := [
		{"to": "public.n.body", "from": ["public.t.id", "public.other.card", "public.other.*"]},
		{"to": "public.t.card", "from": ["public.t.email"]},
		{"to": "pg_temp.x.y", "from": ["public.t.email"]},
	]
	sql_masked_copies.deny == set() with input as by("analysts", flows) with data.regate.settings as site
}

test_exempt if {
	sql_masked_copies.deny == set() with input as by("staff", [{"to": "public.n.body", "from": ["public.t.card"]}]) with data.regate.settings as site
}

test_nothing_is_hidden_by_default if {
	sql_masked_copies.deny == set() with input as by("analysts", [{"to": "public.n.body", "from": ["*"]}]) with data.regate.settings as {}
}

test_alter if {
	ids(sql_masked_copies.deny) == {"regate.sql_masked_copies/alter"} with input as altering("public.t", "table") with data.regate.settings as site
	ids(sql_masked_copies.deny) == {"regate.sql_masked_copies/alter"} with input as altering("", "schema") with data.regate.settings as site
	sql_masked_copies.deny == set() with input as altering("public.n", "table") with data.regate.settings as site
}

test_settings if {
	ids(sql_masked_copies.deny) == {"regate.sql_masked_copies/settings"} with input as by("analysts", []) with data.regate.settings as {"sql_masked_copies": {"columns": [1]}}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.sql_masked_copies/input" in ids(sql_masked_copies.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(by("analysts", []), {"stage": "session", "sql": null})
	sql_masked_copies.deny == set() with input as connect with data.regate.settings as {}
}
