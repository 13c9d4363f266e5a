package regate.policies.regate.k8s_destruction_test

import data.regate.policies.regate.k8s_destruction

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

doc(verb, type, subresource) := request(verb, type, {"action": {"dry_run": false}, "resource": {"names": ["shop/x"], "subresource": subresource}})

site := {"k8s_destruction": {}}

waits(document) := out if {
	out := ids(k8s_destruction.require_approval) with input as document with data.regate.settings as site
}

denied(document) := out if {
	out := ids(k8s_destruction.deny) with input as document with data.regate.settings as site
}

test_others_pass if {
	every document in [doc("get", "pods", ""), doc("create", "pods", ""), doc("patch", "deployments.apps", "")] {
		waits(document) == set()
		denied(document) == set()
	}
}

test_collection if denied(doc("deletecollection", "pods", "")) == {"regate.k8s_destruction/collection"}

test_never if denied(doc("delete", "namespaces", "")) == {"regate.k8s_destruction/never"}

test_waits if {
	every document in [doc("delete", "pods", ""), doc("create", "pods/eviction", "eviction"), doc("patch", "deployments.apps/scale", "scale")] {
		waits(document) == {"regate.k8s_destruction/approve"}
	}
	patch := object.union(doc("patch", "configmaps", ""), {"kubernetes": {"patch": {"metadata": {"ownerReferences": [{"uid": "none"}]}}}})
	waits(patch) == {"regate.k8s_destruction/approve"}
}

test_dry_run if {
	document := object.union(doc("delete", "namespaces", ""), {"action": {"dry_run": true}})
	denied(document) == set()
	waits(document) == set()
}

test_exempt if {
	k8s_destruction.deny == set() with input as doc("deletecollection", "pods", "") with data.regate.settings as {"k8s_destruction": {"exempt": ["developers"]}}
}

test_site_settings if {
	other := {"k8s_destruction": {"never": ["pods"], "approvers": ["any"], "ttl": "5m", "wait": "0s"}}
	ids(k8s_destruction.deny) == {"regate.k8s_destruction/never"} with input as doc("delete", "pods", "") with data.regate.settings as other
	{r.from | some r in k8s_destruction.require_approval} == {["any"]} with input as doc("delete", "pods", "") with data.regate.settings as other
}

test_settings if {
	every bad in [{"never": "pods"}, {"approvers": "any"}, {"exempt": "a"}, {"ttl": 1}, {"wait": 1}] {
		"regate.k8s_destruction/settings" in ids(k8s_destruction.deny) with input as doc("get", "pods", "") with data.regate.settings as {"k8s_destruction": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.k8s_destruction/input" in ids(k8s_destruction.deny) with input as nothing with data.regate.settings as {}
}

test_session if {
	connect := object.union(doc("connect", "", ""), {"stage": "session", "kubernetes": null})
	k8s_destruction.deny == set() with input as connect with data.regate.settings as {}
}
