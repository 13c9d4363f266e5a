package regate.policies.regate.k8s_read_only_test

import data.regate.policies.regate.k8s_read_only

ids(set_of) := {element.id | some element in set_of}

request(verb, type, more) := object.union(
	{
		"stage": "request", "complete": true,
		"subject": {"groups": ["developers"]},
		"action": {"verb": verb, "writes": not_read(verb, type), "named": true, "opaque": false},
		"resource": {
			"type": type, "namespace": "shop", "name": "x", "namespaces": ["shop"], "path": "", "object_kind": "",
			"secret_names": [], "service_account_names": [], "host_paths": [], "capabilities": [], "privileged": false,
			"host_namespaces": [], "pod_paths": [], "pods": {},
		},
		"kubernetes": {"object": null, "patch": null},
	},
	more,
)

not_read(verb, type) := false if {
	verb in ["get", "list", "watch"]
	not contains(type, "/")
} else := true

site := {"k8s_read_only": {"readers": ["developers"], "writers": ["deployers"]}}

test_read if {
	every type in ["pods", "deployments.apps", "nodes", "events.events.k8s.io"] {
		ids(k8s_read_only.allow) == {"regate.k8s_read_only/read"} with input as request("list", type, {}) with data.regate.settings as site
	}
	k8s_read_only.deny == set() with input as request("get", "pods", {}) with data.regate.settings as site
}

test_connect if {
	doc := object.union(request("connect", "", {}), {"stage": "session"})
	ids(k8s_read_only.allow) == {"regate.k8s_read_only/connect"} with input as doc with data.regate.settings as site
}

test_secrets_are_left_to_others if {
	k8s_read_only.allow == set() with input as request("get", "secrets", {}) with data.regate.settings as site
	k8s_read_only.deny == set() with input as request("get", "secrets", {}) with data.regate.settings as site
	ids(k8s_read_only.allow) == {"regate.k8s_read_only/read"} with input as request("get", "secrets", {}) with data.regate.settings as {"k8s_read_only": {"readers": ["developers"], "never": []}}
}

test_write if {
	every doc in [request("delete", "pods", {}), request("create", "pods/exec", {}), request("get", "pods/proxy", {}), request("get", "pods", {"complete": false}), request("unknown", "", {})] {
		ids(k8s_read_only.deny) == {"regate.k8s_read_only/write"} with input as doc with data.regate.settings as site
		k8s_read_only.allow == set() with input as doc with data.regate.settings as site
	}
	deployer := request("delete", "pods", {"subject": {"groups": ["deployers"]}})
	k8s_read_only.deny == set() with input as deployer with data.regate.settings as site
}

test_strangers if k8s_read_only.allow == set() with input as request("get", "pods", {}) with data.regate.settings as {}

test_settings if {
	every bad in [{"readers": "a"}, {"writers": "a"}, {"never": "secrets"}] {
		"regate.k8s_read_only/settings" in ids(k8s_read_only.deny) with input as request("get", "pods", {}) with data.regate.settings as {"k8s_read_only": bad}
	}
}
