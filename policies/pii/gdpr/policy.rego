# METADATA
# title: Personal data (GDPR)
# description: |
#   Masks personal data for everybody who is not a member of `exempt`: columns whose
#   name, in any table, matches a pattern of `names`, columns in `fields` by their
#   full name, and values of the kinds in `detect` in any text. Special categories
#   (Article 9: health, religion, ethnicity, …) are in `special`; they are hidden
#   from everybody who is not a member of `special_for`, and nobody else may filter
#   by them.
#   A name says what is in a column only by custom: the patterns find what is named
#   as usual and are no substitute for `fields`. A statement of which regate does
#   not know the columns is denied.
#   Settings: names, special, fields, detect (objects whose values are masks without
#   id and field, e.g. {"method": "partial", "keep": 4}; the keys of names and special
#   are patterns of a column's name in lower case, * for any letters), exempt,
#   special_for (lists of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.pii_gdpr

import data.regate.lib.principal

names := site if {
	site := data.regate.settings.pii_gdpr.names
} else := data.regate.defaults.pii_gdpr.names

special := site if {
	site := data.regate.settings.pii_gdpr.special
} else := data.regate.defaults.pii_gdpr.special

fields := site if {
	site := data.regate.settings.pii_gdpr.fields
} else := data.regate.defaults.pii_gdpr.fields

detect := site if {
	site := data.regate.settings.pii_gdpr.detect
} else := data.regate.defaults.pii_gdpr.detect

exempt := site if {
	site := data.regate.settings.pii_gdpr.exempt
} else := data.regate.defaults.pii_gdpr.exempt

special_for := site if {
	site := data.regate.settings.pii_gdpr.special_for
} else := data.regate.defaults.pii_gdpr.special_for

settings_known if {
	is_object(names)
	is_object(special)
	is_object(fields)
	is_object(detect)
	is_array(exempt)
	is_array(special_for)
}

# named are the columns of the request and the last part of each name.
named[column] := lower(parts[count(parts) - 1]) if {
	some column in input.resource.column_names
	parts := split(column, ".")
}

mask contains object.union(how, {"id": "regate.pii_gdpr/name", "field": column}) if {
	settings_known
	not is_exempt
	some column, name in named
	some pattern, how in names
	glob.match(pattern, null, name)
}

special_columns[column] contains how if {
	settings_known
	some column, name in named
	some pattern, how in special
	glob.match(pattern, null, name)
}

mask contains object.union(how, {"id": "regate.pii_gdpr/special", "field": column}) if {
	settings_known
	not sees_special
	some column, methods in special_columns
	some how in methods
}

mask contains object.union(how, {"id": "regate.pii_gdpr/field", "field": field}) if {
	settings_known
	not is_exempt
	some field, how in fields
}

mask contains object.union(how, {"id": "regate.pii_gdpr/detect", "detect": kind}) if {
	settings_known
	not is_exempt
	some kind, how in detect
}

deny contains {
	"id": "regate.pii_gdpr/filter", "severity": "high",
	"msg": sprintf("%s is of a special category: it cannot be used to filter, join, sort or group", [column]),
	"hint": "Leave the column out of WHERE, ON, ORDER BY and GROUP BY.",
} if {
	settings_known
	not sees_special
	some column in input.sql.statement.predicate_columns
	column in object.keys(special_columns)
}

deny contains {
	"id": "regate.pii_gdpr/columns", "severity": "medium",
	"msg": sprintf("it is not known which columns of %s this reads, so personal data could not be masked", [table]),
	"hint": "Name the columns.",
} if {
	input.stage == "request"
	not is_exempt
	some table, about in input.resource.tables
	"*" in about.columns
}

is_exempt if principal.in_any(exempt)

sees_special if principal.in_any(special_for)

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

deny contains {"id": "regate.pii_gdpr/input", "severity": "high", "msg": "what regate.pii_gdpr is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.pii_gdpr/settings", "msg": "the settings of regate.pii_gdpr are missing or of the wrong type"} if {
	not settings_known
}
