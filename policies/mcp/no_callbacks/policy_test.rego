package regate.policies.regate.mcp_no_callbacks_test

import data.regate.policies.regate.mcp_no_callbacks

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

asking(verb) := request(verb, {"action": {"direction": "to_client"}, "mcp": {"responses": null}})

denied(doc, settings) := out if {
	out := ids(mcp_no_callbacks.deny) with input as doc with data.regate.settings as settings
}

test_asks if {
	every verb in ["sample", "elicit", "roots"] {
		denied(asking(verb), {}) == {"regate.mcp_no_callbacks/asks"}
	}
	denied(asking("call"), {}) == set()
	denied(asking("unknown"), {}) == {"regate.mcp_no_callbacks/unknown"}
}

test_allowed if {
	site := {"mcp_no_callbacks": {"allowed": ["elicit"], "servers": ["shop"]}}
	denied(asking("elicit"), site) == set()
	denied(asking("sample"), site) == {"regate.mcp_no_callbacks/asks"}
	denied(object.union(asking("elicit"), {"resource": {"server": "other"}}), site) == {"regate.mcp_no_callbacks/asks"}
}

test_answers if {
	doc := request("call", {"mcp": {"responses": {"a": "b"}}})
	denied(doc, {}) == {"regate.mcp_no_callbacks/answers"}
	denied(doc, {"mcp_no_callbacks": {"servers": ["shop"]}}) == set()
}

test_exempt if denied(asking("sample"), {"mcp_no_callbacks": {"exempt": ["developers"]}}) == set()

test_settings if {
	every bad in [{"allowed": "a"}, {"servers": "a"}, {"exempt": "a"}] {
		"regate.mcp_no_callbacks/settings" in ids(mcp_no_callbacks.deny) with input as asking("call") with data.regate.settings as {"mcp_no_callbacks": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.mcp_no_callbacks/input" in ids(mcp_no_callbacks.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(asking("connect"), {"stage": "session", "mcp": null})
	mcp_no_callbacks.deny == set() with input as connect with data.regate.settings as {}
}
