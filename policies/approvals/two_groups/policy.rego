# METADATA
# title: Two groups approve
# description: |
#   Whatever writes, or may write, on a target whose label env is one of
#   `environments` waits until a person of `first` and another person of `second`
#   have approved. Somebody who is in both groups stands for one of them, not for
#   both. The requester is never one of them.
#   Settings: environments, exempt (lists of strings), first, second (groups), ttl,
#   wait (durations).
# scope: package
# schemas:
#   - input: schema.common
# custom:
#   regate: {mode: enforce}
package regate.policies.regate.two_groups

import data.regate.lib.principal

environments := site if {
	site := data.regate.settings.two_groups.environments
} else := data.regate.defaults.two_groups.environments

first := site if {
	site := data.regate.settings.two_groups.first
} else := data.regate.defaults.two_groups.first

second := site if {
	site := data.regate.settings.two_groups.second
} else := data.regate.defaults.two_groups.second

ttl := site if {
	site := data.regate.settings.two_groups.ttl
} else := data.regate.defaults.two_groups.ttl

wait := site if {
	site := data.regate.settings.two_groups.wait
} else := data.regate.defaults.two_groups.wait

exempt := site if {
	site := data.regate.settings.two_groups.exempt
} else := data.regate.defaults.two_groups.exempt

settings_known if {
	is_array(environments)
	is_string(first)
	is_string(second)
	first != second
	is_array(exempt)
	is_string(ttl)
	is_string(wait)
}

require_approval contains {
	"id": sprintf("regate.two_groups/%s", [which]),
	"msg": sprintf("%s on %s needs the approval of %s", [upper(input.action.verb), input.target.labels.env, group]),
	"from": [sprintf("group:%s", [group])], "ttl": ttl, "wait": wait,
} if {
	applies
	some which, group in {"first": first, "second": second}
}

# One person may meet several requirements: this makes it two.
require_approval contains {
	"id": "regate.two_groups/two-people",
	"msg": "two people have to approve, one for each group",
	"from": [sprintf("group:%s", [first]), sprintf("group:%s", [second])], "count": 2, "ttl": ttl, "wait": wait,
} if {
	applies
}

# applies says what waits: what writes, or may, where it matters. What a protocol
# does not say of itself counts as a write.
applies if {
	settings_known
	input.stage == "request"
	not input.action.writes == false
	input.target.labels.env in environments
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_object(input.target.labels)
}

deny contains {"id": "regate.two_groups/input", "severity": "high", "msg": "what regate.two_groups is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.two_groups/settings", "msg": "the settings of regate.two_groups are missing or of the wrong type"} if {
	not settings_known
}
