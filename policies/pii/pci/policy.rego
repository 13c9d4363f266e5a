# METADATA
# title: Card data (PCI DSS)
# description: |
#   Card numbers are shown by their last four digits, and only members of
#   `see_numbers` get more (PCI DSS 3.4.1). They cannot be used to filter by others,
#   which would give them away digit by digit. What authenticates a card (the code on
#   it, PIN, track data) is shown to nobody, and nobody may write it (3.3.1). Found
#   by the names of columns, in any table, by `numbers`, `authentication` and
#   `holders` (patterns of a column's name in lower case), by full name in `fields`,
#   and in any text by its form.
#   A name says what is in a column only by custom: name those that matter in
#   `fields`. A statement of which regate does not know the columns is denied.
#   Settings: numbers, authentication, holders (lists of patterns), fields (list of
#   "schema.table.column" that hold card numbers), see_numbers (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.pii_pci

import data.regate.lib.principal

numbers := site if {
	site := data.regate.settings.pii_pci.numbers
} else := data.regate.defaults.pii_pci.numbers

authentication := site if {
	site := data.regate.settings.pii_pci.authentication
} else := data.regate.defaults.pii_pci.authentication

holders := site if {
	site := data.regate.settings.pii_pci.holders
} else := data.regate.defaults.pii_pci.holders

fields := site if {
	site := data.regate.settings.pii_pci.fields
} else := data.regate.defaults.pii_pci.fields

see_numbers := site if {
	site := data.regate.settings.pii_pci.see_numbers
} else := data.regate.defaults.pii_pci.see_numbers

settings_known if {
	is_array(numbers)
	is_array(authentication)
	is_array(holders)
	is_array(fields)
	is_array(see_numbers)
	every pattern in array.flatten([numbers, authentication, holders, fields]) {
		is_string(pattern)
	}
}

matches(column, patterns) if {
	parts := split(column, ".")
	some pattern in patterns
	glob.match(pattern, null, lower(parts[count(parts) - 1]))
}

number_columns contains column if {
	settings_known
	some column in fields
}

number_columns contains column if {
	settings_known
	some column in input.resource.column_names
	matches(column, numbers)
}

mask contains {"id": "regate.pii_pci/number", "field": column, "method": "partial", "keep": 4} if {
	settings_known
	not sees_numbers
	some column in number_columns
}

mask contains {"id": "regate.pii_pci/detect", "detect": "credit_card", "method": "partial", "keep": 4} if {
	settings_known
	not sees_numbers
}

mask contains {"id": "regate.pii_pci/holder", "field": column, "method": "redact"} if {
	settings_known
	not sees_numbers
	some column in input.resource.column_names
	matches(column, holders)
}

deny contains {
	"id": "regate.pii_pci/authentication", "severity": "critical",
	"msg": sprintf("%s authenticates a card: it may not be read, written or stored", [column]),
	"hint": "Leave the column out.",
} if {
	settings_known
	some column in input.resource.column_names
	matches(column, authentication)
}

deny contains {
	"id": "regate.pii_pci/filter", "severity": "high",
	"msg": sprintf("%s holds card numbers and cannot be used to filter, join, sort or group", [column]),
	"hint": "Leave the column out of WHERE, ON, ORDER BY and GROUP BY.",
} if {
	settings_known
	not sees_numbers
	some column in input.sql.statement.predicate_columns
	column in number_columns
}

deny contains {
	"id": "regate.pii_pci/columns", "severity": "medium",
	"msg": sprintf("it is not known which columns of %s this touches, so card data could not be masked", [table]),
	"hint": "Name the columns.",
} if {
	input.stage == "request"
	some table, about in input.resource.tables
	"*" in about.columns
}

sees_numbers if principal.in_any(see_numbers)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.resource.column_names)
	is_object(input.resource.tables)
	every table in input.resource.tables {
		is_array(table.columns)
	}
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_array(input.sql.statement.predicate_columns)
}

deny contains {"id": "regate.pii_pci/input", "severity": "high", "msg": "what regate.pii_pci is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.pii_pci/settings", "msg": "the settings of regate.pii_pci are missing or of the wrong type"} if {
	not settings_known
}
