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

environments := site if {
	site := data.regate.settings.sql_prod_writes.environments
} else := data.regate.defaults.sql_prod_writes.environments

approvers := site if {
	site := data.regate.settings.sql_prod_writes.approvers
} else := data.regate.defaults.sql_prod_writes.approvers

exempt := site if {
	site := data.regate.settings.sql_prod_writes.exempt
} else := data.regate.defaults.sql_prod_writes.exempt

count_of := site if {
	site := data.regate.settings.sql_prod_writes.count
} else := data.regate.defaults.sql_prod_writes.count

ttl := site if {
	site := data.regate.settings.sql_prod_writes.ttl
} else := data.regate.defaults.sql_prod_writes.ttl

wait := site if {
	site := data.regate.settings.sql_prod_writes.wait
} else := data.regate.defaults.sql_prod_writes.wait

settings_known if {
	is_array(environments)
	is_array(approvers)
	is_array(exempt)
	is_number(count_of)
	count_of >= 1
	is_string(ttl)
	is_string(wait)
}

require_approval contains {
	"id": "regate.sql_prod_writes/approve",
	"msg": sprintf("%s on %s needs approval", [upper(input.action.verb), input.target.labels.env]),
	"from": approvers,
	"count": count_of,
	"ttl": ttl,
	"wait": wait,
} if {
	settings_known
	input.stage == "request"
	input.action.writes == true
	input.target.labels.env in environments
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_object(input.target.labels)
	is_boolean(input.action.writes)
}

deny contains {"id": "regate.sql_prod_writes/input", "severity": "high", "msg": "what regate.sql_prod_writes is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_prod_writes/settings", "msg": "the settings of regate.sql_prod_writes are missing or of the wrong type"} if {
	not settings_known
}
