package regate.policies.regate.mcp_no_leaks_test

import data.regate.policies.regate.mcp_no_leaks

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

carrying(kinds) := request("call", {"action": {"secrets": kinds}})

denied(doc, settings) := out if {
	out := ids(mcp_no_leaks.deny) with input as doc with data.regate.settings as settings
}

test_found if {
	denied(carrying(["api_key"]), {}) == {"regate.mcp_no_leaks/found"}
	denied(carrying(["email"]), {}) == set()
	denied(carrying(["email"]), {"mcp_no_leaks": {"kinds": ["email"]}}) == {"regate.mcp_no_leaks/found"}
	denied(carrying(["jwt"]), {"mcp_no_leaks": {"exempt": ["developers"]}}) == set()
}

test_settings if {
	every bad in [{"kinds": "a"}, {"exempt": "a"}] {
		"regate.mcp_no_leaks/settings" in ids(mcp_no_leaks.deny) with input as carrying([]) with data.regate.settings as {"mcp_no_leaks": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.mcp_no_leaks/input" in ids(mcp_no_leaks.deny) with input as nothing with data.regate.settings as {}
}
