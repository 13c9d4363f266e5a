package input

// SQLAction is `input.action` for a SQL statement: flat scalars at fixed
// paths, so that rules on them are indexed.
type SQLAction struct {
	// Verb is the strongest thing that the statement does anywhere: a SELECT
	// whose CTE deletes is "delete", EXPLAIN and PREPARE take the inner
	// statement's verb, SELECT INTO is "create", COPY t FROM is "insert",
	// COPY t TO STDOUT is "select". "connect" at stage session; "unknown" where
	// the statement could not be analysed.
	Verb string `json:"verb"`
	// Verbs are all verbs found anywhere in the statement, sorted.
	Verbs []string `json:"verbs"`
	// Writes: the statement changes data, schema or server state, or may
	// (an opaque part counts as a write).
	Writes bool `json:"writes"`
	// DDL: the statement changes the schema, roles or grants.
	DDL bool `json:"ddl"`
	// HasWhere is false when any UPDATE or DELETE in the statement lacks a
	// WHERE clause; null when there is no UPDATE or DELETE and the main
	// statement is not a SELECT.
	HasWhere *bool `json:"has_where"`
	// WhereConstant is true when some WHERE clause refers to no column (as in
	// WHERE true or WHERE 1=1); null when there is no WHERE clause.
	WhereConstant *bool `json:"where_constant"`
	// Limit is the outermost LIMIT when it is a literal; null otherwise.
	Limit *int64 `json:"limit"`
	// Returning: an INSERT, UPDATE, DELETE or MERGE returns rows.
	Returning bool `json:"returning"`
	// Opaque: the text of something that will run is not in the statement (DO,
	// built strings, functions not known to be harmless).
	Opaque bool `json:"opaque"`
	// Locks: FOR UPDATE and its kin, or LOCK.
	Locks bool `json:"locks"`
	// Explain: "" or "plan" or "analyze".
	Explain string `json:"explain"`
}

// SQLResource is `input.resource` for a SQL statement. Names are resolved
// against the target's catalogue and never quoted: "schema.table".
type SQLResource struct {
	Kind          string              `json:"kind"`  // "table", "database", "function", "schema", "setting", "role", "none", "unknown"
	Names         []string            `json:"names"` // the names of Kind, sorted
	Tables        map[string]SQLTable `json:"tables"`
	TableNames    []string            `json:"table_names"`    // keys of Tables, sorted
	ColumnNames   []string            `json:"column_names"`   // "schema.table.column", read or written, sorted
	FunctionNames []string            `json:"function_names"` // "schema.name", sorted
	SchemaNames   []string            `json:"schema_names"`   // of tables and functions, sorted
	SettingNames  []string            `json:"setting_names"`  // parameters that SET, RESET or set_config change, sorted
}

// SQLTable is one relation that the statement touches.
type SQLTable struct {
	Kind    string   `json:"kind"`    // "table", "view", "materialized_view", "partitioned_table", "foreign_table", "sequence", "temporary", "unknown"
	Access  []string `json:"access"`  // of "read", "insert", "update", "delete", "truncate", "lock", "ddl", sorted
	Columns []string `json:"columns"` // columns read or written, sorted; "*" where not known which
	Written []string `json:"written"` // columns written, sorted; "*" where not known which
	Via     []string `json:"via"`     // views, parents or cascades through which it is reached; empty when named directly
}

// SQL is `input.sql`.
type SQL struct {
	Text        string       `json:"text"`
	Command     string       `json:"command"`     // the statement's own kind, e.g. "select", "explain", "copy", "create table"
	Fingerprint string       `json:"fingerprint"` // libpg_query's, "" where it could not be parsed
	Batch       SQLBatch     `json:"batch"`
	Mode        string       `json:"mode"` // "simple", "extended" or "function_call"
	SearchPath  []string     `json:"search_path"`
	Statement   SQLStatement `json:"statement"`
	AST         any          `json:"ast"` // libpg_query's JSON tree when an active policy reads it, else null
}

// SQLBatch places a statement among those sent with it.
type SQLBatch struct {
	Index int `json:"index"` // from 0
	Size  int `json:"size"`
}

// SQLStatement holds what is known of the statement beside action and resource.
type SQLStatement struct {
	PredicateColumns []string  `json:"predicate_columns"` // "schema.table.column" used to filter, join, sort or group, sorted
	WrittenColumns   []string  `json:"written_columns"`   // "schema.table.column", sorted
	Flows            []SQLFlow `json:"flows"`             // columns that get what other columns hold, by to; a temporary table's or a view's own lineage is followed elsewhere
	Objects          []string  `json:"objects"`           // names of objects that DDL creates, changes or drops, sorted
	ObjectKind       string    `json:"object_kind"`       // "table", "index", "function", … "" when not DDL
	Cascade          bool      `json:"cascade"`           // DROP or TRUNCATE … CASCADE
	CopyTo           string    `json:"copy_to"`           // "", "stdout", "stdin", "file" or "program"
	Cursor           string    `json:"cursor"`            // DECLARE, FETCH, MOVE, CLOSE
	Prepared         string    `json:"prepared"`          // PREPARE, EXECUTE, DEALLOCATE
	Transaction      string    `json:"transaction"`       // "begin", "commit", "rollback", "savepoint", …
}

// SQLFlow is a column that the statement gives values of other columns.
type SQLFlow struct {
	To   string   `json:"to"`   // "schema.table.column", "schema.table.*" where it is not known which, "*" where the statement does not name it (setval)
	From []string `json:"from"` // "schema.table.column", sorted; "*" among them: others, too, that are not known
}

// Parameter is one bind parameter as it will be sent.
type Parameter struct {
	Index int    `json:"index"` // from 1
	Type  string `json:"type"`  // PostgreSQL's type name, "unknown" where not known
	// Value is the parameter in PostgreSQL's text form, null for NULL. A binary
	// parameter of a type that regate cannot read is base64, see Encoding.
	Value    *string `json:"value"`
	Encoding string  `json:"encoding"` // "text" or "base64"
}
