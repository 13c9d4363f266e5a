package regate.lib.principal_test

import data.regate.lib.principal

test_in_any if {
	principal.in_any(["a", "b"]) with input.subject.groups as ["b"]
	not principal.in_any(["a"]) with input.subject.groups as ["b"]
	not principal.in_any([]) with input.subject.groups as ["b"]
	not principal.in_any(["a"]) with input.subject.groups as []
}

test_delegated if {
	principal.delegated with input.actor as {"id": "agent"}
	not principal.delegated with input.actor as null
}
