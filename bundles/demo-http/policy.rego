# METADATA
# title: The policy of the acme shop's API
# description: |
#   Analysts may read the shop's API; e-mail addresses and cards are masked. What
#   changes a customer waits for a lead. A task that has read customers may not send
#   anything to the rest of the internet. What looks like a secret goes nowhere
#   (regate.http_no_leaks).
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.acme.api

import data.regate.lib.principal

# What the rules below read is there and of its type: where it is not, they
# would not apply, and nothing may pass for that.
known if input.stage == "session"

known if {
	is_string(input.http.mode)
	is_boolean(input.action.writes)
	is_array(input.session.labels)
}

deny contains {"id": "acme.api/input", "msg": "the request is not described as it should be"} if not known

allow contains {"id": "acme.api/connect"} if {
	input.stage == "session"
	principal.in_any(["analysts"])
}

allow contains {"id": "acme.api/read"} if {
	input.stage == "request"
	input.action.verb == "get"
	input.complete
	principal.in_any(["analysts"])
}

allow contains {"id": "acme.api/change"} if {
	input.stage == "request"
	input.action.verb in {"post", "patch"}
	input.complete
	principal.in_any(["analysts"])
}

deny contains {
	"id": "acme.api/delete", "severity": "high",
	"msg": "nothing is deleted by agents",
	"hint": "Ask a lead.",
} if {
	input.action.verb == "delete"
}

require_approval contains {
	"id": "acme.api/customer", "from": ["group:leads"], "count": 1, "ttl": "10m", "wait": "30s",
	"msg": "a change of a customer waits for a lead",
} if {
	input.stage == "request"
	input.action.writes
	input.http.mode == "reverse"
	startswith(input.resource.path, "/customers/")
}

label contains {"id": "acme.api/has-read-customers", "label": "read-customers"} if {
	input.http.mode == "reverse"
	startswith(input.resource.path, "/customers")
}

deny contains {
	"id": "acme.api/no-way-out", "severity": "high",
	"msg": "this task has read customers: it sends nothing to the internet",
	"hint": "Do it in a task of its own.",
} if {
	input.http.mode == "forward"
	input.action.writes
	"read-customers" in input.session.labels
}

mask contains {"id": "acme.api/email", "field": "email", "method": "partial", "keep_domain": true, "keep_first": 1} if {
	input.stage == "request"
	input.http.mode == "reverse"
}

mask contains {"id": "acme.api/card", "detect": "credit_card", "method": "partial", "keep": 4} if input.stage == "request"
