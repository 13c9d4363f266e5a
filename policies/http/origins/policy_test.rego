package regate.policies.regate.http_origins_test

import data.regate.policies.regate.http_origins

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

site := {"http_origins": {"hosts": ["api.example.com", "*.github.com"], "by_group": {"ml": ["huggingface.co"]}, "plain": ["old.example.com"]}}

to(host) := request("get", {"resource": {"host": host, "origin": sprintf("https://%s", [host])}})

denied(doc, settings) := out if {
	out := ids(http_origins.deny) with input as doc with data.regate.settings as settings
}

test_known if {
	every host in ["api.example.com", "API.example.com.", "api.github.com", "a.b.github.com"] {
		denied(to(host), site) == set()
	}
	denied(object.union(to("huggingface.co"), {"subject": {"groups": ["ml"]}}), site) == set()
}

test_unknown if {
	every host in ["example.com", "github.com", "evilgithub.com", "api.example.com.evil.com", "huggingface.co"] {
		denied(to(host), site) == {"regate.http_origins/host"}
	}
	denied(to("api.example.com"), {}) == {"regate.http_origins/host"}
}

test_addresses if {
	every host in ["169.254.169.254", "10.0.0.1", "[::1]", "::ffff:169.254.169.254", "2130706433", "0x7f000001", "localhost", "metadata", "metadata.google.internal", "printer.local"] {
		"regate.http_origins/address" in denied(to(host), {"http_origins": {"hosts": ["*"]}})
	}
	denied(to("build.internal"), {"http_origins": {"hosts": ["build.internal"]}}) == set()
}

test_ports if {
	doc := object.union(to("api.example.com"), {"resource": {"port": 8443}})
	denied(doc, site) == {"regate.http_origins/port"}
	denied(doc, {"http_origins": {"hosts": ["api.example.com"], "ports": [8443]}}) == set()
}

test_plain if {
	denied(object.union(to("api.example.com"), {"resource": {"origin": "http://api.example.com"}}), site) == {"regate.http_origins/plain"}
	denied(object.union(to("old.example.com"), {"resource": {"origin": "http://old.example.com"}}), {"http_origins": {"hosts": ["old.example.com"], "plain": ["old.example.com"]}}) == set()
}

test_exempt if denied(to("evil.com"), {"http_origins": {"exempt": ["developers"]}}) == set()

test_settings if {
	every bad in [{"hosts": "a"}, {"hosts": [1]}, {"by_group": []}, {"by_group": {"a": "b"}}, {"ports": ["443"]}, {"plain": 1}, {"exempt": "a"}] {
		"regate.http_origins/settings" in ids(http_origins.deny) with input as to("a.example") with data.regate.settings as {"http_origins": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.http_origins/input" in ids(http_origins.deny) with input as nothing with data.regate.settings as {}
}
