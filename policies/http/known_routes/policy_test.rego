package regate.policies.regate.http_known_routes_test

import data.regate.policies.regate.http_known_routes

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

known(operation) := request("post", {"action": {"operation": operation}, "resource": {"route": "/orders/{id}"}})

site := {"http_known_routes": {"operations": ["orders.*"], "denied": ["orders.purge"], "approve": ["orders.refund"]}}

denied(doc, settings) := out if {
	out := ids(http_known_routes.deny) with input as doc with data.regate.settings as settings
}

test_known if {
	denied(known("orders.get"), {}) == set()
	denied(known("orders.get"), site) == set()
	denied(known(null), {}) == set()
}

test_unknown if denied(request("get", {}), {}) == {"regate.http_known_routes/unknown"}

test_operation if {
	every operation in ["users.get", "orders.purge", null] {
		denied(known(operation), site) == {"regate.http_known_routes/operation"}
	}
}

test_deprecated if {
	doc := object.union(known("orders.get"), {"http": {"route": {"deprecated": true}}})
	denied(doc, {}) == {"regate.http_known_routes/deprecated"}
	denied(doc, {"http_known_routes": {"deprecated": true}}) == set()
}

test_approve if {
	ids(http_known_routes.require_approval) == {"regate.http_known_routes/approve"} with input as known("orders.refund") with data.regate.settings as site
	http_known_routes.require_approval == set() with input as known("orders.get") with data.regate.settings as site
}

test_exempt if denied(request("get", {}), {"http_known_routes": {"exempt": ["developers"]}}) == set()

test_connecting if denied(request("connect", {"stage": "session"}), {}) == set()

test_site_settings if {
	other := {"http_known_routes": {"approve": ["*"], "approvers": ["any"], "ttl": "5m", "wait": "0s"}}
	{r.from | some r in http_known_routes.require_approval} == {["any"]} with input as known("a") with data.regate.settings as other
}

test_settings if {
	every bad in [{"operations": "a"}, {"denied": [1]}, {"approve": {}}, {"deprecated": 1}, {"approvers": "any"}, {"exempt": "a"}, {"ttl": 1}, {"wait": 1}] {
		"regate.http_known_routes/settings" in ids(http_known_routes.deny) with input as known("a") with data.regate.settings as {"http_known_routes": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.http_known_routes/input" in ids(http_known_routes.deny) with input as nothing with data.regate.settings as {}
}
