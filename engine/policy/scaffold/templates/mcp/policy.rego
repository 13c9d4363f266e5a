# METADATA
# title: What agents may ask of tool servers
# description: |
#   Agents see and call the tools that are listed here, while the definition of
#   a tool is the one that was approved. What writes waits for a person. Nothing
#   else is allowed: what no rule allows is denied.
# scope: package
# schemas:
#   - input: schema.mcp
# custom:
#   regate: {protocols: [mcp], mode: enforce}
package regate.policies.<<.Package>>

# Who may what. The names are groups in the token's claims: put yours here.
callers := {"callers"}

tools := {"search_orders", "refund_order"}

# An agent connects and gets to know the server.
allow contains {"id": "<<.Package>>/connect"} if {
	input.action.verb in {"connect", "initialize", "discover", "ping", "cancel", "notify"}
	input.action.writes == false
	input.action.opaque == false
	some group in input.subject.groups
	group in callers
}

# It lists what there is, and sees the tools that it may call.
allow contains {"id": "<<.Package>>/list"} if {
	input.action.verb == "list"
	input.action.item == false
	input.complete == true
	some group in input.subject.groups
	group in callers
}

allow contains {"id": "<<.Package>>/see"} if {
	input.action.verb == "list"
	input.action.item == true
	input.complete == true
	input.resource.tool in tools
	input.resource.pin == "approved"
	some group in input.subject.groups
	group in callers
}

# It calls one.
allow contains {"id": "<<.Package>>/call"} if {
	input.stage == "request"
	input.action.verb == "call"
	is_boolean(input.action.writes)
	input.action.secrets == []
	input.complete == true
	input.resource.tool in tools
	input.resource.pin == "approved"
	some group in input.subject.groups
	group in callers
}

# No rule allows this anyhow. The agent learns from it what has happened.
deny contains {
	"id": "<<.Package>>/changed", "severity": "high",
	"msg": "the tool is not what was approved: its definition has changed",
	"hint": "Ask the operator to look at the new definition.",
} if {
	input.resource.pin == "changed"
}

# Whatever writes waits for a person.
require_approval contains {
	"id": "<<.Package>>/approve-write", "msg": "this tool changes something: it needs approval",
	"from": ["group:owners"], "count": 1, "ttl": "15m", "wait": "60s",
} if {
	input.stage == "request"
	input.action.writes == true
}
