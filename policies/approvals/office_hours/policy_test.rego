package regate.policies.regate.office_hours_test

import data.regate.policies.regate.office_hours

ids(set_of) := {element.id | some element in set_of}

request(time, writes) := {
	"stage": "request", "time": time,
	"subject": {"id": "alice", "groups": ["analysts"]},
	"action": {"verb": "update", "writes": writes},
	"target": {"labels": {"env": "prod"}},
}

# Monday, 23 November 2026.
monday(clock) := request(sprintf("2026-11-23T%s:00Z", [clock]), true)

closed_with(site, doc) if "regate.office_hours/closed" in ids(office_hours.deny) with input as doc with data.regate.settings as {"office_hours": site}

test_open if {
	every clock in ["08:00", "12:30", "17:59"] {
		not closed_with({}, monday(clock))
	}
}

test_closed if {
	every clock in ["00:00", "07:59", "18:00", "23:59"] {
		closed_with({}, monday(clock))
	}
}

test_weekdays if {
	not closed_with({}, request("2026-11-27T12:00:00Z", true)) # Friday
	closed_with({}, request("2026-11-28T12:00:00Z", true))
	closed_with({}, request("2026-11-29T12:00:00Z", true))
	not closed_with({"days": ["sat"]}, request("2026-11-28T12:00:00Z", true))
	closed_with({"days": []}, monday("12:00"))
}

test_holidays if {
	closed_with({"holidays": ["2026-11-23"]}, monday("12:00"))
	not closed_with({"holidays": ["2026-11-24"]}, monday("12:00"))
}

# 23:30 on Sunday in UTC is Monday, 08:30, in Tokyo; 07:30 in Berlin is 06:30 in
# UTC in winter, and 05:30 in summer.
test_timezones if {
	not closed_with({"timezone": "Asia/Tokyo"}, request("2026-11-22T23:30:00Z", true))
	closed_with({"timezone": "UTC"}, request("2026-11-22T23:30:00Z", true))
	not closed_with({"timezone": "Europe/Berlin", "from": "07:30"}, request("2026-11-23T06:30:00Z", true))
	closed_with({"timezone": "Europe/Berlin", "from": "07:30"}, request("2026-11-23T06:29:00Z", true))
	not closed_with({"timezone": "Europe/Berlin", "from": "07:30"}, request("2026-07-20T05:30:00Z", true))
	not closed_with({"timezone": "Asia/Tokyo", "holidays": ["2026-11-22"]}, request("2026-11-22T23:30:00Z", true))
	closed_with({"timezone": "Asia/Tokyo", "holidays": ["2026-11-23"]}, request("2026-11-22T23:30:00Z", true))
}

test_until_midnight if not closed_with({"to": "24:00"}, monday("23:59"))

test_reads if {
	not closed_with({}, request("2026-11-23T03:00:00Z", false))
	closed_with({"reads": true}, request("2026-11-23T03:00:00Z", false))
	closed_with({"reads": true}, object.union(request("2026-11-23T03:00:00Z", false), {"stage": "session"}))
}

test_what_does_not_say_writes if closed_with({}, json.remove(monday("03:00"), ["/action/writes"]))

test_elsewhere if not closed_with({}, object.union(monday("03:00"), {"target": {"labels": {"env": "dev"}}}))

test_exempt if not closed_with({"exempt": ["analysts"]}, monday("03:00"))

test_message if {
	{d.msg | some d in office_hours.deny} == {"UPDATE on prod outside of office hours (08:00 to 18:00, mon tue wed thu fri, UTC) is not allowed"} with input as monday("03:00") with data.regate.settings as {}
}

test_approve if {
	site := {"office_hours": {"outside": "approve", "environments": ["prod"], "approvers": ["group:night"], "ttl": "5m", "wait": "10s", "exempt": []}}
	office_hours.deny == set() with input as monday("03:00") with data.regate.settings as site
	office_hours.require_approval == {{
		"id": "regate.office_hours/approve",
		"msg": "UPDATE on prod outside of office hours (08:00 to 18:00, mon tue wed thu fri, UTC) needs approval",
		"from": ["group:night"], "ttl": "5m", "wait": "10s",
	}} with input as monday("03:00") with data.regate.settings as site
	office_hours.require_approval == set() with input as monday("12:00") with data.regate.settings as site
}

test_settings if {
	every bad in [{"from": "8:00"}, {"from": "18:00"}, {"to": "24:01"}, {"days": ["monday"]}, {"holidays": ["25.12."]}, {"outside": "allow"}, {"reads": "no"}, {"environments": "prod"}] {
		"regate.office_hours/settings" in ids(office_hours.deny) with input as monday("12:00") with data.regate.settings as {"office_hours": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.office_hours/input" in ids(office_hours.deny) with input as nothing with data.regate.settings as {}
}
