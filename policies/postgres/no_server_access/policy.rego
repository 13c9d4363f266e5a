# METADATA
# title: No way to the server
# description: |
#   Denies what reaches past tables to the server itself, its files, other servers
#   and other sessions: COPY from or to files and programs, functions that read
#   files, reach other databases, read pages, or act on sessions, and relations of the
#   catalogue that hold samples of columns, passwords, or what others do.
#   It is about what a statement names. Code that is not in its text is for
#   `complete`.
#   It reads input.sql.statement, so decisions are cached by that alone.
#   Settings: functions, relations (lists of patterns of "schema.name"; * stands for any
#   letters), exempt (list of groups).
# scope: package
# schemas:
#   - input: schema.postgres
# custom:
#   regate: {protocols: [postgres], mode: enforce}
package regate.policies.regate.sql_no_server_access

import data.regate.lib.principal

functions := site if {
	site := data.regate.settings.sql_no_server_access.functions
} else := data.regate.defaults.sql_no_server_access.functions

relations := site if {
	site := data.regate.settings.sql_no_server_access.relations
} else := data.regate.defaults.sql_no_server_access.relations

exempt := site if {
	site := data.regate.settings.sql_no_server_access.exempt
} else := data.regate.defaults.sql_no_server_access.exempt

settings_known if {
	is_array(functions)
	is_array(relations)
	is_array(exempt)
	every pattern in array.concat(functions, relations) {
		is_string(pattern)
	}
}

deny contains {
	"id": "regate.sql_no_server_access/copy", "severity": "critical",
	"msg": sprintf("COPY with a %s of the server is not allowed", [input.sql.statement.copy_to]),
	"hint": "Use COPY … TO STDOUT or FROM STDIN.",
} if {
	input.sql.statement.copy_to in {"file", "program"}
	not is_exempt
}

deny contains {
	"id": "regate.sql_no_server_access/function", "severity": "high",
	"msg": sprintf("%s is not allowed: it reaches past tables", [name]),
	"hint": "Leave the function out.",
} if {
	settings_known
	some name in input.resource.function_names
	some pattern in functions
	glob.match(pattern, null, name)
	not is_exempt
}

deny contains {
	"id": "regate.sql_no_server_access/relation", "severity": "high",
	"msg": sprintf("%s is not allowed: it shows what others hold or do", [name]),
	"hint": "Leave the relation out.",
} if {
	settings_known
	some name in input.resource.table_names
	some pattern in relations
	glob.match(pattern, null, name)
	not is_exempt
}

is_exempt if principal.in_any(exempt)

# What the rules above read has to be there: without it they would be silent.
input_known if {
	is_array(input.resource.function_names)
	is_array(input.resource.table_names)
	detail_known
}

detail_known if input.stage == "session" # there is nothing yet

detail_known if {
	is_string(input.sql.statement.copy_to)
}

deny contains {"id": "regate.sql_no_server_access/input", "severity": "high", "msg": "what regate.sql_no_server_access is asked about is not as it should be"} if {
	not input_known
}

deny contains {"id": "regate.sql_no_server_access/settings", "msg": "the settings of regate.sql_no_server_access are missing or of the wrong type"} if {
	not settings_known
}
