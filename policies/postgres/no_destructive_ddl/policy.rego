# METADATA
# title: No destructive DDL
# description: |
#   DROP and TRUNCATE (and what else `verbs` names) are denied but for members of
#   `exempt`. Temporary tables may be dropped.
#   Settings: verbs, exempt (lists of strings).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_no_destructive_ddl

import data.regate.lib.principal
import data.regate.lib.sql

verbs := site if {
	site := data.regate.settings.sql_no_destructive_ddl.verbs
} else := data.regate.defaults.sql_no_destructive_ddl.verbs

exempt := site if {
	site := data.regate.settings.sql_no_destructive_ddl.exempt
} else := data.regate.defaults.sql_no_destructive_ddl.exempt

settings_known if {
	is_array(exempt)
	is_array(verbs)
	every verb in verbs {
		is_string(verb)
	}
}

deny contains {
	"id": "regate.sql_no_destructive_ddl/destroys", "severity": "high",
	"msg": sprintf("%s is not allowed: it destroys data", [upper(verb)]),
	"hint": "Ask the owner of the database to do it.",
} if {
	some verb in verbs
	verb in input.action.verbs
	not sql.only_temporary_tables
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.action.verbs)
}

deny contains {"id": "regate.sql_no_destructive_ddl/input", "severity": "high", "msg": "what regate.sql_no_destructive_ddl is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_no_destructive_ddl/settings", "msg": "the settings of regate.sql_no_destructive_ddl are missing or of the wrong type"} if {
	not settings_known
}
