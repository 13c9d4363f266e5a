package regate.policies.regate.pii_pci_test

import data.regate.policies.regate.pii_pci

ids(set_of) := {element.id | some element in set_of}

request(verb, columns) := {
	"stage": "request", "protocol": "postgres",
	"subject": {"groups": ["analysts"]},
	"action": {"verb": verb, "writes": verb != "select"},
	"resource": {"column_names": columns, "tables": {"public.people": {"columns": ["id"]}}},
	"sql": {"statement": {"predicate_columns": [], "written_columns": []}},
}

test_numbers if {
	masks := pii_pci.mask with input as request("select", ["public.pay.card_number", "public.pay.id", "public.pay.Cardholder_Name"]) with data.regate.settings as {}
	masks == {
		{"id": "regate.pii_pci/number", "field": "public.pay.card_number", "method": "partial", "keep": 4},
		{"id": "regate.pii_pci/holder", "field": "public.pay.Cardholder_Name", "method": "redact"},
		{"id": "regate.pii_pci/detect", "detect": "credit_card", "method": "partial", "keep": 4},
	}
}

test_fields if {
	masks := pii_pci.mask with input as request("select", []) with data.regate.settings as {"pii_pci": {"fields": ["public.pay.n"]}}
	{m.field | some m in masks} == {"public.pay.n"}
}

test_who_sees_numbers if {
	site := {"pii_pci": {"see_numbers": ["analysts"]}}
	doc := object.union(request("select", ["public.pay.pan"]), {"sql": {"statement": {"predicate_columns": ["public.pay.pan"]}}})
	pii_pci.mask == set() with input as doc with data.regate.settings as site
	pii_pci.deny == set() with input as doc with data.regate.settings as site
	ids(pii_pci.deny) == {"regate.pii_pci/filter"} with input as doc with data.regate.settings as {}
}

test_authentication if {
	every column in ["public.pay.cvv", "public.pay.card_cvc2", "public.pay.PIN", "public.pay.track2"] {
		every verb in ["select", "insert"] {
			ids(pii_pci.deny) == {"regate.pii_pci/authentication"} with input as request(verb, [column]) with data.regate.settings as {"pii_pci": {"see_numbers": ["analysts"]}}
		}
	}
	pii_pci.deny == set() with input as request("select", ["public.pay.pinned", "public.pay.tracking"]) with data.regate.settings as {}
}

test_unknown_columns if {
	doc := object.union(request("select", []), {"resource": {"tables": {"public.people": {"columns": ["*"]}}}})
	ids(pii_pci.deny) == {"regate.pii_pci/columns"} with input as doc with data.regate.settings as {}
}

test_connecting if {
	connect := {"stage": "session", "subject": {"groups": []}, "action": {"verb": "connect"}, "resource": {"column_names": [], "tables": {}}, "sql": null}
	pii_pci.deny == set() with input as connect with data.regate.settings as {}
}

test_settings if {
	every bad in [{"numbers": "pan"}, {"authentication": {}}, {"holders": "a"}, {"fields": [1]}, {"see_numbers": "a"}] {
		"regate.pii_pci/settings" in ids(pii_pci.deny) with input as request("select", []) with data.regate.settings as {"pii_pci": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.pii_pci/input" in ids(pii_pci.deny) with input as nothing with data.regate.settings as {}
}
