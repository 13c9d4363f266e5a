package catalog

// Category says what is known of what a function does. The zero value is
// "nothing": such a function is opaque.
type Category string

// The categories. Only Safe and ReadsCatalog have no effect and reach no data
// beyond their arguments and the catalogue.
const (
	Unknown      Category = ""              // not reviewed: may do anything
	Safe         Category = "safe"          // its result depends on its arguments, the clock or chance alone
	ReadsCatalog Category = "reads_catalog" // also reads names and definitions
	SessionState Category = "session_state" // reads or sets parameters of the session
	Writes       Category = "writes"        // changes sequences, locks, large objects
	Carries      Category = "carries"       // writes, and puts its arguments where no mask follows them
	Dangerous    Category = "dangerous"     // runs SQL in a string, reads files or memory, controls the server
)
