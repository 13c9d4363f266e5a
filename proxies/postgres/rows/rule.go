package rows

import "github.com/regate-dev/regate/engine/mask"

// Rule says what happens to the values of one column. The zero Rule passes
// them. Whole wins over Spec, Spec over Detect.
type Rule struct {
	// Whole replaces every value by the strongest marker that the column's type
	// can hold. It is for values whose origin is not known.
	Whole bool
	// Spec masks every value as that of a field; Field, "schema.table.column",
	// separates the hashes of one field from those of another.
	Spec  *mask.Spec
	Field string
	// Detect looks for sensitive values in every value; DetectSpec says how a
	// kind that is found is masked. Without DetectSpec what is found is redacted.
	Detect     *mask.Detector
	DetectSpec func(kind string) mask.Spec
}

func (r *Rule) pass() bool { return !r.Whole && r.Spec == nil && r.Detect == nil }

func (r *Rule) detected(kind string) mask.Spec {
	if r.DetectSpec == nil {
		return mask.Spec{Method: mask.Redact}
	}
	return r.DetectSpec(kind)
}

// Column is one column of a result set or of a COPY, in order.
type Column struct {
	Name    string // only used to check the header line of a COPY; "" is not checked
	TypeOID uint32 // as in RowDescription; 0 is a type that is not known
	Binary  bool   // the column's format code is 1; COPY overrides it
	// Text says that the type's text and binary forms are plain text although
	// its OID is not one of PostgreSQL's own: citext, found in the catalogue.
	Text bool
	Rule Rule
}
