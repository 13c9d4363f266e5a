package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Severity of a problem. An Error stops the gateway from starting.
type Severity string

// The two severities.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Ids of problems: stable, documented, findable.
const (
	IDSyntax      = "config/syntax"         // not YAML, or not one mapping
	IDUnknownKey  = "config/unknown-key"    // a key that means nothing here
	IDDuplicate   = "config/duplicate"      // a key or a name given twice
	IDType        = "config/wrong-type"     // a list where a string belongs
	IDMissing     = "config/missing"        // a required setting
	IDInvalid     = "config/invalid"        // a value that cannot be understood or is out of range
	IDUndefined   = "config/undefined"      // a reference to nothing
	IDNoEffect    = "config/no-effect"      // a setting that can never take effect
	IDConflict    = "config/conflict"       // settings that contradict each other
	IDInsecure    = "config/insecure"       // works, but gives away what it should protect
	IDSecret      = "config/secret"         // a reference that cannot be resolved
	IDLiteral     = "config/secret-literal" // a secret written into the file
	IDFileMissing = "config/file-missing"   // a file that is not there or cannot be read
	IDBundle      = "config/bundle"         // a policy bundle that would not be put in force
)

// A Problem is one thing wrong with the configuration.
type Problem struct {
	File     string   // the file, "REGATE_…" or "--flag"; empty if nothing was given anywhere
	Line     int      // 1-based; 0 outside the file
	Key      string   // path of the setting: targets[0].tls.mode
	ID       string   // one of the ID constants
	Msg      string   // what is wrong
	Fix      string   // what to do, if that is not obvious
	Severity Severity // Error or Warning
}

// String is one line: place, severity, key, message, fix and id. Values of
// secrets never appear in it.
func (p Problem) String() string {
	var b strings.Builder
	if p.File != "" {
		b.WriteString(p.File)
		if p.Line > 0 {
			fmt.Fprintf(&b, ":%d", p.Line)
		}
		b.WriteString(": ")
	}
	b.WriteString(string(p.Severity) + ": ")
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Msg)
	if p.Fix != "" {
		b.WriteString("; " + p.Fix)
	}
	b.WriteString(" [" + p.ID + "]")
	return b.String()
}

// HasErrors reports whether any problem is an Error.
func HasErrors(ps []Problem) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error })
}

func sortProblems(ps []Problem) {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Key, b.Key), cmp.Compare(a.ID, b.ID))
	})
}

// origin is where a setting came from; the zero origin is the default.
type origin struct {
	source string // file name, REGATE_NAME or --flag
	line   int
}

func (o origin) String() string {
	switch {
	case o.source == "":
		return "default"
	case o.line > 0:
		return fmt.Sprintf("%s:%d", o.source, o.line)
	default:
		return o.source
	}
}
