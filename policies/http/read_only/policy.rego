# METADATA
# title: Read-only agents
# description: |
#   Members of `readers` may connect and send what changes nothing. Whoever is not a
#   member of `writers` may do nothing else, whatever other packages allow. That a GET
#   changes nothing is the API's promise, not something that regate can know: see
#   known_routes.
#   Settings: readers, writers (lists of groups).
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.regate.http_read_only

import data.regate.lib.principal

readers := site if {
	site := data.regate.settings.http_read_only.readers
} else := data.regate.defaults.http_read_only.readers

writers := site if {
	site := data.regate.settings.http_read_only.writers
} else := data.regate.defaults.http_read_only.writers

settings_known if {
	is_array(readers)
	is_array(writers)
}

reads_only if {
	input.stage != "session"
	input.complete == true
	input.action.writes == false
	input.action.opaque == false
	input.action.upgrade == ""
}

allow contains {"id": "regate.http_read_only/connect"} if {
	input.stage == "session"
	input.action.verb == "connect"
	principal.in_any(readers)
}

allow contains {"id": "regate.http_read_only/read"} if {
	reads_only
	principal.in_any(readers)
}

deny contains {
	"id": "regate.http_read_only/write", "severity": "medium",
	"msg": sprintf("%s is not allowed: this access is read-only", [upper(input.action.verb)]),
	"hint": "Use GET, or ask for an identity that may write.",
} if {
	input.stage == "request"
	not reads_only
	not may_write
}

may_write if principal.in_any(writers)

deny contains {"id": "regate.http_read_only/settings", "msg": "the settings of regate.http_read_only are missing or of the wrong type"} if {
	not settings_known
}
