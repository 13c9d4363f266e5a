# METADATA
# title: No code that runs later
# description: |
#   Denies to make, change or load what runs in the database later, with other
#   people's statements and rights: functions, procedures, triggers, rules, row
#   policies, operators, casts, extensions, languages, foreign servers, publications,
#   subscriptions, and what else `kinds` names. LOAD, too.
#   It reads input.sql.command and .statement, so decisions are cached by those alone.
#   Settings: kinds (kinds of objects, as input.sql.statement.object_kind has them),
#   exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_no_stored_code

import data.regate.lib.principal

kinds := site if {
	site := data.regate.settings.sql_no_stored_code.kinds
} else := data.regate.defaults.sql_no_stored_code.kinds

exempt := site if {
	site := data.regate.settings.sql_no_stored_code.exempt
} else := data.regate.defaults.sql_no_stored_code.exempt

settings_known if {
	is_array(kinds)
	is_array(exempt)
	every kind in kinds {
		is_string(kind)
	}
}

deny contains {
	"id": "regate.sql_no_stored_code/defines", "severity": "high",
	"msg": sprintf("%s is not allowed: it runs later, with the rights of others", [upper(input.sql.command)]),
	"hint": "Ask the owner of the database to do it.",
} if {
	input.action.ddl == true
	input.sql.statement.object_kind in kinds
	not is_exempt
}

deny contains {
	"id": "regate.sql_no_stored_code/loads", "severity": "critical",
	"msg": "LOAD is not allowed: it runs code in the server",
} if {
	"load" in input.action.verbs
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
	is_string(input.sql.statement.object_kind)
}

deny contains {"id": "regate.sql_no_stored_code/input", "severity": "high", "msg": "what regate.sql_no_stored_code is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_no_stored_code/settings", "msg": "the settings of regate.sql_no_stored_code are missing or of the wrong type"} if {
	not settings_known
}
