# METADATA
# title: Office hours
# description: |
#   Outside of office hours, what writes, or may write, on a target whose label env
#   is one of `environments` is refused (`outside`: "deny") or waits for a person of
#   `approvers` ("approve"); with `reads` true, reading and connecting too. Office
#   hours are from `from` to `to` on `days`, but for `holidays`, by the clock of
#   `timezone`.
#   It reads the clock, input.time, so what it applies to is decided anew each time:
#   no decision on its targets comes from the cache.
#   Settings: environments, approvers, days ("mon" … "sun"), holidays ("2026-12-25"),
#   exempt (lists of strings), timezone (a name of the IANA data base; one that does
#   not exist denies everything with engine/error), from, to ("HH:MM", from before
#   to, "24:00" at most), reads (boolean), outside, ttl, wait.
# scope: package
# schemas:
#   - input: schema.common
# custom:
#   regate: {mode: enforce}
package regate.policies.regate.office_hours

import data.regate.lib.principal

environments := site if {
	site := data.regate.settings.office_hours.environments
} else := data.regate.defaults.office_hours.environments

timezone := site if {
	site := data.regate.settings.office_hours.timezone
} else := data.regate.defaults.office_hours.timezone

days := site if {
	site := data.regate.settings.office_hours.days
} else := data.regate.defaults.office_hours.days

holidays := site if {
	site := data.regate.settings.office_hours.holidays
} else := data.regate.defaults.office_hours.holidays

opens := site if {
	site := data.regate.settings.office_hours.from
} else := data.regate.defaults.office_hours.from

closes := site if {
	site := data.regate.settings.office_hours.to
} else := data.regate.defaults.office_hours.to

reads := site if {
	site := data.regate.settings.office_hours.reads
} else := data.regate.defaults.office_hours.reads

outside := site if {
	site := data.regate.settings.office_hours.outside
} else := data.regate.defaults.office_hours.outside

approvers := site if {
	site := data.regate.settings.office_hours.approvers
} else := data.regate.defaults.office_hours.approvers

ttl := site if {
	site := data.regate.settings.office_hours.ttl
} else := data.regate.defaults.office_hours.ttl

wait := site if {
	site := data.regate.settings.office_hours.wait
} else := data.regate.defaults.office_hours.wait

exempt := site if {
	site := data.regate.settings.office_hours.exempt
} else := data.regate.defaults.office_hours.exempt

weekdays := {"Monday": "mon", "Tuesday": "tue", "Wednesday": "wed", "Thursday": "thu", "Friday": "fri", "Saturday": "sat", "Sunday": "sun"}

known_days := {day | some day in weekdays}

settings_known if {
	is_array(environments)
	is_array(approvers)
	is_array(exempt)
	is_array(holidays)
	is_array(days)
	every day in days {
		day in known_days
	}
	every day in holidays {
		regex.match(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`, day)
	}
	regex.match(`^([01][0-9]|2[0-3]):[0-5][0-9]$`, opens)
	regex.match(`^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$`, closes)
	opens < closes
	is_string(timezone)
	is_boolean(reads)
	outside in {"deny", "approve"}
	is_string(ttl)
	is_string(wait)
}

now := time.parse_rfc3339_ns(input.time)

hour_and_minute := sprintf("%02d:%02d", [clock[0], clock[1]]) if clock := time.clock([now, timezone])

date := sprintf("%04d-%02d-%02d", time.date([now, timezone]))

open if {
	settings_known
	weekdays[time.weekday([now, timezone])] in days
	not date in holidays
	hour_and_minute >= opens
	hour_and_minute < closes
}

what := sprintf("%s on %s outside of office hours (%s to %s, %s, %s)", [upper(input.action.verb), input.target.labels.env, opens, closes, concat(" ", days), timezone])

deny contains {
	"id": "regate.office_hours/closed", "severity": "medium",
	"msg": sprintf("%s is not allowed", [what]),
	"hint": "Send it again during office hours.",
} if {
	outside == "deny"
	applies
	not open
}

require_approval contains {
	"id": "regate.office_hours/approve",
	"msg": sprintf("%s needs approval", [what]),
	"from": approvers, "ttl": ttl, "wait": wait,
} if {
	outside == "approve"
	applies
	not open
}

applies if {
	input.stage == "request"
	not input.action.writes == false
	applies_here
}

applies if {
	reads == true
	input.stage != "response"
	applies_here
}

applies_here if {
	settings_known
	input.target.labels.env in environments
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.verb)
	is_object(input.target.labels)
}

deny contains {"id": "regate.office_hours/input", "severity": "high", "msg": "what regate.office_hours is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.office_hours/settings", "msg": "the settings of regate.office_hours are missing or of the wrong type"} if {
	not settings_known
}
