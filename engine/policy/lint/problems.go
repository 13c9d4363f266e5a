package lint

import (
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/policy"
)

// problems reports OPA's errors of one file.
func (c *checker) problems(file string, err error) {
	var list ast.Errors
	if errors.As(err, &list) {
		for _, e := range list {
			c.problem(e)
		}
		return
	}
	var one *ast.Error
	if errors.As(err, &one) {
		c.problem(one)
		return
	}
	c.report(Finding{ID: idSyntax, File: file, Message: err.Error()})
}

func errorText(e *ast.Error) string {
	text := e.Message
	if e.Details != nil {
		for _, line := range e.Details.Lines() {
			text += "\n" + line
		}
	}
	return text
}

func (c *checker) problem(e *ast.Error) {
	p := policy.Problem{Code: e.Code, Text: errorText(e)}
	if e.Location != nil {
		p.File, p.Line, p.Column = e.Location.File, e.Location.Row, e.Location.Col
	}
	c.policyProblem(p)
}

// noSuchFunction is how OPA says that capabilities lack a built-in.
var noSuchFunction = regexp.MustCompile(`undefined function ([a-z0-9_.]+)`)

// placedText is an error of OPA's that was made a text: "file:line: code: text".
var placedText = regexp.MustCompile(`(?s)^([^\n]+?):(\d+): (rego_\w+|regate_\w+): (.*)$`)

// policyProblem makes a finding of what the gateway would refuse.
func (c *checker) policyProblem(p policy.Problem) {
	if m := placedText.FindStringSubmatch(p.Text); m != nil && p.Line == 0 {
		line, err := strconv.Atoi(m[2])
		if err == nil {
			p.File, p.Line, p.Code, p.Text = m[1], line, m[3], m[4]
		}
	}
	f := Finding{File: p.File, Line: p.Line, Column: p.Column, Message: p.Text}
	switch p.Code {
	case ast.ParseErr:
		f.ID = idSyntax
	case ast.UnsafeVarErr:
		f.ID = idUnsafe
	case ast.RecursionErr:
		f.ID = idRecursion
	case ast.TypeErr:
		f.ID = idType
		switch m := noSuchFunction.FindStringSubmatch(p.Text); {
		case m != nil && slices.Contains(policy.RemovedBuiltins(), m[1]):
			f.ID = idCapability
		case strings.HasPrefix(p.Text, "undefined ref: input"):
			f.ID = idField
		}
	case ast.CompileErr:
		f.ID = idCompile
	case "regate_package_error":
		f.ID = idPackage
	case "regate_metadata_error":
		f.ID = idMetadata
	default:
		f.ID = idLoad
		if strings.HasPrefix(p.Code, "rego_") {
			f.ID = idCompile
		}
	}
	// The loader of bundles and the compiler find many things twice.
	if f.ID == idLoad || f.ID == idPackage || f.ID == idMetadata || p.Column == 0 {
		for _, known := range c.findings {
			if known.File == f.File && known.Line == f.Line && (known.ID == f.ID || known.ID == idSyntax) && f.Line > 0 {
				return
			}
			if f.ID == idLoad && known.ID == idLoad && known.File != "" && (known.File == f.File || strings.Contains(f.Message, known.File)) {
				return
			}
		}
	}
	c.report(f)
}
