package regate.policies.regate.mcp_read_only_test

import data.regate.policies.regate.mcp_read_only

ids(set_of) := {element.id | some element in set_of}

request(verb, more) := object.union(
	{
		"stage": "request", "complete": true, "unknown": [],
		"subject": {"groups": ["developers"]},
		"action": {"verb": verb, "message": "request", "direction": "to_server", "writes": verb == "call", "item": false, "opaque": false, "secrets": []},
		"resource": {"kind": "tool", "names": ["orders_get"], "server": "shop", "tool": "orders_get", "uri": null, "pin": "approved"},
		"mcp": {"tool": {"pin": "approved", "findings": [], "changed": [], "schema_valid": true}},
	},
	more,
)

site := {"mcp_read_only": {"readers": ["developers"], "writers": ["deployers"]}}

test_read if {
	every doc in [request("list", {}), request("initialize", {}), request("read", {}), request("call", {"action": {"writes": false}})] {
		ids(mcp_read_only.allow) == {"regate.mcp_read_only/read"} with input as doc with data.regate.settings as site
		mcp_read_only.deny == set() with input as doc with data.regate.settings as site
	}
}

test_connect if {
	ids(mcp_read_only.allow) == {"regate.mcp_read_only/connect"} with input as request("connect", {"stage": "session"}) with data.regate.settings as site
}

test_write if {
	every doc in [request("call", {}), request("sample", {}), request("list", {"complete": false}), request("unknown", {})] {
		ids(mcp_read_only.deny) == {"regate.mcp_read_only/write"} with input as doc with data.regate.settings as site
		mcp_read_only.allow == set() with input as doc with data.regate.settings as site
	}
	mcp_read_only.deny == set() with input as request("call", {"subject": {"groups": ["deployers"]}}) with data.regate.settings as site
}

test_strangers if {
	mcp_read_only.allow == set() with input as request("list", {}) with data.regate.settings as {}
	ids(mcp_read_only.deny) == {"regate.mcp_read_only/write"} with input as request("call", {}) with data.regate.settings as {}
}

test_settings if {
	every bad in [{"readers": "a"}, {"writers": "a"}] {
		"regate.mcp_read_only/settings" in ids(mcp_read_only.deny) with input as request("list", {}) with data.regate.settings as {"mcp_read_only": bad}
	}
}
