package regate.policies.regate.http_complete_test

import data.regate.policies.regate.http_complete

ids(set_of) := {element.id | some element in set_of}

request(verb, more) := object.union(
	{
		"stage": "request", "complete": true, "unknown": [],
		"subject": {"groups": ["developers"]},
		"action": {"verb": verb, "writes": verb == "post", "opaque": false, "operation": null, "graphql": "", "upgrade": "", "body": "none", "secrets": []},
		"resource": {"host": "api.example.com", "port": 443, "origin": "https://api.example.com", "path": "/orders", "route": null, "field_names": []},
		"http": {"mode": "reverse", "scheme": "https", "route": {"deprecated": false}, "body": {"graphql": []}},
	},
	more,
)

denied(doc) := out if {
	out := ids(http_complete.deny) with input as doc with data.regate.settings as {}
}

test_others_pass if denied(request("post", {})) == set()

test_incomplete if {
	denied(request("post", {"complete": false, "unknown": [{"what": "body", "why": "x"}]})) == {"regate.http_complete/incomplete"}
	denied(request("unknown", {})) == {"regate.http_complete/unknown"}
}

test_opaque if {
	doc := request("post", {"complete": false, "action": {"opaque": true, "body": "binary"}})
	denied(doc) == {"regate.http_complete/opaque"}
	http_complete.deny == set() with input as doc with data.regate.settings as {"http_complete": {"opaque_for": ["developers"]}}
}

test_upgrade if {
	doc := request("get", {"action": {"upgrade": "websocket"}})
	denied(doc) == {"regate.http_complete/upgrade"}
	http_complete.deny == set() with input as doc with data.regate.settings as {"http_complete": {"upgrades": ["websocket"]}}
}

test_settings if {
	every bad in [{"opaque_for": "a"}, {"upgrades": "websocket"}] {
		"regate.http_complete/settings" in ids(http_complete.deny) with input as request("get", {}) with data.regate.settings as {"http_complete": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.http_complete/input" in ids(http_complete.deny) with input as nothing with data.regate.settings as {}
}
