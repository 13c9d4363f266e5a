package main

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/policy/prove"
)

var policyTestPrinters = map[string]func(w io.Writer, r *policyTested, verbose bool) error{
	"text":   printPolicyTest,
	"json":   printPolicyTestJSON,
	"junit":  printPolicyTestJUnit,
	"github": printPolicyTestGitHub,
}

func printPolicyTest(w io.Writer, r *policyTested, verbose bool) error {
	s := styleFor(w)
	p := &printer{w: w}
	for _, t := range r.Tests.Results {
		if t.Pass() && !verbose {
			continue
		}
		p.line("%s %s.%s  %s", testOutcome(s, t), t.Package, t.Name, s.dim(fmt.Sprintf("%s:%d", t.Location.File, t.Location.Row)))
		if t.Error != nil {
			p.line("      %s", plainBlock(t.Error.Error()))
		}
		for _, path := range failedCases(t.SubResults) {
			p.line("      case %s", plainText(path))
		}
		if out := strings.TrimRight(string(t.Output), "\n"); out != "" && (verbose || !t.Pass()) {
			p.line("      %s", strings.ReplaceAll(plainBlock(out), "\n", "\n      "))
		}
		if verbose && !t.Pass() {
			for _, at := range failedAt(t) {
				p.line("      %s", at)
			}
		}
	}
	passed, failed, erred, skipped := r.Tests.Counts()
	p.line("%s  %s", verdict(s, failed+erred == 0 && (skipped == 0 || r.skippedPass)), testCounts(passed, failed, erred, skipped))
	if c := r.Tests.Coverage; c != nil {
		p.line("%s  coverage %.1f %%%s", verdict(s, c.Coverage >= r.Threshold), c.Coverage, below(r))
		not := r.Tests.NotCovered()
		for _, file := range slices.Sorted(maps.Keys(not)) {
			for _, lines := range not[file] {
				at := fmt.Sprintf("%s:%d", file, lines.Start.Row)
				if lines.End.Row != lines.Start.Row {
					at += fmt.Sprintf("-%d", lines.End.Row)
				}
				p.line("      not reached: %s", at)
			}
		}
	}
	if m := r.MissingFields; m != nil {
		p.line("%s  missing fields: %s", verdict(s, len(r.failures()) == 0), mutationCounts(m))
		failures := r.failures()
		for i := range failures {
			f := &failures[i]
			p.line("")
			p.line("      %s %s", s.bold(ruleWord(f)), s.dim(place(f)))
			p.line("      %s", sentence(f))
			p.line("      %s", s.dim(fmt.Sprintf("seen with %s%s", plainText(f.From), others(f.Count))))
			p.line("      fix: %s", f.Fix)
		}
		if len(failures) > 0 {
			p.line("")
		}
		if notes := m.Notes(); len(notes) > 0 && !r.strict {
			p.line("      %s", noteCount(len(notes)))
			for i := range notes {
				p.line("      %s %s: %s", s.dim(place(&notes[i])), ruleWord(&notes[i]), sentence(&notes[i]))
			}
		}
	}
	if d := r.Optimisations; d != nil {
		p.line("%s  optimisations: %s", verdict(s, len(d.Disagreements) == 0), disagreementCounts(d))
		for i := range d.Disagreements {
			x := &d.Disagreements[i]
			p.line("      %s: %s, and %s without the %s", plainText(x.From), x.Want.Effect, x.Got.Effect, x.Without)
		}
	}
	if in := r.Inputs; in.Recorded > 0 {
		p.line("      %d recorded inputs, of which %d differ for these policies and were tried", in.Recorded, in.Distinct)
	}
	for _, text := range r.Warnings {
		p.line("      not tried: %s", plainText(text))
	}
	for _, text := range r.Problems {
		p.line("%s  %s", verdict(s, false), plainText(text))
	}
	return p.err
}

// printer writes lines and keeps the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, strings.TrimRight(fmt.Sprintf(format, args...), " "))
	}
}

func verdict(s style, ok bool) string {
	if ok {
		return s.good("PASS")
	}
	return s.bad("FAIL")
}

func testOutcome(s style, t *tester.Result) string {
	switch {
	case t.Skip:
		return s.dim("SKIP")
	case t.Error != nil:
		return s.bad("ERROR")
	case t.Fail:
		return s.bad("FAIL")
	}
	return s.good("PASS")
}

func testCounts(passed, failed, erred, skipped int) string {
	all := passed + failed + erred + skipped
	if all == 0 {
		return "tests: there are none"
	}
	out := fmt.Sprintf("tests: %d of %d", passed, all)
	for _, c := range []struct {
		n    int
		word string
	}{{failed, "failed"}, {erred, "erred"}, {skipped, "skipped"}} {
		if c.n > 0 {
			out += fmt.Sprintf(", %d %s", c.n, c.word)
		}
	}
	return out
}

func below(r *policyTested) string {
	if r.Tests.Coverage.Coverage < r.Threshold {
		return fmt.Sprintf(", below %g %%", r.Threshold)
	}
	return ""
}

func noteCount(n int) string {
	if n == 1 {
		return "1 note (--strict makes it fail):"
	}
	return fmt.Sprintf("%d notes (--strict makes them fail):", n)
}

func mutationCounts(m *prove.MutationReport) string {
	if m.Inputs == 0 {
		return "no test or recording has an input to try"
	}
	out := fmt.Sprintf("%d inputs, %d fields, %d mutations", m.Inputs, m.Fields, m.Mutations)
	if n := len(m.Failures()); n > 0 {
		out += fmt.Sprintf(": %d let more through", n)
	}
	return out
}

func disagreementCounts(d *prove.DifferentialReport) string {
	if n := len(d.Disagreements); n > 0 {
		return fmt.Sprintf("%d inputs, %d disagreements: report this to the makers of regate", d.Inputs, n)
	}
	return fmt.Sprintf("%d inputs decided alike", d.Inputs)
}

func ruleWord(f *prove.Finding) string {
	if f.Rule.ID == "" {
		return "some rule"
	}
	return plainText(f.Rule.ID)
}

func place(f *prove.Finding) string {
	if f.Rule.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d", f.Rule.File, f.Rule.Line)
}

func others(count int) string {
	if count <= 1 {
		return ""
	}
	return fmt.Sprintf(" and %d more times", count-1)
}

// failedCases lists the cases of a test that failed, by their names.
func failedCases(cases tester.SubResultMap) []string {
	var out []string
	cases.Iter(func(path []string, c *tester.SubResult) bool {
		if c.Fail && len(c.SubResults) == 0 {
			out = append(out, strings.Join(path, "/"))
		}
		return true
	})
	slices.Sort(out)
	return out
}

// failedAt lists the expressions that failed, the last ones last.
func failedAt(t *tester.Result) []string {
	var out []string
	for _, e := range prove.Notes(t) {
		if e.Location == nil || e.Location.File == "" {
			continue
		}
		word := "false:"
		if e.Op == topdown.NoteOp {
			word = "note:"
		}
		line := fmt.Sprintf("%s:%d: %s %s", e.Location.File, e.Location.Row, word, plainText(firstOf(e)))
		if n := len(out); n == 0 || out[n-1] != line {
			out = append(out, line)
		}
	}
	const most = 20
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return out
}

func firstOf(e *topdown.Event) string {
	if e.Op == topdown.NoteOp {
		return e.Message
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(e.Location.Text)), "\n")
	return line
}

func printPolicyTestJSON(w io.Writer, r *policyTested, _ bool) error {
	tests := slices.Clone(r.Tests.Results)
	for i, t := range tests { // traces are for people
		plain := *t
		plain.Trace = nil
		tests[i] = &plain
	}
	if tests == nil {
		tests = []*tester.Result{}
	}
	return printJSON(w, struct {
		Tests    []*tester.Result `json:"tests"`
		Coverage any              `json:"coverage,omitempty"`
		*policyTested
	}{tests, coverageJSON(r), r})
}

func coverageJSON(r *policyTested) any {
	if r.Tests.Coverage == nil {
		return nil
	}
	return r.Tests.Coverage
}

// GitHub turns these lines of a workflow's output into annotations.
func printPolicyTestGitHub(w io.Writer, r *policyTested, verbose bool) error {
	p := &printer{w: w}
	note := func(file string, line int, title, text string) {
		at := ""
		if file != "" {
			at = fmt.Sprintf("file=%s,line=%d,", githubProperty(file), line)
		}
		p.line("::error %stitle=%s::%s", at, githubProperty(title), githubData(text))
	}
	for _, t := range r.Tests.Results {
		if t.Pass() || t.Skip {
			continue
		}
		text := "the test failed"
		if t.Error != nil {
			text = t.Error.Error()
		}
		note(t.Location.File, t.Location.Row, t.Name, text)
	}
	not := r.Tests.NotCovered()
	if c := r.Tests.Coverage; c != nil && c.Coverage < r.Threshold {
		for _, file := range slices.Sorted(maps.Keys(not)) {
			for _, lines := range not[file] {
				note(file, lines.Start.Row, "coverage", "no test reaches this")
			}
		}
	}
	if r.MissingFields != nil {
		failures := r.failures()
		for i := range failures {
			f := &failures[i]
			note(f.Rule.File, f.Rule.Line, "missing field: "+ruleWord(f), sentence(f)+"\n"+f.Fix)
		}
	}
	if r.Optimisations != nil {
		for _, d := range r.Optimisations.Disagreements {
			note("", 0, "optimisations", fmt.Sprintf("%s: %s, and %s without the %s", d.From, d.Want.Effect, d.Got.Effect, d.Without))
		}
	}
	for _, text := range r.Problems {
		note("", 0, "recorded inputs", text)
	}
	if p.err != nil {
		return p.err
	}
	return printPolicyTest(w, r, verbose)
}

func githubData(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A").Replace(s)
}

func githubProperty(s string) string {
	return strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C").Replace(s)
}

type junitSuites struct {
	XMLName xml.Name     `xml:"testsuites"`
	Suites  []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`

	took time.Duration
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure"`
	Error   *junitMessage `xml:"error"`
	Skipped *struct{}     `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

func (s *junitSuite) add(c junitCase, took time.Duration) {
	c.Time = fmt.Sprintf("%.6f", took.Seconds())
	s.took += took
	s.Tests++
	switch {
	case c.Failure != nil:
		s.Failures++
	case c.Error != nil:
		s.Errors++
	case c.Skipped != nil:
		s.Skipped++
	}
	s.Cases = append(s.Cases, c)
	s.Time = fmt.Sprintf("%.6f", s.took.Seconds())
}

func printPolicyTestJUnit(w io.Writer, r *policyTested, _ bool) error {
	byPackage := map[string]*junitSuite{}
	for _, t := range r.Tests.Results {
		s := byPackage[t.Package]
		if s == nil {
			s = &junitSuite{Name: t.Package}
			byPackage[t.Package] = s
		}
		c := junitCase{Class: t.Package, Name: t.Name, File: t.Location.File, Line: t.Location.Row}
		switch {
		case t.Skip:
			c.Skipped = &struct{}{}
		case t.Error != nil:
			c.Error = &junitMessage{Message: "the test erred", Text: plainBlock(t.Error.Error())}
		case t.Fail:
			c.Failure = &junitMessage{Message: "the test failed", Text: plainBlock(string(t.Output))}
		}
		s.add(c, t.Duration)
	}
	var out junitSuites
	for _, name := range slices.Sorted(maps.Keys(byPackage)) {
		out.Suites = append(out.Suites, *byPackage[name])
	}
	if c := r.Tests.Coverage; c != nil {
		s := junitSuite{Name: "coverage"}
		one := junitCase{Class: "coverage", Name: "threshold"}
		if c.Coverage < r.Threshold {
			one.Failure = &junitMessage{Message: fmt.Sprintf("coverage %.1f %%%s", c.Coverage, below(r))}
		}
		s.add(one, 0)
		out.Suites = append(out.Suites, s)
	}
	if m := r.MissingFields; m != nil {
		s := junitSuite{Name: "missing fields"}
		failures := r.failures()
		for i := range failures {
			f := &failures[i]
			s.add(junitCase{Class: "missing fields", Name: ruleWord(f) + " " + f.Field, File: f.Rule.File, Line: f.Rule.Line,
				Failure: &junitMessage{Message: sentence(f), Text: "seen with " + f.From + "\n" + f.Fix}}, 0)
		}
		if len(failures) == 0 {
			s.add(junitCase{Class: "missing fields", Name: mutationCounts(m)}, 0)
		}
		out.Suites = append(out.Suites, s)
	}
	if d := r.Optimisations; d != nil {
		s := junitSuite{Name: "optimisations"}
		c := junitCase{Class: "optimisations", Name: "decided alike"}
		if len(d.Disagreements) > 0 {
			raw, err := json.Marshal(d.Disagreements)
			if err != nil {
				return err
			}
			c.Failure = &junitMessage{Message: disagreementCounts(d), Text: string(raw)}
		}
		s.add(c, 0)
		out.Suites = append(out.Suites, s)
	}
	if len(r.Problems) > 0 {
		s := junitSuite{Name: "recorded inputs"}
		for _, text := range r.Problems {
			s.add(junitCase{Class: "recorded inputs", Name: "readable", Error: &junitMessage{Message: text}}, 0)
		}
		out.Suites = append(out.Suites, s)
	}
	raw, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s%s\n", xml.Header, raw)
	return err
}
