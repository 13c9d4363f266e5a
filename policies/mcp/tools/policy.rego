# METADATA
# title: Named tools only
# description: |
#   Keeps agents to the tools of `allowed` and of their groups, of each server; others
#   are denied and left out of lists. Tools in `approve` wait for a person. Resources
#   are kept to the schemes in `schemes`.
#   Settings: allowed, approve (patterns of "server/tool"; * stands for any letters),
#   by_group (object: group to list of further patterns), schemes (of resources' URIs),
#   approvers, exempt (lists of strings), ttl, wait (durations).
# scope: package
# schemas:
#   - input: schema.mcp
# custom:
#   regate: {protocols: [mcp], mode: enforce}
package regate.policies.regate.mcp_tools

import data.regate.lib.principal

allowed := site if {
	site := data.regate.settings.mcp_tools.allowed
} else := data.regate.defaults.mcp_tools.allowed

by_group := site if {
	site := data.regate.settings.mcp_tools.by_group
} else := data.regate.defaults.mcp_tools.by_group

approve := site if {
	site := data.regate.settings.mcp_tools.approve
} else := data.regate.defaults.mcp_tools.approve

schemes := site if {
	site := data.regate.settings.mcp_tools.schemes
} else := data.regate.defaults.mcp_tools.schemes

approvers := site if {
	site := data.regate.settings.mcp_tools.approvers
} else := data.regate.defaults.mcp_tools.approvers

ttl := site if {
	site := data.regate.settings.mcp_tools.ttl
} else := data.regate.defaults.mcp_tools.ttl

wait := site if {
	site := data.regate.settings.mcp_tools.wait
} else := data.regate.defaults.mcp_tools.wait

exempt := site if {
	site := data.regate.settings.mcp_tools.exempt
} else := data.regate.defaults.mcp_tools.exempt

settings_known if {
	is_array(allowed)
	is_object(by_group)
	is_array(approve)
	is_array(schemes)
	is_array(approvers)
	is_array(exempt)
	is_string(ttl)
	is_string(wait)
	every pattern in array.concat(allowed, approve) {
		is_string(pattern)
	}
	every _, more in by_group {
		is_array(more)
	}
}

applies if {
	settings_known
	input.stage == "request"
	not is_exempt
}

is_exempt if principal.in_any(exempt)

tool := sprintf("%s/%s", [input.resource.server, input.resource.tool])

may_use if {
	some pattern in allowed
	glob.match(pattern, null, tool)
}

may_use if {
	some group in input.subject.groups
	some pattern in by_group[group]
	glob.match(pattern, null, tool)
}

deny contains {
	"id": "regate.mcp_tools/tool", "severity": "medium",
	"msg": sprintf("the tool %s is not among those that may be used", [tool]),
	"hint": "List the tools to see which may.",
} if {
	applies
	is_string(input.resource.tool)
	not may_use
}

# A call of which the tool is not known.
deny contains {
	"id": "regate.mcp_tools/tool", "severity": "medium",
	"msg": "it is not known which tool this calls",
} if {
	applies
	input.action.verb == "call"
	not is_string(input.resource.tool)
}

deny contains {
	"id": "regate.mcp_tools/resource", "severity": "medium",
	"msg": sprintf("resources of the scheme %s may not be read", [input.resource.uri_scheme]),
} if {
	applies
	is_string(input.resource.uri)
	not input.resource.uri_scheme in schemes
}

require_approval contains {
	"id": "regate.mcp_tools/approve",
	"msg": sprintf("%s needs approval", [tool]),
	"from": approvers, "ttl": ttl, "wait": wait,
} if {
	applies
	input.action.verb == "call"
	input.action.direction == "to_server"
	some pattern in approve
	glob.match(pattern, null, tool)
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_string(input.action.direction)
	is_string(input.resource.server)
	string_or_null(input.resource.tool)
	string_or_null(input.resource.uri)
	string_or_null(input.resource.uri_scheme)
}

string_or_null(value) if is_string(value)

string_or_null(value) if is_null(value)

deny contains {"id": "regate.mcp_tools/input", "severity": "high", "msg": "what regate.mcp_tools is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.mcp_tools/settings", "msg": "the settings of regate.mcp_tools are missing or of the wrong type"} if {
	not settings_known
}
