# METADATA
# title: Budgets
# description: |
#   What a subject, an actor and a task may use, in a UTC day and in an hour, across
#   sessions, gateways and restarts: rows and bytes shown, requests let through, and
#   sensitive values shown (of fields that a mask names or that
#   data.regate.settings.sensitive.fields has). What is left of rows and bytes also
#   limits the request itself, rounded down to one digit, so that it seldom changes
#   under an approval.
#   Who acts under a task says so itself, so a budget of tasks needs one of subjects
#   for the same: with none, the pack denies. What is not known is denied.
#   It reads usage, so what it applies to is decided anew each time: no decision comes
#   from the cache.
#   Settings: subject, actor, task (objects of "day" and "hour": objects of "rows",
#   "bytes", "requests", "sensitive": numbers; what is left out or 0 is not limited),
#   task_required (boolean: who names no task is refused), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.common
# custom:
#   regate: {mode: enforce}
package regate.policies.regate.budget

import data.regate.lib.principal

subject := site if {
	site := data.regate.settings.budget.subject
} else := data.regate.defaults.budget.subject

actor := site if {
	site := data.regate.settings.budget.actor
} else := data.regate.defaults.budget.actor

task := site if {
	site := data.regate.settings.budget.task
} else := data.regate.defaults.budget.task

task_required := site if {
	site := data.regate.settings.budget.task_required
} else := data.regate.defaults.budget.task_required

exempt := site if {
	site := data.regate.settings.budget.exempt
} else := data.regate.defaults.budget.exempt

budgets := {"subject": subject, "actor": actor, "task": task}

counted := {"rows", "bytes", "requests", "sensitive"}

windows := {"day", "hour"}

settings_known if {
	is_array(exempt)
	is_boolean(task_required)
	every of_one in budgets {
		is_object(of_one)
		every window, most in of_one {
			window in windows
			is_object(most)
			every what, number in most {
				what in counted
				is_number(number)
				number >= 0
			}
		}
	}
	every window in windows {
		every what in counted {
			task_is_capped(window, what)
		}
	}
}

# An agent can name another task for every request, so what its tasks may use
# together has to be bounded, too.
task_is_capped(window, what) if object.get(task, [window, what], 0) == 0

task_is_capped(window, what) if object.get(subject, [window, what], 0) > 0

# used is what one of them has used of something. Denied requests are not used.
used(of_one, window, what) := input.usage[of_one][window][what] if what != "requests"

used(of_one, window, "requests") := input.usage[of_one][window].requests - input.usage[of_one][window].denials

applies if {
	input.stage == "request"
	settings_known
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# known says that there are numbers for whom a budget is given.
known if {
	counts_known(input.usage.subject)
	usage_of_task_known
	usage_of_actor_known
}

usage_of_task_known if counts_known(input.usage.task)

usage_of_task_known if {
	is_null(input.usage.task)
	input.asserted.task == ""
}

usage_of_actor_known if counts_known(input.usage.actor)

usage_of_actor_known if {
	is_null(input.usage.actor)
	is_null(input.actor)
}

counts_known(of_one) if {
	every window in windows {
		every what in {"rows", "bytes", "requests", "denials", "sensitive"} {
			is_number(of_one[window][what])
		}
	}
}

deny contains {
	"id": "regate.budget/unknown", "severity": "medium",
	"msg": "how much was used before is not known at present",
	"hint": "Try again in a few seconds.",
} if {
	applies
	not known
}

deny contains {
	"id": "regate.budget/task-missing",
	"msg": "requests need the name of a task",
	"hint": "Say which task this is for when you connect.",
} if {
	applies
	task_required
	not input.asserted.task != ""
}

# left are what budgets have left, by what.
left[what] contains most - used(of_one, window, what) if {
	applies
	some of_one, by_window in budgets
	some window, by_what in by_window
	some what, most in by_what
	most > 0
}

deny contains {
	"id": sprintf("regate.budget/%s", [what]), "severity": "medium",
	"msg": sprintf("the budget of %s is used up: %d of %d %s", [whose, used(of_one, window, what), most, during[window]]),
	"hint": again[window],
} if {
	applies
	some of_one, by_window in budgets
	some window, by_what in by_window
	some what, most in by_what
	most > 0
	used(of_one, window, what) >= most
	whose := sprintf("%s for the %s", [nouns[what], of_one])
}

nouns := {"rows": "rows", "bytes": "bytes", "requests": "requests", "sensitive": "sensitive values"}

during := {"day": "today (UTC)", "hour": "within an hour"}

again := {"day": "Go on after 00:00 UTC, or ask for a larger budget.", "hour": "Go on in an hour, or ask for a larger budget."}

limit contains {"id": "regate.budget/rows-left", "rows": one_digit(min(left.rows))} if min(left.rows) > 0

limit contains {"id": "regate.budget/bytes-left", "bytes": one_digit(min(left.bytes))} if min(left.bytes) > 0

powers := [1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000, 100000000000000, 1000000000000000]

# one_digit rounds down to a number of which only the first digit is not 0.
one_digit(n) := floor(n / power) * power if power := max([p | some p in powers; p <= n])

deny contains {"id": "regate.budget/settings", "msg": "the settings of regate.budget are missing or of the wrong type"} if {
	not settings_known
}
