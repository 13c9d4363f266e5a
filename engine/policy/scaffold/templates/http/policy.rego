# METADATA
# title: What agents may do over HTTP
# description: |
#   Callers read from known hosts, editors post to them and wait for a person.
#   Nothing else is allowed: what no rule allows is denied.
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.<<.Package>>

# Who may what, and where. The names are groups in the token's claims: put
# yours here.
callers := {"callers", "editors"}

editors := {"editors"}

hosts := {"api.example.com"}

# An agent connects.
allow contains {"id": "<<.Package>>/connect"} if {
	input.stage == "session"
	input.action.verb == "connect"
	some group in input.subject.groups
	group in callers
}

# It reads. What is not complete could touch more than can be seen.
allow contains {"id": "<<.Package>>/read"} if {
	input.stage == "request"
	input.action.verb in {"get", "head"}
	input.action.writes == false
	input.action.opaque == false
	input.action.secrets == []
	input.complete == true
	input.resource.host in hosts
	some group in input.subject.groups
	group in callers
}

# It sends something.
allow contains {"id": "<<.Package>>/write"} if {
	input.stage == "request"
	input.action.verb in {"post", "put", "patch"}
	input.action.writes == true
	input.action.opaque == false
	input.action.secrets == []
	input.complete == true
	input.resource.host in hosts
	some group in input.subject.groups
	group in editors
}

# No rule allows this anyhow. The agent learns from it what to do instead.
deny contains {
	"id": "<<.Package>>/secrets", "severity": "high",
	"msg": sprintf("the request carries what looks like a secret: %s", [concat(", ", input.action.secrets)]),
	"hint": "Leave it out: regate adds the credential that the target needs.",
} if {
	count(input.action.secrets) > 0
}

# Whatever writes waits for a person.
require_approval contains {
	"id": "<<.Package>>/approve-write", "msg": "a write needs approval",
	"from": ["group:owners"], "count": 1, "ttl": "15m", "wait": "60s",
} if {
	input.stage == "request"
	input.action.writes == true
}
