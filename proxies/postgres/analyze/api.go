package analyze

import (
	"github.com/regate-dev/regate/engine/input"
)

// Mode says how a statement reaches the server.
type Mode string

// The modes, as input.sql.mode shows them.
const (
	Simple       Mode = "simple"
	Extended     Mode = "extended"
	FunctionCall Mode = "function_call"
)

// Settings are the session's state that a statement's meaning depends on.
type Settings struct {
	// SearchPath are the schemas in the order in which the server looks,
	// pg_catalog included where it is implicit: current_schemas(true). The
	// session's own temporary schema may be left out; it is always looked at
	// first for relations and types, and never for functions.
	SearchPath []string
	// User is current_user.
	User string
	// Temp are the session's temporary relations; nil means that it has none.
	Temp *TempRelations
	Mode Mode
	// Prepared and Cursor return what is known of a prepared statement or a
	// cursor (a portal has the same namespace). A nil function and a nil
	// result mean that nothing is known.
	Prepared func(name string) *Statement
	Cursor   func(name string) *Statement
	// AST asks for libpg_query's JSON tree in Detail.
	AST bool
}

// TempRelations are a session's temporary relations. It is immutable.
type TempRelations struct {
	Relations []*TempRelation
	// Uncertain is true when the session may have others: then a name that is
	// not qualified is not resolved.
	Uncertain bool
}

// TempRelation is a temporary table or view, with where its values came from.
type TempRelation struct {
	Name    string
	Columns []Output
	// More: it is a view, or others inherit from it. What it reaches is not
	// known, only where its columns' values come from.
	More bool
}

// Batch is what one Query or Parse message holds.
type Batch struct {
	Text       string
	Statements []*Statement // empty for an empty query
}

// Statement is one analysed statement. It is immutable and may be shared.
type Statement struct {
	Index   int    // in the batch, from 0
	Text    string // its own bytes, without surrounding space and semicolon
	Command string // as input.sql.command

	// The parts of the input document.
	Action   *input.Part // input.SQLAction
	Resource *input.Part // input.SQLResource
	Detail   *input.Part // input.SQL
	Unknown  *input.Part // []input.Unknown
	Complete bool        // Unknown is empty

	Facts Facts
	// Outputs are the columns of the rows that the statement returns to the
	// client, or that COPY … TO STDOUT sends. OutputsKnown is false when it may
	// return rows whose columns are not known; then Outputs is empty.
	Outputs      []Output
	OutputsKnown bool
	// ReturnsRows is false for a statement that certainly returns none.
	ReturnsRows bool
	Effects     Effects
}

// Output is one column of a result.
type Output struct {
	Name string
	// Sources are the columns whose values can reach this one, as
	// "schema.table.column", sorted. A view's column is named together with
	// the columns below it, a child's column together with its parents' and
	// children's.
	Sources []string
	// Derivation is Exact when the value is that of one stored column,
	// unchanged; Constant when Sources is empty for certain; Opaque when there
	// may be more sources than those named.
	Derivation input.Derivation
}

// Facts are the analysis in Go's types: what Action, Resource and Detail are
// made of. The values are shared and must not be changed.
type Facts struct {
	Action    input.SQLAction
	Resource  input.SQLResource
	Statement input.SQLStatement
	Unknown   []input.Unknown
	// Touched are the relations that the statement reaches, directly or
	// through views, inheritance and foreign keys, sorted. Where Action.Opaque
	// is true there may be more.
	Touched []string
	// UsesColumns are the columns read anywhere in it, sorted.
	UsesColumns []string
}

// Effects are what a statement does beside reading and writing rows.
type Effects struct {
	// CatalogChange: names may mean something else afterwards.
	CatalogChange bool
	// Settings are the parameters that it sets.
	Settings []Setting
	// SettingsChange: session parameters, role or search path may have
	// changed, also where Settings cannot name them.
	SettingsChange bool
	// Transaction is "begin", "commit", "rollback", "savepoint", "release",
	// "rollback to", "prepare transaction", "commit prepared", "rollback
	// prepared"; "" for none. Chain is AND CHAIN.
	Transaction string
	Chain       bool
	// Creates is the relation that CREATE TABLE AS, SELECT INTO or CREATE VIEW
	// makes, with its lineage.
	Creates *Created
	// MayCreateTemp: the session may have temporary relations afterwards that
	// are not in Creates.
	MayCreateTemp bool
	// DropsTemp: temporary relations may be gone afterwards.
	DropsTemp bool

	// Flows are the columns that it writes with values of other columns.
	Flows []Flow

	Prepare    *Prepare
	Execute    *Execute
	Deallocate *Deallocate
	Declare    *Declare
	Fetch      *Fetch
	Close      *CloseCursor
	Copy       *Copy
	Discard    string // "all", "plans", "sequences" or "temp"
	Listen     string // channel
	Unlisten   string // channel or "*"
	Notify     string // channel
	Do         bool
	Call       bool
}

// Setting is one parameter that SET, RESET or set_config changes.
type Setting struct {
	Name string // lower case; "*" for RESET ALL and DISCARD ALL
	// Value is the new value, nil when it is the default or not in the text.
	Value *string
	Local bool
	Reset bool
	// Persistent is true for ALTER ROLE, ALTER DATABASE and ALTER SYSTEM.
	Persistent bool
}

// Flow is a column that is written with what other columns hold.
type Flow struct {
	Column     string // "schema.table.column", or "schema.table.*" where not known which
	Sources    []string
	Derivation input.Derivation
}

// Created is a relation that a statement makes.
type Created struct {
	Schema  string // "" when the search path decides
	Name    string
	Temp    bool
	View    bool
	Columns []Output
	// ColumnsKnown is false when Columns is not the truth.
	ColumnsKnown bool
}

// Prepare is SQL PREPARE.
type Prepare struct {
	Name  string
	Inner *Statement
}

// Execute is SQL EXECUTE. Inner is nil when the name is not known.
type Execute struct {
	Name  string
	Inner *Statement
}

// Deallocate is SQL DEALLOCATE; Name is "" for ALL.
type Deallocate struct{ Name string }

// Declare is DECLARE CURSOR.
type Declare struct {
	Name  string
	Inner *Statement
	Hold  bool
}

// Fetch is FETCH or MOVE. Inner is nil when the cursor is not known.
type Fetch struct {
	Name  string
	Inner *Statement
	Move  bool
}

// CloseCursor is CLOSE; Name is "" for ALL.
type CloseCursor struct{ Name string }

// Copy is COPY. Where it goes to the client, Statement.Outputs holds the
// columns.
type Copy struct {
	Direction string // "in" or "out"
	Peer      string // "stdin", "stdout", "file" or "program"
	Table     string // "schema.table", "" for a query
	Columns   []string
	Format    string // "text", "csv" or "binary"
	Delimiter string // "" for the format's own
	Null      *string
	Header    string // "", "true" or "match"
	Quote     string
	Escape    string
	Encoding  string
	// Other are options that are not read here, such as "force_quote".
	Other []string
}

// Reason is a stable id of why text cannot be analysed.
type Reason string

// The reasons.
const (
	ReasonParse       Reason = "postgres/parse-error"
	ReasonTooLong     Reason = "postgres/too-long"
	ReasonTooDeep     Reason = "postgres/too-deep"
	ReasonNUL         Reason = "postgres/nul-byte"
	ReasonInvalidUTF8 Reason = "postgres/invalid-utf8"
)

// ParseError says why text cannot be analysed. Such text must not run.
type ParseError struct {
	Reason  Reason
	Message string
	// Position is the byte where it was noticed, from 1; 0 when not known.
	Position int
}

func (e *ParseError) Error() string { return e.Message }
