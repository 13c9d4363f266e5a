package regate.policies.regate.two_groups_test

import data.regate.policies.regate.two_groups

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

test_two_groups if {
	two_groups.require_approval == {
		{"id": "regate.two_groups/first", "msg": "UPDATE on prod needs the approval of dba", "from": ["group:dba"], "ttl": "30m", "wait": "60s"},
		{"id": "regate.two_groups/second", "msg": "UPDATE on prod needs the approval of security", "from": ["group:security"], "ttl": "30m", "wait": "60s"},
		{
			"id": "regate.two_groups/two-people", "msg": "two people have to approve, one for each group",
			"from": ["group:dba", "group:security"], "count": 2, "ttl": "30m", "wait": "60s",
		},
	} with input as write with data.regate.settings as {}
	two_groups.deny == set() with input as write with data.regate.settings as {}
}

test_reads_pass if {
	two_groups.require_approval == set() with input as request(["analysts"], false, "prod") with data.regate.settings as {}
}

test_elsewhere_passes if {
	two_groups.require_approval == set() with input as request(["analysts"], true, "dev") with data.regate.settings as {}
}

test_exempt if {
	two_groups.require_approval == set() with input as write with data.regate.settings as {"two_groups": {"exempt": ["analysts"]}}
}

test_site_settings if {
	site := {"two_groups": {"environments": ["live"], "first": "a", "second": "b", "ttl": "5m", "wait": "0s", "exempt": []}}
	live := request(["analysts"], true, "live")
	{r.from | some r in two_groups.require_approval} == {["group:a"], ["group:b"], ["group:a", "group:b"]} with input as live with data.regate.settings as site
}

test_settings if {
	every bad in [{"first": "security"}, {"second": ["dba"]}, {"environments": "prod"}, {"wait": 60}] {
		ids(two_groups.deny) == {"regate.two_groups/settings"} with input as write with data.regate.settings as {"two_groups": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.two_groups/input" in ids(two_groups.deny) with input as nothing with data.regate.settings as {}
}
