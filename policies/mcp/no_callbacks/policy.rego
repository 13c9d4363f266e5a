# METADATA
# title: Servers do not ask agents
# description: |
#   Denies what a server asks of the agent or of the person behind it: completions of
#   the agent's model (sampling), answers to questions (elicitation), folders of the
#   client (roots). Each can carry instructions in, and data out. Answers to such
#   questions are denied, too.
#   Settings: allowed (verbs of "sample", "elicit", "roots"), servers (that may ask
#   them), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.mcp
# custom:
#   regate: {protocols: [mcp], mode: enforce}
package regate.policies.regate.mcp_no_callbacks

import data.regate.lib.principal

allowed := site if {
	site := data.regate.settings.mcp_no_callbacks.allowed
} else := data.regate.defaults.mcp_no_callbacks.allowed

servers := site if {
	site := data.regate.settings.mcp_no_callbacks.servers
} else := data.regate.defaults.mcp_no_callbacks.servers

exempt := site if {
	site := data.regate.settings.mcp_no_callbacks.exempt
} else := data.regate.defaults.mcp_no_callbacks.exempt

settings_known if {
	is_array(allowed)
	is_array(servers)
	is_array(exempt)
}

asks := {"sample", "elicit", "roots"}

deny contains {
	"id": "regate.mcp_no_callbacks/asks", "severity": "high",
	"msg": sprintf("%s may not ask agents to %s", [input.resource.server, input.action.verb]),
} if {
	applies
	input.action.verb in asks
	not may_ask
}

deny contains {
	"id": "regate.mcp_no_callbacks/unknown", "severity": "high",
	"msg": sprintf("%s asks for something that is not known", [input.resource.server]),
} if {
	applies
	input.action.direction == "to_client"
	input.action.verb == "unknown"
}

# What is answered within a request, where the protocol has no callbacks.
deny contains {
	"id": "regate.mcp_no_callbacks/answers", "severity": "high",
	"msg": sprintf("answers to what %s asks are not allowed", [input.resource.server]),
} if {
	applies
	not is_null(input.mcp.responses)
	not input.resource.server in servers
}

may_ask if {
	input.action.verb in allowed
	input.resource.server in servers
}

applies if {
	settings_known
	input.stage == "request"
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_string(input.action.direction)
	is_string(input.resource.server)
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_object(input.mcp)
	"responses" in object.keys(input.mcp)
}

deny contains {"id": "regate.mcp_no_callbacks/input", "severity": "high", "msg": "what regate.mcp_no_callbacks is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.mcp_no_callbacks/settings", "msg": "the settings of regate.mcp_no_callbacks are missing or of the wrong type"} if {
	not settings_known
}
