package regate.policies.regate.http_read_only_test

import data.regate.policies.regate.http_read_only

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

site := {"http_read_only": {"readers": ["developers"], "writers": ["deployers"]}}

test_read if {
	ids(http_read_only.allow) == {"regate.http_read_only/read"} with input as request("get", {}) with data.regate.settings as site
	http_read_only.deny == set() with input as request("get", {}) with data.regate.settings as site
}

test_connect if {
	ids(http_read_only.allow) == {"regate.http_read_only/connect"} with input as request("connect", {"stage": "session"}) with data.regate.settings as site
}

test_write if {
	every doc in [request("post", {}), request("get", {"complete": false}), request("get", {"action": {"upgrade": "websocket"}})] {
		ids(http_read_only.deny) == {"regate.http_read_only/write"} with input as doc with data.regate.settings as site
		http_read_only.allow == set() with input as doc with data.regate.settings as site
	}
	http_read_only.deny == set() with input as request("post", {"subject": {"groups": ["deployers"]}}) with data.regate.settings as site
}

test_strangers if {
	http_read_only.allow == set() with input as request("get", {}) with data.regate.settings as {}
	ids(http_read_only.deny) == {"regate.http_read_only/write"} with input as request("post", {}) with data.regate.settings as {}
}

test_settings if {
	every bad in [{"readers": "a"}, {"writers": "a"}] {
		"regate.http_read_only/settings" in ids(http_read_only.deny) with input as request("get", {}) with data.regate.settings as {"http_read_only": bad}
	}
}
