# METADATA
# title: WHERE required
# description: |
#   UPDATE and DELETE need a WHERE clause, also inside a CTE, and one that refers to
#   a column: WHERE true is none.
#   Settings: exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_where_required

import data.regate.lib.principal

exempt := site if {
	site := data.regate.settings.sql_where_required.exempt
} else := data.regate.defaults.sql_where_required.exempt

settings_known if {
	is_array(exempt)
}

deny contains {
	"id": "regate.sql_where_required/missing", "severity": "high",
	"msg": "UPDATE and DELETE need a WHERE clause",
	"hint": "Say which rows are meant.",
} if {
	some verb in ["update", "delete"]
	verb in input.action.verbs
	not input.action.has_where == true
	not is_exempt
}

deny contains {
	"id": "regate.sql_where_required/constant", "severity": "high",
	"msg": "the WHERE clause of an UPDATE or DELETE must refer to a column",
	"hint": "Say which rows are meant.",
} if {
	some verb in ["update", "delete"]
	verb in input.action.verbs
	input.action.has_where == true
	not input.action.where_constant == false
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.action.verbs)
}

deny contains {"id": "regate.sql_where_required/input", "severity": "high", "msg": "what regate.sql_where_required is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_where_required/settings", "msg": "the settings of regate.sql_where_required are missing or of the wrong type"} if {
	not settings_known
}
