# METADATA
# title: What agents may do in the databases
# description: |
#   Analysts read, operators change rows and wait for a person. Nothing else is
#   allowed: what no rule allows is denied.
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.<<.Package>>

# Who may what. The names are groups in the token's claims: put yours here.
readers := {"analysts", "operators"}

writers := {"operators"}

# An agent connects, before it says anything.
allow contains {"id": "<<.Package>>/connect"} if {
	input.stage == "session"
	input.action.verb == "connect"
	some group in input.subject.groups
	group in readers
}

# It reads. What is not complete could touch more than can be seen.
allow contains {"id": "<<.Package>>/read"} if {
	input.stage == "request"
	input.action.verb == "select"
	input.action.writes == false
	input.action.opaque == false
	input.complete == true
	some group in input.subject.groups
	group in readers
}

# It changes rows, and says which.
allow contains {"id": "<<.Package>>/write"} if {
	input.stage == "request"
	input.action.verb in {"insert", "update", "delete"}
	input.action.writes == true
	input.action.opaque == false
	input.complete == true
	rows_are_chosen
	some group in input.subject.groups
	group in writers
}

rows_are_chosen if input.action.verb == "insert"

rows_are_chosen if input.action.has_where == true

# No rule allows this anyhow. The agent learns from it what to do instead.
deny contains {
	"id": "<<.Package>>/no-where", "severity": "high",
	"msg": "UPDATE and DELETE need a WHERE clause",
	"hint": "Say which rows are meant.",
} if {
	input.action.verb in {"update", "delete"}
	input.action.has_where == false
}

# Whatever writes waits for a person.
require_approval contains {
	"id": "<<.Package>>/approve-write", "msg": "a write needs approval",
	"from": ["group:dba"], "count": 1, "ttl": "15m", "wait": "60s",
} if {
	input.stage == "request"
	input.action.writes == true
}

# What an agent never sees in the clear, and how much it sees.
mask contains {"id": "<<.Package>>/email", "field": "public.customers.email", "method": "partial", "keep_domain": true}

limit contains {"id": "<<.Package>>/rows", "rows": 1000} if input.action.verb == "select"
