# METADATA
# title: No changes of privileges
# description: |
#   Denies what changes who may do what in the database: GRANT, REVOKE, default
#   privileges, roles, owners, security labels.
#   It reads input.sql, so decisions are cached by the whole statement.
#   Settings: exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_no_privilege_changes

import data.regate.lib.principal

exempt := site if {
	site := data.regate.settings.sql_no_privilege_changes.exempt
} else := data.regate.defaults.sql_no_privilege_changes.exempt

settings_known if is_array(exempt)

changes if {
	some verb in ["grant", "revoke"]
	verb in input.action.verbs
}

changes if {
	input.action.ddl == true
	input.sql.statement.object_kind in {"role", "default privileges", "owned"}
}

changes if input.sql.command == "security label"

# ALTER … OWNER TO gives an object away, or takes it.
changes if {
	"alter" in input.action.verbs
	regex.match(`(?i)\bowner\s+to\b`, input.sql.text)
}

deny contains {
	"id": "regate.sql_no_privilege_changes/changes", "severity": "high",
	"msg": sprintf("%s is not allowed: it changes who may do what", [upper(input.sql.command)]),
	"hint": "Ask the owner of the database to do it.",
} if {
	changes
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.action.verbs)
	is_boolean(input.action.ddl)
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_string(input.sql.command)
	is_string(input.sql.text)
	is_string(input.sql.statement.object_kind)
}

deny contains {"id": "regate.sql_no_privilege_changes/input", "severity": "high", "msg": "what regate.sql_no_privilege_changes is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_no_privilege_changes/settings", "msg": "the settings of regate.sql_no_privilege_changes are missing or of the wrong type"} if {
	not settings_known
}
