package regate.policies.regate.k8s_namespaces_test

import data.regate.policies.regate.k8s_namespaces

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

site := {"k8s_namespaces": {"allowed": ["shop", "shop-*"], "by_group": {"sre": ["monitoring"]}}}

denied(doc) := out if {
	out := ids(k8s_namespaces.deny) with input as doc with data.regate.settings as site
}

in_namespace(namespace, groups) := request("get", "pods", {"subject": {"groups": groups}, "resource": {"namespace": namespace, "namespaces": [namespace]}})

cluster_wide(verb, type, name) := request(verb, type, {"resource": {"namespace": "", "namespaces": [], "name": name}})

test_own if {
	denied(in_namespace("shop", [])) == set()
	denied(in_namespace("shop-staging", [])) == set()
	denied(in_namespace("monitoring", ["sre"])) == set()
}

test_other if {
	denied(in_namespace("billing", [])) == {"regate.k8s_namespaces/other"}
	denied(in_namespace("monitoring", ["developers"])) == {"regate.k8s_namespaces/other"}
	denied(request("create", "configmaps", {"resource": {"namespaces": ["billing", "shop"]}})) == {"regate.k8s_namespaces/other"}
}

test_cluster if {
	denied(cluster_wide("list", "pods", "")) == {"regate.k8s_namespaces/cluster"}
	denied(cluster_wide("delete", "nodes", "n1")) == {"regate.k8s_namespaces/cluster"}
	denied(cluster_wide("create", "namespaces", "new")) == {"regate.k8s_namespaces/cluster"}
	denied(cluster_wide("list", "nodes", "")) == set()
	denied(cluster_wide("patch", "namespaces", "shop")) == set()
	denied(cluster_wide("create", "selfsubjectaccessreviews.authorization.k8s.io", "")) == set()
	denied(cluster_wide("get", "", "")) == set()
}

test_nothing_by_default if {
	ids(k8s_namespaces.deny) == {"regate.k8s_namespaces/other"} with input as in_namespace("shop", []) with data.regate.settings as {}
}

test_exempt if {
	k8s_namespaces.deny == set() with input as in_namespace("billing", ["admins"]) with data.regate.settings as {"k8s_namespaces": {"exempt": ["admins"]}}
}

test_site_settings if {
	k8s_namespaces.deny == set() with input as cluster_wide("list", "pods", "") with data.regate.settings as {"k8s_namespaces": {"cluster_reads": ["pods"]}}
}

test_settings if {
	every bad in [{"allowed": "shop"}, {"cluster_reads": [1]}, {"by_group": []}, {"by_group": {"sre": "monitoring"}}, {"exempt": "a"}] {
		"regate.k8s_namespaces/settings" in ids(k8s_namespaces.deny) with input as request("get", "pods", {}) with data.regate.settings as {"k8s_namespaces": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.k8s_namespaces/input" in ids(k8s_namespaces.deny) with input as nothing with data.regate.settings as {}
}
