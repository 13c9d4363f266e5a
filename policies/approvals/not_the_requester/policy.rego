# METADATA
# title: Not the requester, nor the team
# description: |
#   Whatever writes, or may write, on a target whose label env is one of
#   `environments` waits for a person of `approvers`. The requester, subject or
#   actor, never counts as one: regate sees to that itself. This also wants one
#   approval from outside: by somebody who is in none of the `teams` that the
#   requester is in.
#   Settings: environments, approvers, teams, exempt (lists of strings), ttl, wait
#   (durations).
# scope: package
# schemas:
#   - input: schema.common
# custom:
#   regate: {mode: enforce}
package regate.policies.regate.not_the_requester

import data.regate.lib.principal

environments := site if {
	site := data.regate.settings.not_the_requester.environments
} else := data.regate.defaults.not_the_requester.environments

approvers := site if {
	site := data.regate.settings.not_the_requester.approvers
} else := data.regate.defaults.not_the_requester.approvers

teams := site if {
	site := data.regate.settings.not_the_requester.teams
} else := data.regate.defaults.not_the_requester.teams

ttl := site if {
	site := data.regate.settings.not_the_requester.ttl
} else := data.regate.defaults.not_the_requester.ttl

wait := site if {
	site := data.regate.settings.not_the_requester.wait
} else := data.regate.defaults.not_the_requester.wait

exempt := site if {
	site := data.regate.settings.not_the_requester.exempt
} else := data.regate.defaults.not_the_requester.exempt

settings_known if {
	is_array(environments)
	is_array(approvers)
	is_array(exempt)
	is_array(teams)
	is_string(ttl)
	is_string(wait)
}

require_approval contains {
	"id": "regate.not_the_requester/approve",
	"msg": sprintf("%s on %s needs the approval of somebody else", [upper(input.action.verb), input.target.labels.env]),
	"from": approvers, "ttl": ttl, "wait": wait,
} if {
	applies
}

deny contains {
	"id": "regate.not_the_requester/same-team", "severity": "medium",
	"msg": sprintf("it was approved by the requester's own team (%s)", [concat(", ", sort(own_teams))]),
	"hint": "Ask somebody of another team to approve it.",
} if {
	applies
	count(input.approvals) > 0
	count(own_teams) > 0
	not approved_from_outside
}

own_teams contains team if {
	some team in teams
	team in input.subject.groups
}

own_teams contains team if {
	some team in teams
	team in input.actor.groups
}

is_requester(person) if person.id == input.subject.id

is_requester(person) if person.id == input.actor.id

approved_from_outside if {
	some approval in input.approvals
	not is_requester(approval.by)
	count({team | some team in own_teams; team in approval.by.groups}) == 0
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
	is_string(input.subject.id)
	is_array(input.subject.groups)
	actor_known
	is_array(input.approvals)
	every approval in input.approvals {
		is_string(approval.by.id)
		is_array(approval.by.groups)
	}
}

actor_known if is_null(input.actor)

actor_known if {
	is_string(input.actor.id)
	is_array(input.actor.groups)
}

deny contains {"id": "regate.not_the_requester/input", "severity": "high", "msg": "what regate.not_the_requester is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.not_the_requester/settings", "msg": "the settings of regate.not_the_requester are missing or of the wrong type"} if {
	not settings_known
}
