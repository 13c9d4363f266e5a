package regate.policies.<<.Package>>_test

import data.regate.policies.<<.Package>>

# What regate makes of GET https://api.example.com/orders/17. Print your own with
# regate input http … --as-test
get_order := <<.Example>>

ids(said) := {element.id | some element in said}

with_changes(changes) := object.union(get_order, changes)

by(groups) := {"subject": {"groups": groups}}

post := object.union(by(["editors"]), {"action": {"verb": "post", "writes": true, "body": "json"}})

test_caller_reads if {
	ids(<<.Name>>.allow) == {"<<.Package>>/read"} with input as get_order
	<<.Name>>.deny == set() with input as get_order
	<<.Name>>.require_approval == set() with input as get_order
}

test_caller_connects if {
	connect := {"stage": "session", "action": {"verb": "connect"}}
	ids(<<.Name>>.allow) == {"<<.Package>>/connect"} with input as with_changes(connect)
}

test_strangers_may_nothing if {
	<<.Name>>.allow == set() with input as with_changes(by(["guests"]))
}

test_other_hosts_are_not_reached if {
	<<.Name>>.allow == set() with input as with_changes({"resource": {"host": "evil.example.net"}})
}

test_write_waits_for_a_person if {
	request := with_changes(post)
	ids(<<.Name>>.allow) == {"<<.Package>>/write"} with input as request
	ids(<<.Name>>.require_approval) == {"<<.Package>>/approve-write"} with input as request
	<<.Name>>.allow == set() with input as with_changes(object.union(post, by(["callers"])))
}

test_secrets_stay_here if {
	request := with_changes(object.union(post, {"action": {"secrets": ["jwt"]}}))
	<<.Name>>.allow == set() with input as request
	ids(<<.Name>>.deny) == {"<<.Package>>/secrets"} with input as request
}
