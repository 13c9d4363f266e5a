package lint

import (
	"errors"
	"path/filepath"
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
		told := map[[2]int]bool{} // the parser says some things in several ways
		for _, e := range list {
			if e.Location == nil || !told[[2]int{e.Location.Row, e.Location.Col}] {
				c.problem(e)
			}
			if e.Location != nil {
				told[[2]int{e.Location.Row, e.Location.Col}] = true
			}
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

// errorText is an error with what OPA has and wants; the source is shown anyway.
func errorText(e *ast.Error) string {
	text := e.Message
	if e.Details != nil && e.Code != ast.ParseErr {
		for _, line := range e.Details.Lines() {
			if line = strings.TrimSpace(line); strings.HasPrefix(line, "have") || strings.HasPrefix(line, "want") {
				text += "\n" + line
			}
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
	if f.File != "" {
		f.File = filepath.Clean(f.File)
	}
	c.report(f)
}

// again reports what the loader of bundles found, but for what is known.
func (c *checker) again(p policy.Problem) {
	before := len(c.findings)
	c.policyProblem(p)
	f := c.findings[before]
	for _, known := range c.findings[:before] {
		same := known.File == f.File && known.Line == f.Line && c.checks[known.ID].Refused
		within := f.ID == idLoad && known.ID == idLoad && known.File != "" && strings.Contains(f.Message, known.File)
		if same || within {
			c.findings = c.findings[:before]
			return
		}
	}
}
