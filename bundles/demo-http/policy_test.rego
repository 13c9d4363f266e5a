package regate.policies.acme.api_test

import data.regate.policies.acme.api

request(change) := object.union(
	{
		"stage": "request", "complete": true, "subject": {"groups": ["analysts"]}, "actor": null,
		"action": {"verb": "get", "writes": false}, "resource": {"path": "/customers/1"},
		"http": {"mode": "reverse"}, "session": {"labels": []},
	},
	change,
)

ids(set) := {e.id | some e in set}

test_connect if {
	ids(api.allow) == {"acme.api/connect"} with input as request({"stage": "session", "action": {"verb": "connect"}})
	ids(api.allow) == set() with input as request({"stage": "session", "subject": {"groups": []}})
}

test_read if {
	ids(api.allow) == {"acme.api/read"} with input as request({})
	ids(api.mask) == {"acme.api/email", "acme.api/card"} with input as request({})
	ids(api.label) == {"acme.api/has-read-customers"} with input as request({})
	ids(api.allow) == set() with input as request({"complete": false})
}

test_change if {
	ids(api.allow) == {"acme.api/change"} with input as request({"action": {"verb": "patch", "writes": true}})
	ids(api.require_approval) == {"acme.api/customer"} with input as request({"action": {"verb": "patch", "writes": true}})
	ids(api.require_approval) == set() with input as request({"action": {"verb": "post", "writes": true}, "resource": {"path": "/notes"}})
}

test_delete if {
	ids(api.deny) == {"acme.api/delete"} with input as request({"action": {"verb": "delete", "writes": true}})
}

test_unknown if {
	ids(api.deny) == {"acme.api/input"} with input as request({"http": {"mode": null}})
	ids(api.deny) == set() with input as request({"stage": "session", "http": {"mode": null}})
}

test_no_way_out if {
	out := {"http": {"mode": "forward"}, "action": {"verb": "post", "writes": true}}
	ids(api.deny) == set() with input as request(out)
	ids(api.deny) == {"acme.api/no-way-out"} with input as request(object.union(out, {"session": {"labels": ["read-customers"]}}))
}
