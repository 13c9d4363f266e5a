package regate.policies.regate.http_graphql_test

import data.regate.policies.regate.http_graphql

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

graphql(kind, operation) := request("post", {
	"action": {"graphql": kind, "body": "graphql"},
	"resource": {"field_names": ["Query.orders"]},
	"http": {"body": {"graphql": [object.union({"depth": 2, "size": 3, "introspection": false, "paths": ["orders", "orders.id"]}, operation)]}},
})

denied(doc, settings) := out if {
	out := ids(http_graphql.deny) with input as doc with data.regate.settings as settings
}

test_others_pass if {
	denied(graphql("query", {}), {}) == set()
	denied(request("post", {}), {}) == set()
}

test_bounds if {
	denied(graphql("query", {"depth": 11}), {}) == {"regate.http_graphql/too-deep"}
	denied(graphql("query", {"size": 201}), {}) == {"regate.http_graphql/too-large"}
	two := json.patch(graphql("query", {}), [{"op": "add", "path": "/http/body/graphql/-", "value": {"depth": 1, "size": 1, "introspection": false, "paths": []}}])
	denied(two, {}) == {"regate.http_graphql/batch"}
	denied(two, {"http_graphql": {"batch": 2, "depth": 5, "size": 50}}) == set()
}

test_introspection if {
	denied(graphql("query", {"introspection": true}), {}) == {"regate.http_graphql/introspection"}
	denied(graphql("query", {"introspection": true}), {"http_graphql": {"introspection": true}}) == set()
}

test_fields if {
	denied(graphql("query", {"paths": ["orders", "orders.customer.email"]}), {"http_graphql": {"denied": ["*.email"]}}) == {"regate.http_graphql/field"}
	denied(graphql("query", {}), {"http_graphql": {"denied": ["Query.orders"]}}) == {"regate.http_graphql/field"}
}

test_mutations if {
	denied(graphql("mutation", {}), {}) == {"regate.http_graphql/mutation"}
	denied(graphql("mutation", {}), {"http_graphql": {"mutate_for": ["developers"]}}) == set()
}

test_subscriptions if {
	denied(graphql("subscription", {}), {}) == {"regate.http_graphql/subscription"}
	denied(graphql("subscription", {}), {"http_graphql": {"subscriptions": true}}) == set()
}

test_unreadable if {
	denied(object.union(graphql("query", {}), {"http": {"body": {"graphql": []}}}), {}) == {"regate.http_graphql/unreadable"}
}

test_exempt if denied(graphql("mutation", {}), {"http_graphql": {"exempt": ["developers"]}}) == set()

test_settings if {
	every bad in [{"depth": "a"}, {"size": "a"}, {"batch": null}, {"introspection": 1}, {"subscriptions": 1}, {"denied": [1]}, {"mutate_for": "a"}, {"exempt": "a"}] {
		"regate.http_graphql/settings" in ids(http_graphql.deny) with input as request("get", {}) with data.regate.settings as {"http_graphql": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.http_graphql/input" in ids(http_graphql.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(request("get", {}), {"stage": "session", "http": null})
	http_graphql.deny == set() with input as connect with data.regate.settings as {}
}
