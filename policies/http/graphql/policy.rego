# METADATA
# title: GraphQL guardrails
# description: |
#   Bounds GraphQL requests: depth, number of fields, operations in a batch, and no
#   introspection. Fields in `denied` may not be asked for, at the top or below;
#   mutations are for members of `mutate_for` alone, and subscriptions for nobody
#   unless `subscriptions` is true.
#   Settings: depth, size, batch (numbers), introspection, subscriptions (booleans),
#   denied (patterns of paths, as "orders.customer.email", or top fields, as
#   "Mutation.purge"; * stands for any letters), mutate_for, exempt (lists of groups).
# scope: package
# schemas:
#   - input: schema.http
# custom:
#   regate: {protocols: [http], mode: enforce}
package regate.policies.regate.http_graphql

import data.regate.lib.principal

depth := site if {
	site := data.regate.settings.http_graphql.depth
} else := data.regate.defaults.http_graphql.depth

size := site if {
	site := data.regate.settings.http_graphql.size
} else := data.regate.defaults.http_graphql.size

batch := site if {
	site := data.regate.settings.http_graphql.batch
} else := data.regate.defaults.http_graphql.batch

introspection := site if {
	site := data.regate.settings.http_graphql.introspection
} else := data.regate.defaults.http_graphql.introspection

subscriptions := site if {
	site := data.regate.settings.http_graphql.subscriptions
} else := data.regate.defaults.http_graphql.subscriptions

denied := site if {
	site := data.regate.settings.http_graphql.denied
} else := data.regate.defaults.http_graphql.denied

mutate_for := site if {
	site := data.regate.settings.http_graphql.mutate_for
} else := data.regate.defaults.http_graphql.mutate_for

exempt := site if {
	site := data.regate.settings.http_graphql.exempt
} else := data.regate.defaults.http_graphql.exempt

settings_known if {
	is_number(depth)
	is_number(size)
	is_number(batch)
	is_boolean(introspection)
	is_boolean(subscriptions)
	is_array(denied)
	is_array(mutate_for)
	is_array(exempt)
	every pattern in denied {
		is_string(pattern)
	}
}

applies if {
	settings_known
	input.stage == "request"
	input.action.graphql != ""
	not is_exempt
}

is_exempt if principal.in_any(exempt)

operations := input.http.body.graphql

deny contains {
	"id": "regate.http_graphql/too-deep", "severity": "low",
	"msg": sprintf("the query is %d deep, at most %d are allowed", [operation.depth, depth]),
} if {
	applies
	some operation in operations
	operation.depth > depth
}

deny contains {
	"id": "regate.http_graphql/too-large", "severity": "low",
	"msg": sprintf("the request asks for %d fields, at most %d are allowed", [total, size]),
} if {
	applies
	total := sum([operation.size | some operation in operations])
	total > size
}

deny contains {
	"id": "regate.http_graphql/batch", "severity": "low",
	"msg": sprintf("the request has %d operations, at most %d are allowed", [count(operations), batch]),
} if {
	applies
	count(operations) > batch
}

deny contains {
	"id": "regate.http_graphql/introspection", "severity": "low",
	"msg": "introspection is not allowed",
} if {
	applies
	introspection == false
	some operation in operations
	operation.introspection == true
}

deny contains {
	"id": "regate.http_graphql/field", "severity": "medium",
	"msg": sprintf("%s may not be asked for", [name]),
} if {
	applies
	some name in names
	some pattern in denied
	glob.match(pattern, null, name)
}

names contains name if some name in input.resource.field_names

names contains path if {
	some operation in operations
	some path in operation.paths
}

deny contains {
	"id": "regate.http_graphql/mutation", "severity": "medium",
	"msg": "mutations are not allowed",
	"hint": "Use queries, or ask for an identity that may change things.",
} if {
	applies
	input.action.graphql == "mutation"
	not may_mutate
}

may_mutate if principal.in_any(mutate_for)

deny contains {
	"id": "regate.http_graphql/subscription", "severity": "low",
	"msg": "subscriptions are not allowed",
} if {
	applies
	input.action.graphql == "subscription"
	subscriptions == false
}

# A request that says that it is GraphQL and of which no operation could be read.
deny contains {
	"id": "regate.http_graphql/unreadable", "severity": "medium",
	"msg": "no operation could be read in this GraphQL request",
} if {
	applies
	not count(operations) > 0
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_string(input.action.graphql)
	is_array(input.resource.field_names)
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_array(input.http.body.graphql)
	every operation in input.http.body.graphql {
		is_number(operation.depth)
		is_number(operation.size)
		is_boolean(operation.introspection)
		is_array(operation.paths)
	}
}

deny contains {"id": "regate.http_graphql/input", "severity": "high", "msg": "what regate.http_graphql is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.http_graphql/settings", "msg": "the settings of regate.http_graphql are missing or of the wrong type"} if {
	not settings_known
}
