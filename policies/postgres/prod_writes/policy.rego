# METADATA
# title: Writes to production need approval
# description: |
#   Whatever writes, or may write, on a target whose label env is one of
#   `environments` waits for a person.
#   Settings: environments, approvers, exempt (lists of strings), count (number),
#   ttl, wait (durations).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_prod_writes

import data.regate.lib.principal
import data.regate.lib.settings

settings_known if {
	settings.strings("sql_prod_writes", "environments")
	settings.strings("sql_prod_writes", "approvers")
	settings.strings("sql_prod_writes", "exempt")
	settings.count_of("sql_prod_writes", "count") >= 1
	is_string(settings.value("sql_prod_writes", "ttl"))
	is_string(settings.value("sql_prod_writes", "wait"))
}

require_approval contains {
	"id": "regate.sql_prod_writes/approve",
	"msg": sprintf("%s on %s needs approval", [upper(input.action.verb), input.target.labels.env]),
	"from": settings.strings("sql_prod_writes", "approvers"),
	"count": settings.count_of("sql_prod_writes", "count"),
	"ttl": settings.value("sql_prod_writes", "ttl"),
	"wait": settings.value("sql_prod_writes", "wait"),
} if {
	input.stage == "request"
	input.action.writes == true
	input.target.labels.env in settings.strings("sql_prod_writes", "environments")
	not is_exempt
}

is_exempt if principal.in_any(settings.strings("sql_prod_writes", "exempt"))

deny contains {"id": "regate.sql_prod_writes/settings", "msg": "the settings of regate.sql_prod_writes are missing or of the wrong type"} if {
	not settings_known
}
