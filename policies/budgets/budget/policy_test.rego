package regate.policies.regate.budget_test

import data.regate.policies.regate.budget

ids(set_of) := {element.id | some element in set_of}

none := {"requests": 0, "rows": 0, "bytes": 0, "denials": 0, "sensitive": 0}

by(day, hour) := {"day": object.union(none, day), "hour": object.union(none, hour)}

request(usage) := {
	"stage": "request", "asserted": {"task": "report"}, "actor": {"id": "agent"},
	"subject": {"groups": ["analysts"]},
	"usage": object.union({"subject": by({}, {}), "actor": by({}, {}), "task": by({}, {})}, usage),
}

site := {"budget": {
	"subject": {"day": {"rows": 1000, "bytes": 50000, "requests": 100, "sensitive": 10}, "hour": {"rows": 500}},
	"actor": {"day": {"rows": 5000}}, "task": {"day": {"rows": 600, "sensitive": 5}}, "exempt": ["etl"],
}}

denied(usage) := out if {
	out := ids(budget.deny) with input as request(usage) with data.regate.settings as site
}

limited(usage) := out if {
	out := budget.limit with input as request(usage) with data.regate.settings as site
}

test_within if {
	denied({}) == set()
	denied({"subject": by({"rows": 999, "bytes": 49999, "requests": 99, "sensitive": 9}, {"rows": 499})}) == set()
}

test_used_up if {
	denied({"subject": by({"rows": 1000}, {})}) == {"regate.budget/rows"}
	denied({"subject": by({}, {"rows": 500})}) == {"regate.budget/rows"}
	denied({"subject": by({"bytes": 50000}, {})}) == {"regate.budget/bytes"}
	denied({"subject": by({"requests": 100}, {})}) == {"regate.budget/requests"}
	denied({"subject": by({"sensitive": 12}, {})}) == {"regate.budget/sensitive"}
	denied({"actor": by({"rows": 5000}, {})}) == {"regate.budget/rows"}
	denied({"task": by({"rows": 600}, {})}) == {"regate.budget/rows"}
	denied({"task": by({"sensitive": 5}, {}), "subject": by({"rows": 1000}, {})}) == {"regate.budget/rows", "regate.budget/sensitive"}
}

# An agent that is refused and asks again and again does not use anything up.
test_denied_requests_are_not_used if denied({"subject": by({"requests": 150, "denials": 51}, {})}) == set()

test_message if {
	{d.msg | some d in budget.deny} == {"the budget of rows for the task is used up: 601 of 600 today (UTC)"} with input as request({"task": by({"rows": 601}, {})}) with data.regate.settings as site
}

test_what_is_left_limits if {
	limited({}) == {{"id": "regate.budget/rows-left", "rows": 500}, {"id": "regate.budget/bytes-left", "bytes": 50000}}
	limited({"subject": by({"rows": 563, "bytes": 49999}, {})}) == {{"id": "regate.budget/rows-left", "rows": 400}, {"id": "regate.budget/bytes-left", "bytes": 1}}
	limited({"task": by({"rows": 581}, {})}) == {{"id": "regate.budget/rows-left", "rows": 10}, {"id": "regate.budget/bytes-left", "bytes": 50000}}
}

test_one_digit if {
	every n, want in {1: 1, 9: 9, 10: 10, 19: 10, 99: 90, 100: 100, 48231: 40000, 1000000: 1000000} {
		budget.one_digit(n) == want
	}
}

unknown(doc) := out if {
	out := ids(budget.deny) with input as doc with data.regate.settings as site
}

test_unknown_is_denied if {
	unknown(object.union(request({}), {"usage": null})) == {"regate.budget/unknown"}
	unknown(object.remove(request({}), ["usage"])) == {"regate.budget/unknown"}
	unknown(object.union(request({}), {"usage": {"task": null}})) == {"regate.budget/unknown"}
	unknown(object.union(request({}), {"usage": {"actor": null}})) == {"regate.budget/unknown"}
	unknown(object.union(request({}), {"usage": {"actor": null}, "actor": null})) == set()
	unknown(object.union(request({}), {"usage": {"task": null}, "asserted": {"task": ""}})) == set()
}

test_task_required if {
	strict := {"budget": object.union(site.budget, {"task_required": true})}
	without := object.union(request({}), {"usage": {"task": null}, "asserted": {"task": ""}})
	ids(budget.deny) == {"regate.budget/task-missing"} with input as without with data.regate.settings as strict
	ids(budget.deny) == set() with input as request({}) with data.regate.settings as strict
}

test_connecting_passes if {
	budget.deny == set() with input as object.union(request({}), {"stage": "session", "usage": null}) with data.regate.settings as site
}

test_exempt if {
	budget.deny == set() with input as object.union(request({"subject": by({"rows": 1000}, {})}), {"subject": {"groups": ["etl"]}}) with data.regate.settings as site
}

test_defaults if {
	ids(budget.deny) == {"regate.budget/rows"} with input as request({"subject": by({"rows": 100000}, {})}) with data.regate.settings as {}
	budget.deny == set() with input as request({}) with data.regate.settings as {}
}

test_settings if {
	every bad in [
		{"subject": {"day": {"rows": "many"}}}, {"subject": {"week": {"rows": 1}}}, {"actor": {"day": {"row": 1}}}, {"subject": []},
		{"subject": {"day": {"rows": -1}}}, {"task_required": "yes"}, {"exempt": "etl"},
		{"subject": {}}, {"task": {"hour": {"requests": 5}}},
	] {
		"regate.budget/settings" in ids(budget.deny) with input as request({}) with data.regate.settings as {"budget": bad}
	}
}
