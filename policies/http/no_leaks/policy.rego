# METADATA
# title: No secrets in requests
# description: |
#   Denies requests in whose URL, headers or body regate found a value of one of
#   `kinds`: credentials that an agent picked up on the way and now carries out. The
#   credential of the target itself is added by regate after the decision.
#   It is a net: whoever encodes a value gets it past any detector.
#   Settings: kinds (as in a mask's detect), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.regate.http_no_leaks

import data.regate.lib.principal

kinds := site if {
	site := data.regate.settings.http_no_leaks.kinds
} else := data.regate.defaults.http_no_leaks.kinds

exempt := site if {
	site := data.regate.settings.http_no_leaks.exempt
} else := data.regate.defaults.http_no_leaks.exempt

settings_known if {
	is_array(kinds)
	is_array(exempt)
}

deny contains {
	"id": "regate.http_no_leaks/found", "severity": "critical",
	"msg": sprintf("the request carries what looks like a secret (%s)", [kind]),
	"hint": "Leave it out. If the server needs it, ask the gateway's operator to add it there.",
} if {
	some kind in input.action.secrets
	kind in kinds
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.action.secrets)
}

deny contains {"id": "regate.http_no_leaks/input", "severity": "high", "msg": "what regate.http_no_leaks is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.http_no_leaks/settings", "msg": "the settings of regate.http_no_leaks are missing or of the wrong type"} if {
	not settings_known
}
