# METADATA
# title: Known routes only
# description: |
#   Denies what the target's OpenAPI document does not describe, what it calls
#   deprecated, and operations in `denied`; with `operations`, everything else than
#   those. Operations in `approve` wait for a person.
#   Settings: operations, denied, approve (patterns of operation ids; * stands for any
#   letters), deprecated (boolean: may be used), approvers, exempt (lists of strings),
#   ttl, wait (durations).
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.regate.http_known_routes

import data.regate.lib.principal

operations := site if {
	site := data.regate.settings.http_known_routes.operations
} else := data.regate.defaults.http_known_routes.operations

denied := site if {
	site := data.regate.settings.http_known_routes.denied
} else := data.regate.defaults.http_known_routes.denied

approve := site if {
	site := data.regate.settings.http_known_routes.approve
} else := data.regate.defaults.http_known_routes.approve

deprecated := site if {
	site := data.regate.settings.http_known_routes.deprecated
} else := data.regate.defaults.http_known_routes.deprecated

approvers := site if {
	site := data.regate.settings.http_known_routes.approvers
} else := data.regate.defaults.http_known_routes.approvers

ttl := site if {
	site := data.regate.settings.http_known_routes.ttl
} else := data.regate.defaults.http_known_routes.ttl

wait := site if {
	site := data.regate.settings.http_known_routes.wait
} else := data.regate.defaults.http_known_routes.wait

exempt := site if {
	site := data.regate.settings.http_known_routes.exempt
} else := data.regate.defaults.http_known_routes.exempt

settings_known if {
	is_array(operations)
	is_array(denied)
	is_array(approve)
	is_boolean(deprecated)
	is_array(approvers)
	is_array(exempt)
	is_string(ttl)
	is_string(wait)
	every pattern in array.flatten([operations, denied, approve]) {
		is_string(pattern)
	}
}

applies if {
	settings_known
	input.stage == "request"
	not is_exempt
}

is_exempt if principal.in_any(exempt)

operation_in(patterns) if {
	is_string(input.action.operation)
	some pattern in patterns
	glob.match(pattern, null, input.action.operation)
}

deny contains {
	"id": "regate.http_known_routes/unknown", "severity": "medium",
	"msg": sprintf("%s %s is not in the API's description", [upper(input.action.verb), input.resource.path]),
	"hint": "Use the operations of the API's description.",
} if {
	applies
	not is_string(input.resource.route)
}

deny contains {
	"id": "regate.http_known_routes/operation", "severity": "medium",
	"msg": sprintf("%s %s is not among the operations that are allowed", [upper(input.action.verb), input.resource.route]),
} if {
	applies
	is_string(input.resource.route)
	not is_allowed
}

is_allowed if {
	operation_in(operations)
	not operation_in(denied)
}

# An operation without an id can only be allowed with all others.
is_allowed if {
	not is_string(input.action.operation)
	"*" in operations
}

deny contains {
	"id": "regate.http_known_routes/deprecated", "severity": "low",
	"msg": sprintf("%s %s is deprecated", [upper(input.action.verb), input.resource.route]),
	"hint": "See the API's description for what takes its place.",
} if {
	applies
	input.http.route.deprecated == true
	deprecated == false
}

require_approval contains {
	"id": "regate.http_known_routes/approve",
	"msg": sprintf("%s needs approval", [input.action.operation]),
	"from": approvers, "ttl": ttl, "wait": wait,
} if {
	applies
	operation_in(approve)
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_string(input.resource.path)
	string_or_null(input.resource.route)
	string_or_null(input.action.operation)
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_boolean(input.http.route.deprecated)
}

string_or_null(value) if is_string(value)

string_or_null(value) if is_null(value)

deny contains {"id": "regate.http_known_routes/input", "severity": "high", "msg": "what regate.http_known_routes is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.http_known_routes/settings", "msg": "the settings of regate.http_known_routes are missing or of the wrong type"} if {
	not settings_known
}
