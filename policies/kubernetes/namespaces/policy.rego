# METADATA
# title: Own namespaces only
# description: |
#   Keeps requests within the namespaces of `allowed`: what is in none, what is in all
#   (a list without a namespace), and other namespaces are denied, in the path and in
#   the body. `cluster_reads` are types that may be read although they are in no
#   namespace, and paths that are no resource (discovery, versions) are left alone.
#   Settings: allowed, cluster_reads (lists of strings; * in allowed stands for any
#   letters), by_group (object: group to list of further namespaces), exempt (list of
#   groups).
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.regate.k8s_namespaces

import data.regate.lib.principal

allowed := site if {
	site := data.regate.settings.k8s_namespaces.allowed
} else := data.regate.defaults.k8s_namespaces.allowed

cluster_reads := site if {
	site := data.regate.settings.k8s_namespaces.cluster_reads
} else := data.regate.defaults.k8s_namespaces.cluster_reads

by_group := site if {
	site := data.regate.settings.k8s_namespaces.by_group
} else := data.regate.defaults.k8s_namespaces.by_group

exempt := site if {
	site := data.regate.settings.k8s_namespaces.exempt
} else := data.regate.defaults.k8s_namespaces.exempt

settings_known if {
	is_array(allowed)
	is_array(cluster_reads)
	is_object(by_group)
	is_array(exempt)
	every name in array.concat(allowed, cluster_reads) {
		is_string(name)
	}
	every _, names in by_group {
		is_array(names)
	}
}

may_use contains name if some name in allowed

may_use contains name if {
	some group in input.subject.groups
	some name in by_group[group]
}

within(namespace) if {
	some pattern in may_use
	glob.match(pattern, null, namespace)
}

deny contains {
	"id": "regate.k8s_namespaces/other", "severity": "medium",
	"msg": sprintf("namespace %s is not yours", [namespace]),
	"hint": "Stay in your own namespaces.",
} if {
	applies
	some namespace in input.resource.namespaces
	namespace != ""
	not within(namespace)
}

deny contains {
	"id": "regate.k8s_namespaces/cluster", "severity": "medium",
	"msg": sprintf("%s %s is about no namespace, or about all of them", [input.action.verb, input.resource.type]),
	"hint": "Name a namespace.",
} if {
	applies
	input.resource.type != ""
	input.resource.namespace == ""
	not reads_of_the_cluster
}

reads_of_the_cluster if {
	input.resource.type in cluster_reads
	input.action.verb in {"get", "list", "watch"}
}

# Reviews of one's own rights are created, and create nothing.
reads_of_the_cluster if {
	input.resource.type in cluster_reads
	startswith(input.resource.type, "selfsubject")
}

# A namespace that one may use may be read and changed by its name.
reads_of_the_cluster if {
	input.resource.type == "namespaces"
	within(input.resource.name)
}

applies if {
	settings_known
	input.stage == "request"
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_string(input.resource.type)
	is_string(input.resource.name)
	is_string(input.resource.namespace)
	is_array(input.resource.namespaces)
}

deny contains {"id": "regate.k8s_namespaces/input", "severity": "high", "msg": "what regate.k8s_namespaces is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.k8s_namespaces/settings", "msg": "the settings of regate.k8s_namespaces are missing or of the wrong type"} if {
	not settings_known
}
