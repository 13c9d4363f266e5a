package regate.policies.regate.k8s_no_secrets_test

import data.regate.policies.regate.k8s_no_secrets

ids(set_of) := {element.id | some element in set_of}

request(verb, type, more) := object.union(
	{
		"stage": "request", "complete": true,
		"subject": {"groups": ["developers"]},
		"action": {"verb": verb, "writes": not_read(verb, type), "named": true, "opaque": false, "stream": ""},
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
	out := ids(k8s_no_secrets.deny) with input as doc with data.regate.settings as {}
}

test_others_pass if {
	every doc in [
		request("get", "pods", {}), request("list", "configmaps", {}), request("create", "deployments.apps", {"resource": {"service_account_names": ["shop/default"]}}),
		request("get", "roles.rbac.authorization.k8s.io", {}), request("list", "certificatesigningrequests.certificates.k8s.io", {}), request("get", "externalsecrets.external-secrets.io", {}),
	] {
		denied(doc) == set()
	}
}

test_direct if {
	every verb in ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"] {
		denied(request(verb, "secrets", {})) == {"regate.k8s_no_secrets/direct"}
	}
}

test_refers if {
	denied(request("create", "cronjobs.batch", {"resource": {"secret_names": ["shop/db"]}})) == {"regate.k8s_no_secrets/refers"}
}

test_changes if {
	image := {"pods": {"spec.template.spec": {"containers": {"web": {"image": "evil", "command": []}}}}}
	command := {"pods": {"spec.template.spec": {"containers": {"web": {"image": "", "command": ["env"]}}}}}
	restart := {"pods": {"spec.template.spec": {"containers": {"web": {"image": "", "command": []}}}}}
	denied(request("patch", "deployments.apps", {"resource": image})) == {"regate.k8s_no_secrets/changes"}
	denied(request("patch", "deployments.apps", {"resource": command})) == {"regate.k8s_no_secrets/changes"}
	denied(request("patch", "deployments.apps", {"resource": restart})) == set()
	denied(request("update", "deployments.apps", {"resource": image})) == set()
}

test_reaching_in if {
	every type in ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "pods/log", "pods/proxy", "services/proxy", "nodes/proxy", "nodes/configz"] {
		denied(request("get", type, {})) == {"regate.k8s_no_secrets/reaches-in"}
	}
	denied(request("get", "virtualmachines.subresources.kubevirt.io/console", {"action": {"stream": "exec"}})) == {"regate.k8s_no_secrets/reaches-in"}
}

test_tokens if {
	every type in ["serviceaccounts/token", "certificatesigningrequests.certificates.k8s.io/approval", "tokenreviews.authentication.k8s.io"] {
		denied(request("create", type, {})) == {"regate.k8s_no_secrets/token"}
	}
}

test_service_accounts if {
	doc := request("create", "pods", {"resource": {"service_account_names": ["shop/admin"]}})
	denied(doc) == {"regate.k8s_no_secrets/service-account"}
	k8s_no_secrets.deny == set() with input as doc with data.regate.settings as {"k8s_no_secrets": {"service_accounts": ["shop/admin"]}}
}

test_control if {
	every type in ["validatingadmissionpolicies.admissionregistration.k8s.io", "mutatingwebhookconfigurations.admissionregistration.k8s.io", "customresourcedefinitions.apiextensions.k8s.io", "apiservices.apiregistration.k8s.io", "clusterrolebindings.rbac.authorization.k8s.io"] {
		denied(request("patch", type, {})) == {"regate.k8s_no_secrets/control"}
	}
}

test_makers if {
	every type in ["externalsecrets.external-secrets.io", "sealedsecrets.bitnami.com", "certificates.cert-manager.io"] {
		denied(request("create", type, {})) == {"regate.k8s_no_secrets/makes"}
	}
}

test_incomplete if {
	doc := request("create", "widgets.acme.example", {"complete": false, "unknown": [{"what": "body", "why": "protobuf"}]})
	denied(doc) == {"regate.k8s_no_secrets/incomplete"}
}

test_exempt if {
	k8s_no_secrets.deny == set() with input as request("get", "secrets", {}) with data.regate.settings as {"k8s_no_secrets": {"exempt": ["developers"]}}
}

test_site_settings if {
	site := {"k8s_no_secrets": {"reaching": [], "tokens": [], "control": [], "makers": [], "service_accounts": [], "exempt": []}}
	k8s_no_secrets.deny == set() with input as request("get", "pods/log", {}) with data.regate.settings as site
}

test_connecting if denied(object.union(request("connect", "", {}), {"stage": "session"})) == set()

test_settings if {
	every bad in [{"reaching": "a"}, {"tokens": [1]}, {"control": {}}, {"makers": 1}, {"service_accounts": "a"}, {"exempt": "a"}] {
		"regate.k8s_no_secrets/settings" in ids(k8s_no_secrets.deny) with input as request("get", "pods", {}) with data.regate.settings as {"k8s_no_secrets": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.k8s_no_secrets/input" in ids(k8s_no_secrets.deny) with input as nothing with data.regate.settings as {}
}
