package lint

import (
	"encoding/xml"
	"fmt"
	"io"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name      string        `xml:"name,attr"`
	ClassName string        `xml:"classname,attr"`
	Failure   *junitFailure `xml:"failure"`
	Output    string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Type    string `xml:"type,attr"`
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes the report as JUnit XML: a suite a file, a case a finding.
// What is as bad as failOn, or worse, is a failure; a file without findings is
// a case that passes.
func (r *Report) WriteJUnit(w io.Writer, failOn Severity) error {
	byFile := map[string][]Finding{}
	for _, file := range r.Files {
		byFile[file] = nil
	}
	for _, f := range r.Findings {
		byFile[f.File] = append(byFile[f.File], f)
	}
	out := junitSuites{Name: "regate policy check"}
	for _, file := range sortedKeys(byFile) {
		suite := junitSuite{Name: file}
		for _, f := range byFile[file] {
			text := fmt.Sprintf("%s:%d:%d: %s: %s\n%s\nfix: %s", f.File, f.Line, f.Column, f.Severity, f.Message, f.Source, f.Fix)
			one := junitCase{Name: fmt.Sprintf("%s %d:%d", f.ID, f.Line, f.Column), ClassName: file}
			if f.Severity.AtLeast(failOn) {
				one.Failure = &junitFailure{Type: f.ID, Message: f.Message, Text: text}
				suite.Failures++
			} else {
				one.Output = text
			}
			suite.Cases = append(suite.Cases, one)
		}
		if len(suite.Cases) == 0 {
			suite.Cases = []junitCase{{Name: "check", ClassName: file}}
		}
		suite.Tests = len(suite.Cases)
		out.Tests += suite.Tests
		out.Failures += suite.Failures
		out.Suites = append(out.Suites, suite)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", "  ")
	if err := enc.Encode(out); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}
