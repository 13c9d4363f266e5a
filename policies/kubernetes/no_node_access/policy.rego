# METADATA
# title: No way to nodes
# description: |
#   Denies every way from the API to a node: pods that are privileged, share the
#   node's namespaces, see its files, add capabilities, are put on a node by name or
#   run as one of the system's priority; ephemeral containers of that kind; proxies
#   and other subresources of nodes; changes of nodes; persistent volumes on a node's
#   disk, and CSI drivers; binding a pod to a node; namespaces whose labels relax the
#   pod security standard; and what runs in the namespaces of the system.
#   What could not be read whole is denied, too.
#   Settings: host_paths (folders that pods may see), capabilities (that they may
#   add), system_namespaces, control (types), exempt (lists of strings).
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.regate.k8s_no_node_access

import data.regate.lib.principal

host_paths := site if {
	site := data.regate.settings.k8s_no_node_access.host_paths
} else := data.regate.defaults.k8s_no_node_access.host_paths

capabilities := site if {
	site := data.regate.settings.k8s_no_node_access.capabilities
} else := data.regate.defaults.k8s_no_node_access.capabilities

system_namespaces := site if {
	site := data.regate.settings.k8s_no_node_access.system_namespaces
} else := data.regate.defaults.k8s_no_node_access.system_namespaces

control := site if {
	site := data.regate.settings.k8s_no_node_access.control
} else := data.regate.defaults.k8s_no_node_access.control

exempt := site if {
	site := data.regate.settings.k8s_no_node_access.exempt
} else := data.regate.defaults.k8s_no_node_access.exempt

settings_known if {
	is_array(host_paths)
	is_array(capabilities)
	is_array(system_namespaces)
	is_array(control)
	is_array(exempt)
	every name in array.flatten([host_paths, capabilities, system_namespaces, control]) {
		is_string(name)
	}
}

applies if {
	settings_known
	input.stage == "request"
	not is_exempt
}

is_exempt if principal.in_any(exempt)

reads if {
	input.action.verb in {"get", "list", "watch"}
	input.action.writes == false
}

pod_problems contains "a container is privileged" if input.resource.privileged == true

pod_problems contains sprintf("it shares the node's namespace: %s", [which]) if some which in input.resource.host_namespaces

pod_problems contains sprintf("it sees the node's files: %s", [path]) if {
	some path in input.resource.host_paths
	not path in host_paths
}

pod_problems contains sprintf("it adds the capability %s", [capability]) if {
	some capability in input.resource.capabilities
	not capability in capabilities
}

pod_problems contains sprintf("it names its node: %s", [pod.node_name]) if {
	some pod in input.resource.pods
	pod.node_name != ""
}

pod_problems contains sprintf("it takes the node's port %d", [port]) if {
	some pod in input.resource.pods
	some container in pod.containers
	some port in container.host_ports
}

deny contains {
	"id": "regate.k8s_no_node_access/pod", "severity": "critical",
	"msg": sprintf("the pod would reach its node: %s", [concat("; ", sort(pod_problems))]),
	"hint": "Leave it out of the pod's spec.",
} if {
	applies
	count(pod_problems) > 0
}

deny contains {
	"id": "regate.k8s_no_node_access/node", "severity": "critical",
	"msg": sprintf("%s leads to the node", [input.resource.type]),
} if {
	applies
	startswith(input.resource.type, "nodes/")
}

deny contains {
	"id": "regate.k8s_no_node_access/control", "severity": "high",
	"msg": sprintf("%s %s is not allowed: it changes nodes, or what pods get of them", [input.action.verb, input.resource.type]),
} if {
	applies
	input.resource.type in control
	not reads
}

deny contains {
	"id": "regate.k8s_no_node_access/system", "severity": "high",
	"msg": sprintf("%s %s in %s is not allowed: what runs there runs the nodes", [input.action.verb, input.resource.type, namespace]),
} if {
	applies
	not reads
	some namespace in input.resource.namespaces
	namespace in system_namespaces
}

deny contains {
	"id": "regate.k8s_no_node_access/namespace", "severity": "high",
	"msg": "the labels of pod security are not for agents",
	"hint": "Leave labels below pod-security.kubernetes.io out.",
} if {
	applies
	input.resource.type in {"namespaces", "namespaces/status", "namespaces/finalize"}
	not reads
	regex.match(`pod-security(\.|\\u002[eE])kubernetes`, json.marshal([input.kubernetes.object, input.kubernetes.patch]))
}

deny contains {
	"id": "regate.k8s_no_node_access/incomplete", "severity": "medium",
	"msg": sprintf("it is not known what this would run: %s", [concat(", ", sort({u.what | some u in input.unknown}))]),
	"hint": "Send it as JSON or YAML that regate can read.",
} if {
	applies
	not input.complete == true
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_string(input.resource.type)
	is_array(input.resource.namespaces)
	is_array(input.resource.host_paths)
	is_array(input.resource.host_namespaces)
	is_array(input.resource.capabilities)
	is_boolean(input.resource.privileged)
	is_object(input.resource.pods)
	every pod in input.resource.pods {
		is_string(pod.node_name)
		is_object(pod.containers)
		every container in pod.containers {
			is_array(container.host_ports)
		}
	}
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	input.kubernetes.object != 0 # null where there is none: what counts is that it is there
	input.kubernetes.patch != 0
}

deny contains {"id": "regate.k8s_no_node_access/input", "severity": "high", "msg": "what regate.k8s_no_node_access is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.k8s_no_node_access/settings", "msg": "the settings of regate.k8s_no_node_access are missing or of the wrong type"} if {
	not settings_known
}
