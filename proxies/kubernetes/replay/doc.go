// Package replay shows what was recorded of exec and attach again: for a person
// at a terminal, and as asciicast v2, the format of asciinema.
//
// It imports nothing of regate.
package replay

// The formats of what is recorded of a stream.
const (
	Stdin   = "kubernetes/stdin"
	Stdout  = "kubernetes/stdout"
	Stderr  = "kubernetes/stderr"
	Exit    = "kubernetes/exit"   // a Status: how the command ended; of a connection to a port: why it failed
	Resize  = "kubernetes/resize" // {"Width":80,"Height":24}
	PortIn  = "kubernetes/port-in"
	PortOut = "kubernetes/port-out"
)

// Formats are those that a Terminal shows.
var Formats = []string{Stdin, Stdout, Stderr, Exit, Resize}
