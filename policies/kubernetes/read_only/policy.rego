# METADATA
# title: Read-only agents
# description: |
#   Members of `readers` may connect, get, list and watch, and read logs, but not
#   Secrets: those are for other packages to allow. Whoever is not a member of
#   `writers` may do nothing else, whatever other packages allow.
#   Settings: readers, writers (lists of groups), never (types that readers do not
#   get by this, as "secrets" or "deployments.apps").
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.regate.k8s_read_only

import data.regate.lib.principal

readers := site if {
	site := data.regate.settings.k8s_read_only.readers
} else := data.regate.defaults.k8s_read_only.readers

writers := site if {
	site := data.regate.settings.k8s_read_only.writers
} else := data.regate.defaults.k8s_read_only.writers

never := site if {
	site := data.regate.settings.k8s_read_only.never
} else := data.regate.defaults.k8s_read_only.never

settings_known if {
	is_array(readers)
	is_array(writers)
	is_array(never)
}

allow contains {"id": "regate.k8s_read_only/connect"} if {
	input.stage == "session"
	input.action.verb == "connect"
	principal.in_any(readers)
}

allow contains {"id": "regate.k8s_read_only/read"} if {
	reads_only
	is_string(input.resource.type)
	not input.resource.type in never
	principal.in_any(readers)
}

reads_only if {
	input.stage != "session"
	input.complete == true
	input.action.writes == false
	input.action.opaque == false
	input.action.verb in {"get", "list", "watch"}
}

deny contains {
	"id": "regate.k8s_read_only/write", "severity": "medium",
	"msg": sprintf("%s %s is not allowed: this access is read-only", [input.action.verb, input.resource.type]),
	"hint": "Use get, list and watch, or ask for an identity that may write.",
} if {
	input.stage == "request"
	not reads_only
	not may_write
}

may_write if principal.in_any(writers)

deny contains {"id": "regate.k8s_read_only/settings", "msg": "the settings of regate.k8s_read_only are missing or of the wrong type"} if {
	not settings_known
}
