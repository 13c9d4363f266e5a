# METADATA
# title: No filters on hidden columns
# description: |
#   A masked column can still be guessed from which rows come back: this denies
#   statements that filter, join, sort or group by one of `columns`, but for
#   members of `exempt`. It reads input.sql, so decisions are cached by the whole
#   statement.
#   Settings: columns (list of "schema.table.column"), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_masked_predicates

import data.regate.lib.principal

columns := site if {
	site := data.regate.settings.sql_masked_predicates.columns
} else := data.regate.defaults.sql_masked_predicates.columns

exempt := site if {
	site := data.regate.settings.sql_masked_predicates.exempt
} else := data.regate.defaults.sql_masked_predicates.exempt

settings_known if {
	is_array(columns)
	is_array(exempt)
	every column in columns {
		is_string(column)
	}
}

deny contains {
	"id": "regate.sql_masked_predicates/filter", "severity": "medium",
	"msg": sprintf("%s is masked for you and cannot be used to filter, join, sort or group", [column]),
	"hint": "Leave the column out of WHERE, ON, ORDER BY and GROUP BY.",
} if {
	some column in input.sql.statement.predicate_columns
	column in columns
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_array(input.sql.statement.predicate_columns)
}

deny contains {"id": "regate.sql_masked_predicates/input", "severity": "high", "msg": "what regate.sql_masked_predicates is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_masked_predicates/settings", "msg": "the settings of regate.sql_masked_predicates are missing or of the wrong type"} if {
	not settings_known
}
