# METADATA
# title: The policy of the acme shop
# description: |
#   Analysts may read, and may change rows: what they write on production waits
#   for a database administrator (regate.sql_prod_writes). What they may not do at
#   all, and what they do not get to see, is in the ready packs; data.json sets
#   them up.
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.acme.shop

import data.regate.lib.principal
import data.regate.lib.sql

staff := ["analysts", "dba"]

allow contains {"id": "acme.shop/connect"} if {
	sql.connects
	principal.in_any(staff)
}

allow contains {"id": "acme.shop/read"} if {
	sql.reads_only
	principal.in_any(staff)
}

allow contains {"id": "acme.shop/change-rows"} if {
	sql.changes_rows
	principal.in_any(staff)
}

deny contains {
	"id": "acme.shop/drop", "severity": "high",
	"msg": "DROP is not for agents: it destroys data that nobody can bring back",
	"hint": "Ask a database administrator.",
} if {
	input.stage == "request"
	"drop" in input.action.verbs
}
