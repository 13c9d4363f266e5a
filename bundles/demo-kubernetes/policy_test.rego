package regate.policies.acme.cluster_test

import data.regate.policies.acme.cluster

request(verb, stream, type) := {
	"stage": "request",
	"subject": {"groups": ["deployers"]},
	"action": {"verb": verb, "stream": stream},
	"resource": {"type": type},
}

ids(set_of) := {element.id | some element in set_of}

test_connect if {
	connect := object.union(request("connect", "", ""), {"stage": "session"})
	ids(cluster.allow) == {"acme.cluster/connect"} with input as connect
}

test_read if {
	ids(cluster.allow) == {"acme.cluster/read"} with input as request("list", "", "pods")
	ids(cluster.allow) == {"acme.cluster/read"} with input as request("get", "log", "pods/log")
	cluster.allow == set() with input as request("get", "proxy", "pods/proxy")
}

test_change if {
	ids(cluster.allow) == {"acme.cluster/change"} with input as request("patch", "", "deployments.apps/scale")
	cluster.allow == set() with input as request("patch", "", "deployments.apps")
}

test_strangers_get_nothing if {
	cluster.allow == set() with input as object.union(request("list", "", "pods"), {"subject": {"groups": ["guests"]}})
}

test_masks if {
	ids(cluster.mask) == {"acme.cluster/env", "acme.cluster/cards"} with input as request("list", "", "pods")
}
