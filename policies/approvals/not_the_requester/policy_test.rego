package regate.policies.regate.not_the_requester_test

import data.regate.policies.regate.not_the_requester

ids(set_of) := {element.id | some element in set_of}

request(groups, writes, env) := {
	"stage": "request",
	"subject": {"id": "alice", "groups": groups},
	"actor": null,
	"action": {"verb": "update", "writes": writes},
	"target": {"labels": {"env": env}},
	"approvals": [],
}

write := request(["shop", "analysts"], true, "prod")

site := {"not_the_requester": {"teams": ["shop", "billing"]}}

approved_by(groups_of) := object.union(write, {"approvals": [{"id": "a", "by": {"id": "bob", "groups": groups}} | some groups in groups_of]})

test_waits if {
	not_the_requester.require_approval == {{
		"id": "regate.not_the_requester/approve", "msg": "UPDATE on prod needs the approval of somebody else",
		"from": ["group:approvers"], "ttl": "15m", "wait": "60s",
	}} with input as write with data.regate.settings as site
	not_the_requester.deny == set() with input as write with data.regate.settings as site
}

test_own_team if {
	ids(not_the_requester.deny) == {"regate.not_the_requester/same-team"} with input as approved_by([["approvers", "shop"]]) with data.regate.settings as site
	not_the_requester.deny == set() with input as approved_by([["approvers", "billing"]]) with data.regate.settings as site
	not_the_requester.deny == set() with input as approved_by([["approvers", "shop"], ["approvers"]]) with data.regate.settings as site
}

# regate does not let them approve; nor would they count here.
test_requester if {
	every who in ["alice", "agent"] {
		both := object.union(write, {"actor": {"id": "agent", "groups": []}, "approvals": [{"by": {"id": who, "groups": []}}, {"by": {"id": "mate", "groups": ["approvers", "shop"]}}]})
		ids(not_the_requester.deny) == {"regate.not_the_requester/same-team"} with input as both with data.regate.settings as site
	}
}

test_team_of_the_actor if {
	acting := object.union(approved_by([["approvers", "billing"]]), {"actor": {"id": "agent", "groups": ["billing"]}})
	ids(not_the_requester.deny) == {"regate.not_the_requester/same-team"} with input as acting with data.regate.settings as site
}

test_reads_pass if {
	not_the_requester.require_approval == set() with input as request(["shop"], false, "prod") with data.regate.settings as site
}

test_elsewhere_passes if {
	not_the_requester.require_approval == set() with input as request(["shop"], true, "dev") with data.regate.settings as site
}

test_exempt if {
	not_the_requester.require_approval == set() with input as write with data.regate.settings as {"not_the_requester": {"exempt": ["shop"]}}
}

test_no_teams_by_default if {
	not_the_requester.deny == set() with input as approved_by([["approvers", "shop"]]) with data.regate.settings as {}
}

test_site_settings if {
	other := {"not_the_requester": {"environments": ["live"], "approvers": ["any"], "ttl": "5m", "wait": "0s", "exempt": []}}
	live := request(["shop"], true, "live")
	{r.from | some r in not_the_requester.require_approval} == {["any"]} with input as live with data.regate.settings as other
}

test_settings if {
	every bad in [{"teams": "shop"}, {"approvers": "any"}, {"environments": "prod"}, {"wait": 60}, {"ttl": null}, {"exempt": {}}] {
		"regate.not_the_requester/settings" in ids(not_the_requester.deny) with input as request(["shop"], false, "prod") with data.regate.settings as {"not_the_requester": bad}
	}
}

test_input if {
	nothing := {"stage": "request", "subject": {"groups": []}}
	"regate.not_the_requester/input" in ids(not_the_requester.deny) with input as nothing with data.regate.settings as {}
}
