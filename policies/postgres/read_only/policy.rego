# METADATA
# title: Read-only agents
# description: |
#   Members of `readers` may connect and read. Whoever is not a member of `writers`
#   may do nothing else, whatever other packages allow.
#   Settings: readers, writers (lists of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_read_only

import data.regate.lib.principal
import data.regate.lib.sql

readers := site if {
	site := data.regate.settings.sql_read_only.readers
} else := data.regate.defaults.sql_read_only.readers

writers := site if {
	site := data.regate.settings.sql_read_only.writers
} else := data.regate.defaults.sql_read_only.writers

settings_known if {
	is_array(readers)
	is_array(writers)
}

allow contains {"id": "regate.sql_read_only/connect"} if {
	sql.connects
	principal.in_any(readers)
}

allow contains {"id": "regate.sql_read_only/read"} if {
	sql.reads_only
	principal.in_any(readers)
}

deny contains {
	"id": "regate.sql_read_only/write", "severity": "medium",
	"msg": sprintf("%s is not allowed: this access is read-only", [upper(input.action.verb)]),
	"hint": "Use SELECT, or ask for an identity that may write.",
} if {
	input.stage == "request"
	not sql.reads_only
	not may_write
}

may_write if principal.in_any(writers)

deny contains {"id": "regate.sql_read_only/settings", "msg": "the settings of regate.sql_read_only are missing or of the wrong type"} if {
	not settings_known
}
