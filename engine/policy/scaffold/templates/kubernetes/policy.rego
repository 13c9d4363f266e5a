# METADATA
# title: What agents may do in the clusters
# description: |
#   Viewers look at what is listed here. Deployers change workloads of their
#   namespaces and wait for a person. Nothing else is allowed: what no rule
#   allows is denied.
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.<<.Package>>

# Who may what, and where. The names are groups in the token's claims: put
# yours here.
viewers := {"viewers", "deployers"}

deployers := {"deployers"}

namespaces := {"shop"}

readable := {
	"pods", "pods/log", "services", "configmaps", "events", "namespaces",
	"deployments.apps", "replicasets.apps", "statefulsets.apps",
}

workloads := {"deployments.apps", "deployments.apps/scale", "configmaps", "services"}

# An agent connects.
allow contains {"id": "<<.Package>>/connect"} if {
	input.stage == "session"
	input.action.verb == "connect"
	some group in input.subject.groups
	group in viewers
}

# It looks. What is not complete could touch more than can be seen.
allow contains {"id": "<<.Package>>/read"} if {
	input.stage == "request"
	input.action.verb in {"get", "list", "watch"}
	input.action.writes == false
	input.action.opaque == false
	input.complete == true
	input.resource.type in readable
	some group in input.subject.groups
	group in viewers
}

# It changes a workload, and nothing of the node is in it.
allow contains {"id": "<<.Package>>/deploy"} if {
	input.stage == "request"
	input.action.verb in {"create", "update", "patch"}
	input.action.writes == true
	input.action.opaque == false
	input.complete == true
	input.resource.type in workloads
	input.resource.namespace in namespaces
	input.resource.privileged == false
	input.resource.host_paths == []
	input.resource.host_namespaces == []
	some group in input.subject.groups
	group in deployers
}

# No rule allows these anyhow. The agent learns from them what to do instead.
deny contains {
	"id": "<<.Package>>/secrets", "severity": "high",
	"msg": "Secrets are not for agents",
	"hint": "Refer to the Secret by name.",
} if {
	input.resource.resource == "secrets"
}

deny contains {
	"id": "<<.Package>>/privileged", "severity": "high",
	"msg": "a privileged container is not allowed",
	"hint": "Leave securityContext.privileged out.",
} if {
	input.resource.privileged == true
}

# Whatever writes waits for a person.
require_approval contains {
	"id": "<<.Package>>/approve-write", "msg": "a change needs approval",
	"from": ["group:sre"], "count": 1, "ttl": "15m", "wait": "60s",
} if {
	input.stage == "request"
	input.action.writes == true
}
