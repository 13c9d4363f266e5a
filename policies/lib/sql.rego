# METADATA
# title: SQL statements
# description: Tests of what a statement does. They hold at stage request and response.
# scope: package
# schemas:
#   - input: schema.postgres
package regate.lib.sql

# METADATA
# description: An agent connects; there is no statement yet.
connects if {
	input.stage == "session"
	input.action.verb == "connect"
}

# METADATA
# description: |
#   The statement was understood and changes nothing: no data, no schema, no
#   server state, no locks.
reads_only if {
	input.stage != "session"
	input.complete == true
	input.action.writes == false
	input.action.ddl == false
	input.action.opaque == false
	input.action.locks == false
}

# METADATA
# description: The statement creates, changes or removes rows, and nothing else.
changes_rows if {
	input.stage != "session"
	input.complete == true
	input.action.writes == true
	input.action.ddl == false
	input.action.opaque == false
	input.action.verb in {"insert", "update", "delete", "merge"}
}

# METADATA
# description: Every table that the statement touches is one of these schemas.
only_in_schemas(schemas) if {
	every schema in input.resource.schema_names {
		schema in schemas
	}
}

# METADATA
# description: The statement touches tables, and all of them are temporary.
only_temporary_tables if {
	count(input.resource.tables) > 0
	every table in input.resource.tables {
		table.kind == "temporary"
	}
}
