# METADATA
# title: Row limits
# description: |
#   Limits what one statement may return and how long it may run. A member of a
#   group in `rows_by_group` gets the largest number of its groups instead of `rows`.
#   0 means no limit.
#   Settings: rows, bytes, seconds (whole numbers), rows_by_group (object of
#   {"rows": number}).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_row_limits

rows_for_others := site if {
	site := data.regate.settings.sql_row_limits.rows
} else := data.regate.defaults.sql_row_limits.rows

bytes := site if {
	site := data.regate.settings.sql_row_limits.bytes
} else := data.regate.defaults.sql_row_limits.bytes

seconds := site if {
	site := data.regate.settings.sql_row_limits.seconds
} else := data.regate.defaults.sql_row_limits.seconds

rows_by_group := site if {
	site := data.regate.settings.sql_row_limits.rows_by_group
} else := data.regate.defaults.sql_row_limits.rows_by_group

settings_known if {
	rows_for_others >= 0
	is_number(rows_for_others)
	bytes >= 0
	is_number(bytes)
	seconds >= 0
	is_number(seconds)
	every how in rows_by_group {
		is_number(how.rows)
	}
}

of_groups := {how.rows |
	some group, how in rows_by_group
	group in input.subject.groups
}

unlimited if 0 in of_groups

rows := max(of_groups) if {
	count(of_groups) > 0
	not unlimited
}

rows := rows_for_others if count(of_groups) == 0

limit contains {"id": "regate.sql_row_limits/rows", "rows": rows} if {
	settings_known
	rows > 0
}

limit contains {"id": "regate.sql_row_limits/bytes", "bytes": bytes} if {
	settings_known
	bytes > 0
}

limit contains {"id": "regate.sql_row_limits/seconds", "seconds": seconds} if {
	settings_known
	seconds > 0
}

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.subject.groups)
}

deny contains {"id": "regate.sql_row_limits/input", "severity": "high", "msg": "what regate.sql_row_limits is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_row_limits/settings", "msg": "the settings of regate.sql_row_limits are missing or of the wrong type"} if {
	not settings_known
}
