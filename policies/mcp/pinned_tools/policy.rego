# METADATA
# title: Approved tools only
# description: |
#   Denies calls of tools whose definition a person has not approved, or that has
#   changed since (a server can say one thing on the first day and another on the
#   second), whose definition hides something (invisible characters, instructions),
#   and whose arguments do not fit the definition. Such tools are left out of lists.
#   Settings: new ("deny" or "approve": calls of tools that are new wait for a person),
#   findings (kinds of hidden things that are accepted), approvers, exempt (lists of
#   strings), ttl, wait (durations).
# scope: package
# schemas:
#   - input: schema.mcp
# custom:
#   regate: {protocols: [mcp], mode: enforce}
package regate.policies.regate.mcp_pinned_tools

import data.regate.lib.principal

new_tools := site if {
	site := data.regate.settings.mcp_pinned_tools.new
} else := data.regate.defaults.mcp_pinned_tools.new

findings := site if {
	site := data.regate.settings.mcp_pinned_tools.findings
} else := data.regate.defaults.mcp_pinned_tools.findings

approvers := site if {
	site := data.regate.settings.mcp_pinned_tools.approvers
} else := data.regate.defaults.mcp_pinned_tools.approvers

ttl := site if {
	site := data.regate.settings.mcp_pinned_tools.ttl
} else := data.regate.defaults.mcp_pinned_tools.ttl

wait := site if {
	site := data.regate.settings.mcp_pinned_tools.wait
} else := data.regate.defaults.mcp_pinned_tools.wait

exempt := site if {
	site := data.regate.settings.mcp_pinned_tools.exempt
} else := data.regate.defaults.mcp_pinned_tools.exempt

settings_known if {
	new_tools in {"deny", "approve"}
	is_array(findings)
	is_array(approvers)
	is_array(exempt)
	is_string(ttl)
	is_string(wait)
}

# applies: a tool is called, or it is asked whether a list may show it.
applies if {
	settings_known
	input.stage == "request"
	is_string(input.resource.tool)
	not is_exempt
}

is_exempt if principal.in_any(exempt)

deny contains {
	"id": "regate.mcp_pinned_tools/changed", "severity": "critical",
	"msg": sprintf("the definition of %s is not the one that was approved (%s)", [input.resource.tool, concat(", ", input.mcp.tool.changed)]),
	"hint": "Tell the owner of the gateway; use another tool.",
} if {
	applies
	input.resource.pin == "changed"
}

deny contains {
	"id": "regate.mcp_pinned_tools/not-approved", "severity": "medium",
	"msg": sprintf("nobody has approved the tool %s", [input.resource.tool]),
	"hint": "Ask the owner of the gateway to look at it.",
} if {
	applies
	not input.resource.pin in {"approved", "changed"}
	not may_be_asked_for
}

may_be_asked_for if {
	new_tools == "approve"
	input.resource.pin == "new"
}

require_approval contains {
	"id": "regate.mcp_pinned_tools/approve",
	"msg": sprintf("the tool %s is new", [input.resource.tool]),
	"from": approvers, "ttl": ttl, "wait": wait,
} if {
	applies
	may_be_asked_for
	input.action.item == false
}

deny contains {
	"id": "regate.mcp_pinned_tools/hidden", "severity": "critical",
	"msg": sprintf("the definition of %s hides something: %s", [input.resource.tool, finding]),
	"hint": "Tell the owner of the gateway.",
} if {
	applies
	some finding in input.mcp.tool.findings
	not finding in findings
}

deny contains {
	"id": "regate.mcp_pinned_tools/arguments", "severity": "medium",
	"msg": sprintf("the arguments do not fit the definition of %s", [input.resource.tool]),
	"hint": "See the tool's input schema.",
} if {
	applies
	input.action.verb == "call"
	input.mcp.tool.schema_valid == false
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_boolean(input.action.item)
	is_string(input.resource.pin)
	string_or_null(input.resource.tool)
	call_of_something
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_array(input.mcp.tool.changed)
	is_array(input.mcp.tool.findings)
	boolean_or_null(input.mcp.tool.schema_valid)
}

call_of_something if input.action.verb != "call"

call_of_something if is_string(input.resource.tool)

string_or_null(value) if is_string(value)

string_or_null(value) if is_null(value)

boolean_or_null(value) if is_boolean(value)

boolean_or_null(value) if is_null(value)

deny contains {"id": "regate.mcp_pinned_tools/input", "severity": "high", "msg": "what regate.mcp_pinned_tools is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.mcp_pinned_tools/settings", "msg": "the settings of regate.mcp_pinned_tools are missing or of the wrong type"} if {
	not settings_known
}
