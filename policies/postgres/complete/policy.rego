# METADATA
# title: Nothing that is not understood
# description: |
#   Denies what regate could not resolve, and what runs text that is not in the
#   statement (DO, EXECUTE of built strings, functions not known to be harmless).
#   Settings: opaque_for (groups that may run opaque statements).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_complete

import data.regate.lib.principal

opaque_for := site if {
	site := data.regate.settings.sql_complete.opaque_for
} else := data.regate.defaults.sql_complete.opaque_for

settings_known if {
	is_array(opaque_for)
}

deny contains {
	"id": "regate.sql_complete/incomplete", "severity": "medium",
	"msg": sprintf("the statement refers to something unknown: %s", [concat(", ", what)]),
	"hint": "Name existing objects with their schema.",
} if {
	input.complete == false
	input.action.opaque == false # what is opaque is never complete: it gets its own message
	what := sort({u.what | some u in input.unknown})
}

deny contains {
	"id": "regate.sql_complete/unknown", "severity": "medium",
	"msg": "the statement could not be analysed",
	"hint": "Send one plain SQL statement.",
} if {
	input.action.verb == "unknown"
}

deny contains {
	"id": "regate.sql_complete/opaque", "severity": "medium",
	"msg": sprintf("what this statement does is not in its text: %s", [concat(", ", what)]),
	"hint": "Send the statements themselves, without DO, EXECUTE or functions that are not known to be harmless.",
} if {
	input.action.opaque == true
	not may_be_opaque
	what := sort({u.what | some u in input.unknown})
}

may_be_opaque if principal.in_any(opaque_for)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_boolean(input.complete)
	is_boolean(input.action.opaque)
}

deny contains {"id": "regate.sql_complete/input", "severity": "high", "msg": "what regate.sql_complete is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_complete/settings", "msg": "the settings of regate.sql_complete are missing or of the wrong type"} if {
	not settings_known
}
