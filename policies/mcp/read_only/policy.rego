# METADATA
# title: Read-only agents
# description: |
#   Members of `readers` may connect, list what there is, read resources, get prompts
#   and call tools of which the approved definition says that they only read. Whoever
#   is not a member of `writers` may do nothing else, whatever other packages allow.
#   Settings: readers, writers (lists of groups).
# scope: package
# schemas:
#   - input: schema.mcp
# custom:
#   regate: {protocols: [mcp], mode: enforce}
package regate.policies.regate.mcp_read_only

import data.regate.lib.principal

readers := site if {
	site := data.regate.settings.mcp_read_only.readers
} else := data.regate.defaults.mcp_read_only.readers

writers := site if {
	site := data.regate.settings.mcp_read_only.writers
} else := data.regate.defaults.mcp_read_only.writers

settings_known if {
	is_array(readers)
	is_array(writers)
}

# What a session needs to begin and to go on, besides reading.
talk := {"initialize", "discover", "ping", "cancel", "notify", "list", "read", "get", "complete", "log", "subscribe", "unsubscribe", "task", "call"}

reads_only if {
	input.stage != "session"
	input.complete == true
	input.action.writes == false
	input.action.opaque == false
	input.action.verb in talk
}

allow contains {"id": "regate.mcp_read_only/connect"} if {
	input.stage == "session"
	input.action.verb == "connect"
	principal.in_any(readers)
}

allow contains {"id": "regate.mcp_read_only/read"} if {
	reads_only
	principal.in_any(readers)
}

deny contains {
	"id": "regate.mcp_read_only/write", "severity": "medium",
	"msg": sprintf("%s %s is not allowed: this access is read-only", [input.action.verb, concat(", ", input.resource.names)]),
	"hint": "Use tools that only read, or ask for an identity that may write.",
} if {
	input.stage == "request"
	input.action.item == false # whoever may not call a tool may know of it
	not reads_only
	not may_write
}

may_write if principal.in_any(writers)

deny contains {"id": "regate.mcp_read_only/settings", "msg": "the settings of regate.mcp_read_only are missing or of the wrong type"} if {
	not settings_known
}
