package regate.policies.<<.Package>>_test

import data.regate.policies.<<.Package>>

# What regate makes of kubectl get pods -n shop. Print your own with
# regate input kubernetes … --as-test
list_pods := <<.Example>>

ids(said) := {element.id | some element in said}

with_changes(changes) := object.union(list_pods, changes)

by(groups) := {"subject": {"groups": groups}}

deploy := object.union(
	by(["deployers"]),
	{"action": {"verb": "patch", "writes": true}, "resource": {"type": "deployments.apps", "resource": "deployments"}},
)

test_viewer_looks if {
	ids(<<.Name>>.allow) == {"<<.Package>>/read"} with input as list_pods
	<<.Name>>.deny == set() with input as list_pods
	<<.Name>>.require_approval == set() with input as list_pods
}

test_viewer_connects if {
	connect := {"stage": "session", "action": {"verb": "connect"}}
	ids(<<.Name>>.allow) == {"<<.Package>>/connect"} with input as with_changes(connect)
}

test_strangers_may_nothing if {
	<<.Name>>.allow == set() with input as with_changes(by(["guests"]))
}

test_secrets_are_not_shown if {
	secrets := with_changes({"resource": {"resource": "secrets", "type": "secrets"}})
	<<.Name>>.allow == set() with input as secrets
	ids(<<.Name>>.deny) == {"<<.Package>>/secrets"} with input as secrets
}

test_change_waits_for_a_person if {
	request := with_changes(deploy)
	ids(<<.Name>>.allow) == {"<<.Package>>/deploy"} with input as request
	ids(<<.Name>>.require_approval) == {"<<.Package>>/approve-write"} with input as request
	<<.Name>>.allow == set() with input as with_changes(object.union(deploy, by(["viewers"])))
}

test_other_namespaces_are_left_alone if {
	<<.Name>>.allow == set() with input as with_changes(object.union(deploy, {"resource": {"namespace": "kube-system"}}))
}

test_nothing_of_the_node if {
	privileged := with_changes(object.union(deploy, {"resource": {"privileged": true}}))
	<<.Name>>.allow == set() with input as privileged
	ids(<<.Name>>.deny) == {"<<.Package>>/privileged"} with input as privileged
	<<.Name>>.allow == set() with input as with_changes(object.union(deploy, {"resource": {"host_paths": ["/etc"]}}))
}
