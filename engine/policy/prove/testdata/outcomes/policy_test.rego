package regate.policies.acme.outcomes_test

import data.regate.policies.acme.outcomes

test_passes if outcomes.deny == {{"id": "acme.outcomes/drop"}} with input.action.verbs as ["drop"]

test_fails if outcomes.deny == set() with input.action.verbs as ["drop"]

test_undefined if input.subject.claims.nothing with input as {}

test_false := false

test_errs if {
	x := {1: y | some y in [1, 2]}
	count(x) == 1
}

# A built-in error makes an expression undefined in a test, as in stock opa.
test_builtin_error if {
	not outcomes.deny[{"id": "acme.outcomes/text"}] with input.sql.text as 7
}

test_prints if {
	print("seen:", input) with input as {"a": 1}
}

todo_test_later if false

test_same_name if true

test_same_name if false

test_cases[name] if {
	some name, verbs in {"drop": ["drop"], "select": ["select"]}
	outcomes.deny == set() with input.action.verbs as verbs
}

test_mocked if {
	count([1, 2]) == 7 with count as 7
}
