package policy

import (
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Problem is one reason why policies do not load, with its place.
type Problem struct {
	File   string `json:"file"`   // "" where the problem is not one file's
	Line   int    `json:"line"`   // 1-based; 0 without a place
	Column int    `json:"column"` // 1-based; 0 without a place
	Code   string `json:"code"`   // OPA's, e.g. rego_type_error, or regate_…
	Text   string `json:"text"`
}

// String returns "file:line: code: text" as far as they are known.
func (p Problem) String() string {
	var b strings.Builder
	switch {
	case p.File != "" && p.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	case p.File != "":
		b.WriteString(p.File + ": ")
	}
	if p.Code != "" {
		b.WriteString(p.Code + ": ")
	}
	b.WriteString(p.Text)
	return b.String()
}

// Problems are all that is wrong with policies, as one error.
type Problems []Problem

// Error lists every problem, one a line.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// problemsOf takes an error apart. file is the place of what has none.
func problemsOf(file string, err error) Problems {
	if err == nil {
		return nil
	}
	var out Problems
	switch e := err.(type) {
	case Problems:
		return e
	case ast.Errors:
		for _, one := range e {
			out = append(out, problemOf(file, one))
		}
		return out
	case *ast.Error:
		return Problems{problemOf(file, e)}
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			out = append(out, problemsOf(file, one)...)
		}
		return out
	}
	return Problems{{File: file, Text: err.Error()}}
}

func problemOf(file string, e *ast.Error) Problem {
	p := Problem{File: file, Code: e.Code, Text: e.Message}
	if e.Location != nil && e.Location.File != "" {
		p.File, p.Line, p.Column = e.Location.File, e.Location.Row, e.Location.Col
	}
	if e.Details != nil {
		for _, line := range e.Details.Lines() {
			p.Text += "\n\t" + line
		}
	}
	return p
}
