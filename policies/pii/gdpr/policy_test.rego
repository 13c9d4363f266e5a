package regate.policies.regate.pii_gdpr_test

import data.regate.policies.regate.pii_gdpr

ids(set_of) := {element.id | some element in set_of}

request(verb, columns) := {
	"stage": "request", "protocol": "postgres",
	"subject": {"groups": ["analysts"]},
	"action": {"verb": verb, "writes": verb != "select"},
	"resource": {"column_names": columns, "tables": {"public.people": {"columns": ["id"]}}},
	"sql": {"statement": {"predicate_columns": [], "written_columns": []}},
}

masked(columns) := out if {
	masks := pii_gdpr.mask with input as request("select", columns) with data.regate.settings as {}
	out := {m.field: m.method | some m in masks; m.field}
}

test_names if {
	masked(["public.people.id", "public.people.Email", "hr.staff.work_phone", "public.people.last_name", "public.people.date_of_birth", "web.hits.ip_address"]) == {
		"public.people.Email": "partial", "hr.staff.work_phone": "partial", "public.people.last_name": "redact",
		"public.people.date_of_birth": "null", "web.hits.ip_address": "hash",
	}
	masked(["public.orders.id", "public.orders.total", "public.products.name"]) == {}
}

test_special if {
	masked(["hr.staff.religion", "hr.staff.health_insurance"]) == {"hr.staff.religion": "null", "hr.staff.health_insurance": "null"}
	doc := request("select", ["hr.staff.religion"])
	site := {"pii_gdpr": {"exempt": ["analysts"], "special_for": ["doctors"]}}
	ids(pii_gdpr.mask) == {"regate.pii_gdpr/special"} with input as doc with data.regate.settings as site
	pii_gdpr.mask == set() with input as object.union(doc, {"subject": {"groups": ["analysts", "doctors"]}}) with data.regate.settings as site
}

test_filter_by_special if {
	doc := object.union(request("select", ["hr.staff.religion", "hr.staff.id"]), {"sql": {"statement": {"predicate_columns": ["hr.staff.religion", "hr.staff.id"]}}})
	ids(pii_gdpr.deny) == {"regate.pii_gdpr/filter"} with input as doc with data.regate.settings as {}
	pii_gdpr.deny == set() with input as doc with data.regate.settings as {"pii_gdpr": {"special_for": ["analysts"]}}
}

test_fields_and_kinds if {
	site := {"pii_gdpr": {"names": {}, "special": {}, "fields": {"public.notes.body": {"method": "redact"}}, "detect": {"email": {"method": "hash"}}}}
	pii_gdpr.mask == {
		{"id": "regate.pii_gdpr/field", "field": "public.notes.body", "method": "redact"},
		{"id": "regate.pii_gdpr/detect", "detect": "email", "method": "hash"},
	} with input as request("select", ["public.notes.body", "public.people.email"]) with data.regate.settings as site
}

test_unknown_columns if {
	doc := object.union(request("select", []), {"resource": {"tables": {"public.people": {"columns": ["*"]}}}})
	ids(pii_gdpr.deny) == {"regate.pii_gdpr/columns"} with input as doc with data.regate.settings as {}
	pii_gdpr.deny == set() with input as doc with data.regate.settings as {"pii_gdpr": {"exempt": ["analysts"]}}
}

test_connecting if {
	connect := {"stage": "session", "subject": {"groups": []}, "action": {"verb": "connect"}, "resource": {"column_names": [], "tables": {}}, "sql": null}
	pii_gdpr.deny == set() with input as connect with data.regate.settings as {}
}

test_settings if {
	every bad in [{"names": []}, {"special": []}, {"fields": []}, {"detect": 1}, {"exempt": "a"}, {"special_for": {}}] {
		"regate.pii_gdpr/settings" in ids(pii_gdpr.deny) with input as request("select", []) with data.regate.settings as {"pii_gdpr": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.pii_gdpr/input" in ids(pii_gdpr.deny) with input as nothing with data.regate.settings as {}
}
