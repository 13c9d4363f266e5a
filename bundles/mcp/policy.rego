# METADATA
# title: The policy of the show with MCP servers
# description: |
#   Writers' assistants may read documents, without people's addresses, and may
#   write them: that waits for an editor. Files with secrets stay shut.
# scope: package
# schemas:
#   - input: schema.mcp
# custom:
#   regate: {protocols: [mcp], mode: enforce}
package regate.policies.acme.files

import data.regate.lib.principal

reading := {"list_directory", "read_text_file", "echo"}

writing := {"write_file"}

talk := {"initialize", "discover", "ping", "notify", "subscribe", "cancel"}

assistants if principal.in_any(["assistants"])

allow contains {"id": "acme.files/connect"} if {
	input.stage == "session"
	assistants
}

allow contains {"id": "acme.files/talk"} if {
	input.action.verb in talk
	assistants
}

# A list is decided as a whole, and then once for each of its items.
allow contains {"id": "acme.files/list"} if {
	input.action.verb == "list"
	input.action.item == false
	assistants
}

allow contains {"id": "acme.files/tools"} if {
	input.action.verb in {"list", "call"}
	input.resource.tool in (reading | writing)
	assistants
}

deny contains {"id": "acme.files/secrets", "msg": "files with secrets are not for agents"} if {
	input.action.verb == "call"
	endswith(input.mcp.arguments.path, ".env")
}

# What the rule above reads has to be there: without it it would be silent.
known if input.action.verb != "call"

known if is_object(input.mcp.arguments)

deny contains {"id": "acme.files/input", "msg": "what is asked about is not as it should be"} if not known

require_approval contains {
	"id": "acme.files/write", "msg": "an editor looks at what is written",
	"from": ["group:editors"], "ttl": "15m", "wait": "60s",
} if {
	input.action.verb == "call"
	input.resource.tool in writing
}

mask contains {"id": "acme.files/addresses", "detect": "email", "method": "redact"} if input.action.verb == "call"
