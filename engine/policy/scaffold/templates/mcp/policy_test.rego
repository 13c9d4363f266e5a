package regate.policies.<<.Package>>_test

import data.regate.policies.<<.Package>>

# What regate makes of a call of the tool search_orders. Print your own with
# regate input mcp … --as-test
call := <<.Example>>

ids(said) := {element.id | some element in said}

with_changes(changes) := object.union(call, changes)

by(groups) := {"subject": {"groups": groups}}

test_caller_calls if {
	ids(<<.Name>>.allow) == {"<<.Package>>/call"} with input as call
	<<.Name>>.deny == set() with input as call
	<<.Name>>.require_approval == set() with input as call
}

test_caller_connects if {
	connect := {"stage": "session", "action": {"verb": "connect"}}
	ids(<<.Name>>.allow) == {"<<.Package>>/connect"} with input as with_changes(connect)
}

test_strangers_may_nothing if {
	<<.Name>>.allow == set() with input as with_changes(by(["guests"]))
}

test_caller_lists_and_sees_its_tools if {
	ids(<<.Name>>.allow) == {"<<.Package>>/list"} with input as with_changes({"action": {"verb": "list"}})
	item := {"action": {"verb": "list", "item": true}}
	ids(<<.Name>>.allow) == {"<<.Package>>/see"} with input as with_changes(item)
	<<.Name>>.allow == set() with input as with_changes(object.union(item, {"resource": {"tool": "drop_database"}}))
}

test_other_tools_are_not_called if {
	<<.Name>>.allow == set() with input as with_changes({"resource": {"tool": "drop_database"}})
}

test_changed_tool_is_refused if {
	changed := with_changes({"resource": {"pin": "changed"}})
	<<.Name>>.allow == set() with input as changed
	ids(<<.Name>>.deny) == {"<<.Package>>/changed"} with input as changed
}

test_write_waits_for_a_person if {
	refund := with_changes({"action": {"writes": true}, "resource": {"tool": "refund_order"}})
	ids(<<.Name>>.allow) == {"<<.Package>>/call"} with input as refund
	ids(<<.Name>>.require_approval) == {"<<.Package>>/approve-write"} with input as refund
}
