package regate.policies.regate.mcp_tools_test

import data.regate.policies.regate.mcp_tools

ids(set_of) := {element.id | some element in set_of}

request(verb, more) := object.union(
	{
		"stage": "request", "complete": true, "unknown": [],
		"subject": {"groups": ["developers"]},
		"action": {"verb": verb, "message": "request", "direction": "to_server", "writes": verb == "call", "item": false, "opaque": false, "secrets": []},
		"resource": {"kind": "tool", "names": ["orders_get"], "server": "shop", "tool": "orders_get", "uri": null, "uri_scheme": null, "pin": "approved"},
		"mcp": {"tool": {"pin": "approved", "findings": [], "changed": [], "schema_valid": true}},
	},
	more,
)

site := {"mcp_tools": {"allowed": ["shop/orders_*"], "by_group": {"ops": ["*/restart"]}, "approve": ["shop/orders_refund"]}}

calling(tool) := request("call", {"resource": {"tool": tool}})

denied(doc, settings) := out if {
	out := ids(mcp_tools.deny) with input as doc with data.regate.settings as settings
}

test_tools if {
	denied(calling("orders_get"), site) == set()
	denied(calling("users_get"), site) == {"regate.mcp_tools/tool"}
	denied(calling("orders_get"), {}) == {"regate.mcp_tools/tool"}
	denied(object.union(calling("restart"), {"subject": {"groups": ["ops"]}}), site) == set()
	denied(calling("restart"), site) == {"regate.mcp_tools/tool"}
	denied(calling(null), site) == {"regate.mcp_tools/tool"}
}

test_lists if {
	denied(object.union(calling("users_get"), {"action": {"verb": "list", "item": true}}), site) == {"regate.mcp_tools/tool"}
	denied(request("list", {"resource": {"tool": null}}), site) == set()
}

reading(uri, scheme) := request("read", {"resource": {"tool": null, "uri": uri, "uri_scheme": scheme}})

test_resources if {
	denied(reading("file:///a", "file"), site) == set()
	denied(reading("ssh://a", "ssh"), site) == {"regate.mcp_tools/resource"}
}

test_approve if {
	ids(mcp_tools.require_approval) == {"regate.mcp_tools/approve"} with input as calling("orders_refund") with data.regate.settings as site
	mcp_tools.require_approval == set() with input as calling("orders_get") with data.regate.settings as site
	mcp_tools.require_approval == set() with input as calling("orders_get") with data.regate.settings as {}
}

test_exempt if denied(calling("users_get"), {"mcp_tools": {"exempt": ["developers"]}}) == set()

test_connecting if denied(request("connect", {"stage": "session", "resource": {"tool": null}}), {}) == set()

test_site_settings if {
	other := {"mcp_tools": {"allowed": ["*"], "approve": ["*"], "schemes": ["https"], "approvers": ["any"], "ttl": "5m", "wait": "0s"}}
	{r.from | some r in mcp_tools.require_approval} == {["any"]} with input as calling("a") with data.regate.settings as other
	denied(request("read", {"resource": {"tool": null, "uri": "file:///a", "uri_scheme": "file"}}), other) == {"regate.mcp_tools/resource"}
}

test_settings if {
	every bad in [{"allowed": "a"}, {"allowed": [1]}, {"by_group": []}, {"by_group": {"a": "b"}}, {"approve": 1}, {"schemes": 1}, {"approvers": "any"}, {"exempt": "a"}, {"ttl": 1}, {"wait": 1}] {
		"regate.mcp_tools/settings" in ids(mcp_tools.deny) with input as calling("a") with data.regate.settings as {"mcp_tools": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.mcp_tools/input" in ids(mcp_tools.deny) with input as nothing with data.regate.settings as {}
}
