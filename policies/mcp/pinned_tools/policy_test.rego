package regate.policies.regate.mcp_pinned_tools_test

import data.regate.policies.regate.mcp_pinned_tools

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

pinned(pin) := request("call", {"resource": {"pin": pin}, "mcp": {"tool": {"pin": pin, "changed": ["/description"]}}})

denied(doc, settings) := out if {
	out := ids(mcp_pinned_tools.deny) with input as doc with data.regate.settings as settings
}

test_approved if denied(pinned("approved"), {}) == set()

test_changed if denied(pinned("changed"), {"mcp_pinned_tools": {"new": "approve"}}) == {"regate.mcp_pinned_tools/changed"}

test_new if {
	every pin in ["new", "unknown", ""] {
		denied(pinned(pin), {}) == {"regate.mcp_pinned_tools/not-approved"}
	}
}

test_new_may_wait if {
	site := {"mcp_pinned_tools": {"new": "approve", "approvers": ["any"], "ttl": "5m", "wait": "0s"}}
	denied(pinned("new"), site) == set()
	ids(mcp_pinned_tools.require_approval) == {"regate.mcp_pinned_tools/approve"} with input as pinned("new") with data.regate.settings as site
	ids(mcp_pinned_tools.require_approval) == {"regate.mcp_pinned_tools/approve"} with input as pinned("new") with data.regate.settings as {"mcp_pinned_tools": {"new": "approve"}}
	denied(pinned("unknown"), site) == {"regate.mcp_pinned_tools/not-approved"}
	item := object.union(pinned("new"), {"action": {"verb": "list", "item": true}})
	mcp_pinned_tools.require_approval == set() with input as item with data.regate.settings as site
}

test_hidden if {
	doc := request("call", {"mcp": {"tool": {"findings": ["zero-width"]}}})
	denied(doc, {}) == {"regate.mcp_pinned_tools/hidden"}
	denied(doc, {"mcp_pinned_tools": {"findings": ["zero-width"]}}) == set()
}

test_arguments if {
	denied(request("call", {"mcp": {"tool": {"schema_valid": false}}}), {}) == {"regate.mcp_pinned_tools/arguments"}
	denied(request("call", {"mcp": {"tool": {"schema_valid": null}}}), {}) == set()
}

test_others_pass if denied(request("read", {"resource": {"tool": null, "pin": ""}}), {}) == set()

test_exempt if denied(pinned("changed"), {"mcp_pinned_tools": {"exempt": ["developers"]}}) == set()

test_settings if {
	every bad in [{"new": "allow"}, {"findings": "a"}, {"approvers": "any"}, {"exempt": "a"}, {"ttl": 1}, {"wait": 1}] {
		"regate.mcp_pinned_tools/settings" in ids(mcp_pinned_tools.deny) with input as pinned("approved") with data.regate.settings as {"mcp_pinned_tools": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.mcp_pinned_tools/input" in ids(mcp_pinned_tools.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(request("connect", {"resource": {"tool": null, "pin": ""}}), {"stage": "session", "mcp": null})
	mcp_pinned_tools.deny == set() with input as connect with data.regate.settings as {}
}
