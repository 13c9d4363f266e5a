# METADATA
# title: No copies of hidden columns
# description: |
#   A mask is on a column; what is copied into another one has none. This denies
#   statements that give a column without a mask what a hidden one holds, or may
#   hold, but for members of `exempt`: INSERT … SELECT, UPDATE, MERGE, CREATE TABLE
#   AS, SELECT INTO. It denies ALTER of tables that have hidden columns, and of
#   any schema, too: a column by another name has no mask. Temporary tables may get
#   copies: the mask follows them.
#   Hidden are `columns` and the `fields` of sql_pii_masks. It reads
#   input.sql.statement: decisions are cached by that, whatever the text says.
#   Settings: columns (list of "schema.table.column"), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_masked_copies

import data.regate.lib.principal

columns := site if {
	site := data.regate.settings.sql_masked_copies.columns
} else := data.regate.defaults.sql_masked_copies.columns

exempt := site if {
	site := data.regate.settings.sql_masked_copies.exempt
} else := data.regate.defaults.sql_masked_copies.exempt

settings_known if {
	is_array(columns)
	is_array(exempt)
	every column in columns {
		is_string(column)
	}
}

hidden contains column if some column in columns

hidden contains column if some column, _ in data.regate.settings.sql_pii_masks.fields

# tables are those that have hidden columns, as "schema.table".
tables contains concat(".", array.slice(parts, 0, 2)) if {
	some column in hidden
	parts := split(column, ".")
}

# may_hold says whether a source may be a hidden column. "*" is any column,
# "schema.table.*" any of a table.
may_hold(source) if source in hidden

may_hold(source) if {
	endswith(source, ".*")
	trim_suffix(source, ".*") in tables
}

may_hold("*") if count(hidden) > 0

deny contains {
	"id": "regate.sql_masked_copies/copy", "severity": "high",
	"msg": sprintf("%s would be given what a column holds that is masked for you", [flow.to]),
	"hint": "Leave masked columns out of what you write, or write to a temporary table.",
} if {
	some flow in input.sql.statement.flows
	not flow.to in hidden
	not startswith(flow.to, "pg_temp.")
	some source in flow.from
	may_hold(source)
	not is_exempt
}

deny contains {
	"id": "regate.sql_masked_copies/alter", "severity": "high",
	"msg": "what has columns that are masked for you cannot be altered",
	"hint": "Ask somebody who may see them.",
} if {
	"alter" in input.action.verbs
	alters_hidden
	not is_exempt
}

alters_hidden if {
	some name in input.resource.table_names
	name in tables
}

alters_hidden if {
	input.sql.statement.object_kind == "schema"
	count(hidden) > 0
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.action.verbs)
	is_array(input.resource.table_names)
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_string(input.sql.statement.object_kind)
	is_array(input.sql.statement.flows)
	every flow in input.sql.statement.flows {
		is_string(flow.to)
		is_array(flow.from)
	}
}

deny contains {"id": "regate.sql_masked_copies/input", "severity": "high", "msg": "what regate.sql_masked_copies is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_masked_copies/settings", "msg": "the settings of regate.sql_masked_copies are missing or of the wrong type"} if {
	not settings_known
}
