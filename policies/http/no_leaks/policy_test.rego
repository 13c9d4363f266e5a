package regate.policies.regate.http_no_leaks_test

import data.regate.policies.regate.http_no_leaks

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

carrying(kinds) := request("post", {"action": {"secrets": kinds}})

denied(doc, settings) := out if {
	out := ids(http_no_leaks.deny) with input as doc with data.regate.settings as settings
}

test_found if {
	denied(carrying(["api_key"]), {}) == {"regate.http_no_leaks/found"}
	denied(carrying(["email"]), {}) == set()
	denied(carrying([]), {}) == set()
	denied(carrying(["email"]), {"http_no_leaks": {"kinds": ["email"]}}) == {"regate.http_no_leaks/found"}
	denied(carrying(["jwt"]), {"http_no_leaks": {"exempt": ["developers"]}}) == set()
}

test_settings if {
	every bad in [{"kinds": "a"}, {"exempt": "a"}] {
		"regate.http_no_leaks/settings" in ids(http_no_leaks.deny) with input as carrying([]) with data.regate.settings as {"http_no_leaks": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.http_no_leaks/input" in ids(http_no_leaks.deny) with input as nothing with data.regate.settings as {}
}
