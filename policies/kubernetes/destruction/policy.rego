# METADATA
# title: Destruction needs approval, or is denied
# description: |
#   Denies deletecollection, and the deletion of what takes much along (`never`:
#   namespaces, volumes, definitions of kinds). Everything else that deletes waits for
#   a person: delete, evictions, a scale to nothing cannot be told apart and waits
#   too, and changes of owner references and finalizers, which delete as surely.
#   A dry run is neither.
#   Settings: never (types), approvers, exempt (lists of strings), ttl, wait
#   (durations).
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.regate.k8s_destruction

import data.regate.lib.principal

never := site if {
	site := data.regate.settings.k8s_destruction.never
} else := data.regate.defaults.k8s_destruction.never

approvers := site if {
	site := data.regate.settings.k8s_destruction.approvers
} else := data.regate.defaults.k8s_destruction.approvers

ttl := site if {
	site := data.regate.settings.k8s_destruction.ttl
} else := data.regate.defaults.k8s_destruction.ttl

wait := site if {
	site := data.regate.settings.k8s_destruction.wait
} else := data.regate.defaults.k8s_destruction.wait

exempt := site if {
	site := data.regate.settings.k8s_destruction.exempt
} else := data.regate.defaults.k8s_destruction.exempt

settings_known if {
	is_array(never)
	is_array(approvers)
	is_array(exempt)
	is_string(ttl)
	is_string(wait)
}

applies if {
	settings_known
	input.stage == "request"
	not input.action.dry_run == true
	not is_exempt
}

is_exempt if principal.in_any(exempt)

deny contains {
	"id": "regate.k8s_destruction/collection", "severity": "high",
	"msg": "deletecollection is not allowed: it takes everything",
	"hint": "Delete objects by name.",
} if {
	applies
	input.action.verb == "deletecollection"
}

deny contains {
	"id": "regate.k8s_destruction/never", "severity": "critical",
	"msg": sprintf("%s may not be deleted by agents: it takes much along", [input.resource.type]),
} if {
	applies
	input.action.verb == "delete"
	input.resource.type in never
}

destroys if input.action.verb == "delete"

destroys if input.resource.type == "pods/eviction"

destroys if {
	input.action.verb in {"patch", "update"}
	input.resource.subresource == "scale"
}

destroys if {
	input.action.verb in {"patch", "update"}
	regex.match(`ownerReferences|finalizers|deletionTimestamp`, json.marshal([input.kubernetes.object, input.kubernetes.patch]))
}

require_approval contains {
	"id": "regate.k8s_destruction/approve",
	"msg": sprintf("%s %s %s needs approval", [input.action.verb, input.resource.type, concat(", ", input.resource.names)]),
	"from": approvers, "ttl": ttl, "wait": wait,
} if {
	applies
	destroys
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_string(input.resource.type)
	is_string(input.resource.subresource)
	is_array(input.resource.names)
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	input.kubernetes.object != 0 # null where there is none: what counts is that it is there
	input.kubernetes.patch != 0
}

deny contains {"id": "regate.k8s_destruction/input", "severity": "high", "msg": "what regate.k8s_destruction is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.k8s_destruction/settings", "msg": "the settings of regate.k8s_destruction are missing or of the wrong type"} if {
	not settings_known
}
