package regate.policies.regate.two_people_test

import data.regate.policies.regate.two_people

ids(set_of) := {element.id | some element in set_of}

request(groups, writes, env) := {
	"stage": "request",
	"subject": {"id": "alice", "groups": groups},
	"actor": null,
	"action": {"verb": "update", "writes": writes},
	"target": {"labels": {"env": env}},
	"approvals": [],
}

write := request(["analysts"], true, "prod")

test_two_people if {
	two_people.require_approval == {{
		"id": "regate.two_people/approve", "msg": "UPDATE on prod needs the approval of 2 people",
		"from": ["group:approvers"], "count": 2, "ttl": "15m", "wait": "60s",
	}} with input as write with data.regate.settings as {}
	two_people.deny == set() with input as write with data.regate.settings as {}
}

test_reads_pass if {
	two_people.require_approval == set() with input as request(["analysts"], false, "prod") with data.regate.settings as {}
}

test_what_does_not_say_waits if {
	unknown := json.remove(write, ["/action/writes"])
	ids(two_people.require_approval) == {"regate.two_people/approve"} with input as unknown with data.regate.settings as {}
}

test_elsewhere_passes if {
	two_people.require_approval == set() with input as request(["analysts"], true, "dev") with data.regate.settings as {}
}

test_connecting_passes if {
	two_people.require_approval == set() with input as object.union(write, {"stage": "session"}) with data.regate.settings as {}
}

test_exempt if {
	two_people.require_approval == set() with input as write with data.regate.settings as {"two_people": {"exempt": ["analysts"]}}
}

test_site_settings if {
	site := {"two_people": {"environments": ["live"], "approvers": ["group:a", "group:b"], "count": 3, "ttl": "5m", "wait": "0s", "exempt": []}}
	live := request(["analysts"], true, "live")
	ids(two_people.require_approval) == {"regate.two_people/approve"} with input as live with data.regate.settings as site
	{r.count | some r in two_people.require_approval} == {3} with input as live with data.regate.settings as site
}

test_settings if {
	every bad in [{"count": 1}, {"count": "2"}, {"approvers": "any"}, {"ttl": 15}] {
		ids(two_people.deny) == {"regate.two_people/settings"} with input as write with data.regate.settings as {"two_people": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.two_people/input" in ids(two_people.deny) with input as nothing with data.regate.settings as {}
}
