package lint

import (
	"cmp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Severity says how bad a finding is.
type Severity string

// Severities, the worst first.
const (
	// Error: the gateway refuses it, or it can never work.
	Error Severity = "error"
	// Warning: it works, but hardly as it is meant.
	Warning Severity = "warning"
	// Info: worth knowing.
	Info Severity = "info"
)

// rank orders severities, the worst first.
func (s Severity) rank() int {
	return slices.Index([]Severity{Error, Warning, Info}, s)
}

// AtLeast reports whether s is as bad as o, or worse.
func (s Severity) AtLeast(o Severity) bool { return s.rank() <= o.rank() }

// Finding is one thing that a check found.
type Finding struct {
	ID       string   `json:"id"` // of the check, stable
	Severity Severity `json:"severity"`
	File     string   `json:"file"`   // as it was given; "" where it is not one file's
	Line     int      `json:"line"`   // 1-based; 0 without a place
	Column   int      `json:"column"` // 1-based, in characters; 0 without a place
	Message  string   `json:"message"`
	Fix      string   `json:"fix"`
	Source   string   `json:"source,omitempty"` // the line itself

	rule *ast.Location // of the rule that it is about; an ignore comment above it counts
}

func sortFindings(list []Finding) []Finding {
	slices.SortStableFunc(list, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Severity.rank(), b.Severity.rank()), strings.Compare(a.ID, b.ID), strings.Compare(a.Message, b.Message))
	})
	return slices.CompactFunc(list, func(a, b Finding) bool {
		return a.File == b.File && a.Line == b.Line && a.Column == b.Column && a.ID == b.ID && a.Message == b.Message
	})
}
