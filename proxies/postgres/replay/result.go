package replay

// Column is one column of a result.
type Column struct {
	Name    string `json:"name"`
	Type    string `json:"type,omitempty"` // PostgreSQL's name of the type, where it is one of its own
	TypeOID uint32 `json:"type_oid,omitempty"`

	format format
}

// format is how a column's values are written.
type format uint8

const (
	formatText format = iota
	formatBinary
	formatUnknown // either: the value itself must tell
)

// Report is an error or a notice.
type Report struct {
	Severity   string `json:"severity"`
	Code       string `json:"code"` // SQLSTATE
	Message    string `json:"message"`
	Detail     string `json:"detail,omitempty"`
	Hint       string `json:"hint,omitempty"`
	Context    string `json:"context,omitempty"`
	Schema     string `json:"schema,omitempty"`
	Table      string `json:"table,omitempty"`
	Column     string `json:"column,omitempty"`
	DataType   string `json:"data_type,omitempty"`
	Constraint string `json:"constraint,omitempty"`
}

// Result is what one statement gave.
type Result struct {
	Columns []Column    `json:"columns,omitempty"`
	Rows    [][]*string `json:"rows,omitempty"` // nil is NULL; binary values are decoded
	Copy    string      `json:"copy,omitempty"` // the data of a COPY TO STDOUT in text or csv format
	// CopyBinary is the data of a COPY TO STDOUT in binary format.
	CopyBinary []byte   `json:"copy_binary,omitempty"`
	Tag        string   `json:"tag,omitempty"`       // such as "SELECT 2"; empty when the statement did not end
	Suspended  bool     `json:"suspended,omitempty"` // a row limit of the agent was reached
	Notices    []Report `json:"notices,omitempty"`
	Error      *Report  `json:"error,omitempty"`
}
