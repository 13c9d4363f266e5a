package regate.policies.regate.sql_pii_masks_test

import data.regate.policies.regate.sql_pii_masks

request(action) := {
	"stage": "request", "complete": true,
	"subject": {"groups": ["analysts"]},
	"action": object.union({"verb": "select", "verbs": ["select"], "writes": false, "ddl": false, "opaque": false, "locks": false, "has_where": true, "where_constant": false}, action),
	"resource": {"schema_names": ["public"], "tables": {"public.t": {"kind": "table"}}},
	"target": {"labels": {"env": "prod"}},
}

test_defaults_detect if {
	sql_pii_masks.deny == set() with input as request({}) with data.regate.settings as {}
	{m.detect | some m in sql_pii_masks.mask} == {"credit_card", "email", "iban", "phone", "ssn"} with input as request({}) with data.regate.settings as {}
}

test_fields if {
	site := {"sql_pii_masks": {"fields": {"public.users.email": {"method": "hash"}}, "detect": {}}}
	sql_pii_masks.mask == {{"id": "regate.sql_pii_masks/field", "field": "public.users.email", "method": "hash"}} with input as request({}) with data.regate.settings as site
}

test_exempt if {
	site := {"sql_pii_masks": {"fields": {"public.users.email": {"method": "hash"}}, "exempt": ["analysts"]}}
	sql_pii_masks.mask == set() with input as request({}) with data.regate.settings as site
}

test_settings if {
	{d.id | some d in sql_pii_masks.deny} == {"regate.sql_pii_masks/settings"} with input as request({}) with data.regate.settings as {"sql_pii_masks": {"fields": ["public.users.email"]}}
}
