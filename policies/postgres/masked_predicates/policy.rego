# METADATA
# title: No filters on hidden columns
# description: |
#   A masked column can still be guessed from which rows come back: this denies
#   statements that filter, join, sort or group by a column that sql_pii_masks
#   hides. It reads input.sql, so decisions are cached by the whole statement.
#   Settings: usable (list of columns that may be used all the same).
#   Needs the pack pii_masks.
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_masked_predicates

import data.regate.lib.principal
import data.regate.lib.settings

settings_known if {
	settings.table("sql_pii_masks", "fields")
	settings.strings("sql_pii_masks", "exempt")
	settings.strings("sql_masked_predicates", "usable")
}

deny contains {
	"id": "regate.sql_masked_predicates/filter", "severity": "medium",
	"msg": sprintf("%s is masked for you and cannot be used to filter, join, sort or group", [column]),
	"hint": "Leave the column out of WHERE, ON, ORDER BY and GROUP BY.",
} if {
	some column in input.sql.statement.predicate_columns
	settings.table("sql_pii_masks", "fields")[column]
	not is_usable(column)
	not is_exempt
}

is_usable(column) if column in settings.strings("sql_masked_predicates", "usable")

is_exempt if principal.in_any(settings.strings("sql_pii_masks", "exempt"))

deny contains {"id": "regate.sql_masked_predicates/settings", "msg": "the settings of regate.sql_masked_predicates are missing or of the wrong type"} if {
	not settings_known
}
