# METADATA
# title: Nothing that is not understood
# description: |
#   Denies requests that regate could not read whole, whose meaning is partly in a body
#   that it cannot read, or that would turn into another protocol. Recommended
#   wherever anything but reading is allowed.
#   Settings: opaque_for (groups that may send bodies that cannot be read), upgrades
#   (protocols that a connection may turn into, as "websocket").
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.regate.http_complete

import data.regate.lib.principal

opaque_for := site if {
	site := data.regate.settings.http_complete.opaque_for
} else := data.regate.defaults.http_complete.opaque_for

upgrades := site if {
	site := data.regate.settings.http_complete.upgrades
} else := data.regate.defaults.http_complete.upgrades

settings_known if {
	is_array(opaque_for)
	is_array(upgrades)
}

deny contains {
	"id": "regate.http_complete/incomplete", "severity": "medium",
	"msg": sprintf("the request could not be read: %s", [concat(", ", sort({u.what | some u in input.unknown}))]),
	"hint": "Send a plain request: JSON, a form, or GraphQL, in UTF-8.",
} if {
	input.complete == false
	input.action.opaque == false # what is opaque gets its own message
}

deny contains {
	"id": "regate.http_complete/unknown", "severity": "medium",
	"msg": "the request could not be read",
} if {
	input.action.verb == "unknown"
}

deny contains {
	"id": "regate.http_complete/opaque", "severity": "medium",
	"msg": sprintf("what this %s asks for is in a body that cannot be read (%s)", [upper(input.action.verb), input.action.body]),
	"hint": "Send JSON, a form, or GraphQL.",
} if {
	input.action.opaque == true
	not may_be_opaque
}

may_be_opaque if principal.in_any(opaque_for)

deny contains {
	"id": "regate.http_complete/upgrade", "severity": "medium",
	"msg": sprintf("a change to %s is not allowed", [input.action.upgrade]),
	"hint": "Use plain requests.",
} if {
	input.action.upgrade != ""
	not input.action.upgrade in upgrades
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_boolean(input.complete)
	is_boolean(input.action.opaque)
	is_string(input.action.upgrade)
	is_string(input.action.body)
}

deny contains {"id": "regate.http_complete/input", "severity": "high", "msg": "what regate.http_complete is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.http_complete/settings", "msg": "the settings of regate.http_complete are missing or of the wrong type"} if {
	not settings_known
}
