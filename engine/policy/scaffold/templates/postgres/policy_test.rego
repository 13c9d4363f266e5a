package regate.policies.<<.Package>>_test

import data.regate.policies.<<.Package>>

# What regate makes of the statement below. Print your own with
# regate input postgres 'SELECT …' --catalog postgres://… --as-test
statement := <<.Example>>

ids(said) := {element.id | some element in said}

with_changes(changes) := object.union(statement, changes)

by(groups) := {"subject": {"groups": groups}}

test_reader_reads if {
	ids(<<.Name>>.allow) == {"<<.Package>>/read"} with input as statement
	<<.Name>>.deny == set() with input as statement
	<<.Name>>.require_approval == set() with input as statement
	{limit.rows | some limit in <<.Name>>.limit} == {1000} with input as statement
	ids(<<.Name>>.mask) == {"<<.Package>>/email"} with input as statement
}

test_reader_connects if {
	connect := {"stage": "session", "action": {"verb": "connect"}}
	ids(<<.Name>>.allow) == {"<<.Package>>/connect"} with input as with_changes(connect)
}

test_strangers_may_nothing if {
	<<.Name>>.allow == set() with input as with_changes(by(["guests"]))
	<<.Name>>.allow == set() with input as with_changes(object.union(by(["guests"]), {"stage": "session", "action": {"verb": "connect"}}))
}

test_unknown_names_are_not_read if {
	<<.Name>>.allow == set() with input as with_changes({"complete": false})
}

test_write_waits_for_a_person if {
	update := {"action": {"verb": "update", "writes": true, "has_where": true}}
	request := with_changes(object.union(update, by(["operators"])))
	ids(<<.Name>>.allow) == {"<<.Package>>/write"} with input as request
	ids(<<.Name>>.require_approval) == {"<<.Package>>/approve-write"} with input as request
	<<.Name>>.allow == set() with input as with_changes(update)
}

test_insert_needs_no_where if {
	insert := {"action": {"verb": "insert", "writes": true, "has_where": null}}
	ids(<<.Name>>.allow) == {"<<.Package>>/write"} with input as with_changes(object.union(insert, by(["operators"])))
}

test_where_is_needed if {
	delete_all := {"action": {"verb": "delete", "writes": true, "has_where": false}}
	request := with_changes(object.union(delete_all, by(["operators"])))
	<<.Name>>.allow == set() with input as request
	ids(<<.Name>>.deny) == {"<<.Package>>/no-where"} with input as request
}
