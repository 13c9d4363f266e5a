# METADATA
# title: The policy of the acme cluster
# description: |
#   Deployers may read, scale and run commands in pods. A scale waits for the
#   platform team (regate.k8s_destruction), a namespace is not deleted at all.
#   Nobody sees the values of environment variables, or card numbers in what
#   commands print.
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.acme.cluster

import data.regate.lib.principal

deployers if principal.in_any(["deployers"])

allow contains {"id": "acme.cluster/connect"} if {
	input.stage == "session"
	deployers
}

allow contains {"id": "acme.cluster/read"} if {
	input.action.verb in {"get", "list", "watch"}
	input.action.stream in {"", "watch", "log"}
	deployers
}

allow contains {"id": "acme.cluster/change"} if {
	input.resource.type in {"deployments.apps/scale", "pods/exec", "namespaces"}
	deployers
}

mask contains {"id": "acme.cluster/env", "field": "pods:/spec/containers/env/value", "method": "redact"} if input.stage == "request"

mask contains {"id": "acme.cluster/cards", "detect": "credit_card", "method": "redact"} if input.stage == "request"
