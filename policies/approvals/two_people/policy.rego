# METADATA
# title: Two people approve
# description: |
#   Whatever writes, or may write, on a target whose label env is one of
#   `environments` waits until `count` different people of `approvers` have approved.
#   The requester is never one of them: neither the subject nor the actor.
#   Settings: environments, approvers, exempt (lists of strings), count (number, at
#   least 2), ttl, wait (durations).
# scope: package
# schemas:
#   - input: schema.common
# custom:
#   regate: {mode: enforce}
package regate.policies.regate.two_people

import data.regate.lib.principal

environments := site if {
	site := data.regate.settings.two_people.environments
} else := data.regate.defaults.two_people.environments

approvers := site if {
	site := data.regate.settings.two_people.approvers
} else := data.regate.defaults.two_people.approvers

people := site if {
	site := data.regate.settings.two_people.count
} else := data.regate.defaults.two_people.count

ttl := site if {
	site := data.regate.settings.two_people.ttl
} else := data.regate.defaults.two_people.ttl

wait := site if {
	site := data.regate.settings.two_people.wait
} else := data.regate.defaults.two_people.wait

exempt := site if {
	site := data.regate.settings.two_people.exempt
} else := data.regate.defaults.two_people.exempt

settings_known if {
	is_array(environments)
	is_array(approvers)
	is_array(exempt)
	is_number(people)
	people >= 2
	is_string(ttl)
	is_string(wait)
}

require_approval contains {
	"id": "regate.two_people/approve",
	"msg": sprintf("%s on %s needs the approval of %d people", [upper(input.action.verb), input.target.labels.env, people]),
	"from": approvers, "count": people, "ttl": ttl, "wait": wait,
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

deny contains {"id": "regate.two_people/input", "severity": "high", "msg": "what regate.two_people is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.two_people/settings", "msg": "the settings of regate.two_people are missing or of the wrong type"} if {
	not settings_known
}
