package regate.policies.regate.k8s_no_node_access_test

import data.regate.policies.regate.k8s_no_node_access

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

denied(doc) := out if {
	out := ids(k8s_no_node_access.deny) with input as doc with data.regate.settings as {}
}

deploys(what) := request("create", "deployments.apps", {"resource": what})

test_others_pass if {
	every doc in [
		request("get", "nodes", {}), request("list", "persistentvolumes", {}), deploys({"capabilities": ["NET_BIND_SERVICE"]}),
		deploys({"pods": {"spec.template.spec": {"node_name": "", "containers": {"web": {"host_ports": []}}}}}),
		request("get", "pods", {"resource": {"namespace": "kube-system", "namespaces": ["kube-system"]}}),
		request("create", "namespaces", {"kubernetes": {"object": {"metadata": {"labels": {"team": "shop"}}}}}),
	] {
		denied(doc) == set()
	}
}

test_pods if {
	every what in [
		{"privileged": true}, {"host_namespaces": ["pid"]}, {"host_paths": ["/"]}, {"capabilities": ["SYS_ADMIN"]},
		{"pods": {"spec": {"node_name": "n1", "containers": {}}}}, {"pods": {"spec": {"node_name": "", "containers": {"a": {"host_ports": [10250]}}}}},
	] {
		denied(deploys(what)) == {"regate.k8s_no_node_access/pod"}
	}
}

test_nodes if {
	every type in ["nodes/proxy", "nodes/log", "nodes/configz", "nodes/metrics"] {
		denied(request("get", type, {})) == {"regate.k8s_no_node_access/node"}
	}
}

test_control if {
	every type in ["nodes", "persistentvolumes", "pods/binding", "bindings", "runtimeclasses.node.k8s.io"] {
		denied(request("create", type, {})) == {"regate.k8s_no_node_access/control"}
	}
}

test_system if {
	denied(request("create", "pods/exec", {"resource": {"namespace": "kube-system", "namespaces": ["kube-system"]}})) == {"regate.k8s_no_node_access/system"}
	denied(request("delete", "configmaps", {"resource": {"namespace": "kube-system", "namespaces": ["kube-system"]}})) == {"regate.k8s_no_node_access/system"}
}

test_pod_security if {
	labels := {"pod-security.kubernetes.io/enforce": "privileged"}
	every doc in [
		request("patch", "namespaces", {"kubernetes": {"patch": {"metadata": {"labels": labels}}}}),
		request("create", "namespaces", {"kubernetes": {"object": {"metadata": {"labels": labels}}}}),
		request("patch", "namespaces", {"kubernetes": {"patch": [{"op": "remove", "path": "/metadata/labels/pod-security.kubernetes.io~1enforce"}]}}),
	] {
		denied(doc) == {"regate.k8s_no_node_access/namespace"}
	}
}

test_incomplete if {
	denied(request("create", "widgets.acme.example", {"complete": false, "unknown": [{"what": "body", "why": "protobuf"}]})) == {"regate.k8s_no_node_access/incomplete"}
}

test_exempt if {
	k8s_no_node_access.deny == set() with input as deploys({"privileged": true}) with data.regate.settings as {"k8s_no_node_access": {"exempt": ["developers"]}}
}

test_site_settings if {
	site := {"k8s_no_node_access": {"host_paths": ["/var/log"], "capabilities": ["NET_ADMIN"], "system_namespaces": [], "control": []}}
	doc := request("create", "pods", {"resource": {"host_paths": ["/var/log"], "capabilities": ["NET_ADMIN"], "namespaces": ["kube-system"]}})
	k8s_no_node_access.deny == set() with input as doc with data.regate.settings as site
}

test_connecting if denied(object.union(request("connect", "", {}), {"stage": "session"})) == set()

test_settings if {
	every bad in [{"host_paths": "/"}, {"capabilities": [1]}, {"system_namespaces": 1}, {"control": 1}, {"exempt": "a"}] {
		"regate.k8s_no_node_access/settings" in ids(k8s_no_node_access.deny) with input as request("get", "pods", {}) with data.regate.settings as {"k8s_no_node_access": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.k8s_no_node_access/input" in ids(k8s_no_node_access.deny) with input as nothing with data.regate.settings as {}
}
