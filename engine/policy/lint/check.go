package lint

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Options says what to check and how.
type Options struct {
	// Paths are bundles (folders or .tar.gz), folders that hold bundles, and
	// single .rego files. Bundles that are named are taken for one deployment,
	// those found below a folder are not.
	Paths []string
	// Disable are ids of checks to leave out. Those that say what the gateway
	// would refuse cannot be.
	Disable []string
	// DetectKinds are the kinds that a mask may name in detect. Nil: any.
	DetectKinds []string
}

// ErrOptions says that options make no sense.
var ErrOptions = errors.New("check policies")

// Report is what Check found.
type Report struct {
	Findings []Finding `json:"findings"` // by file, line and column
	Files    []string  `json:"files"`    // of Rego, tests too, sorted
	Packages []string  `json:"packages"` // policy packages below regate.policies, sorted
	Ignored  int       `json:"ignored"`  // findings that a comment in the policy ignores
}

// Count returns the number of findings of a severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for _, f := range r.Findings {
		if f.Severity == s {
			n++
		}
	}
	return n
}

// checker is one run.
type checker struct {
	Options
	sources
	vocabulary vocabulary
	checks     map[string]CheckInfo
	findings   []Finding

	compiler *ast.Compiler
	packages map[string]*pkg // by path, "data.regate.policies.…"
	rules    []*rule         // of all modules but tests, in order
	byAST    map[*ast.Rule]*rule
	memo     memo
}

// Check reads, compiles and checks policies. The error says that the options
// make no sense or that regate itself is broken; what is wrong with policies are
// findings.
func Check(ctx context.Context, o Options) (*Report, error) {
	if len(o.Paths) == 0 {
		return nil, fmt.Errorf("%w: no path is given", ErrOptions)
	}
	c := &checker{Options: o, checks: map[string]CheckInfo{}, packages: map[string]*pkg{}, byAST: map[*ast.Rule]*rule{}}
	for _, check := range Checks() {
		c.checks[check.ID] = check
	}
	for _, id := range o.Disable {
		check, ok := c.checks[id]
		if !ok {
			return nil, fmt.Errorf("%w: there is no check %q", ErrOptions, id)
		}
		if check.Refused {
			return nil, fmt.Errorf("%w: %s cannot be disabled, the gateway refuses what it finds", ErrOptions, id)
		}
	}
	var err error
	if c.vocabulary, err = newVocabulary(); err != nil {
		return nil, fmt.Errorf("check policies: %w", err)
	}
	c.load(o.Paths)
	if len(c.texts) == 0 && len(c.findings) == 0 {
		for _, p := range o.Paths {
			c.report(Finding{ID: idEmpty, File: filepath.Clean(p), Message: "there is no Rego here"})
		}
	}
	if c.compiler, err = c.compile(ctx); err != nil {
		return nil, fmt.Errorf("check policies: %w", err)
	}
	if c.compiler != nil {
		c.survey()
		for _, check := range []func(){
			c.checkEntries, c.checkElements, c.checkIDs, c.checkMetadata, c.checkValues, c.checkReach,
			c.checkIndex, c.checkTrust, c.checkUndefined, c.checkQuantifiers, c.checkDeterminism,
		} {
			if err := ctx.Err(); err != nil {
				return nil, fmt.Errorf("check policies: %w", err)
			}
			check()
		}
	}
	r := &Report{Files: sortedKeys(c.texts), Packages: []string{}}
	for _, p := range c.packages {
		if p.policy {
			r.Packages = append(r.Packages, p.name)
		}
	}
	slices.Sort(r.Packages)
	r.Findings, r.Ignored = c.ignore(c.findings)
	r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return slices.Contains(o.Disable, f.ID) })
	for i := range r.Findings {
		f := &r.Findings[i]
		f.Source = c.line(f.File, f.Line)
	}
	r.Findings = sortFindings(r.Findings)
	if r.Findings == nil {
		r.Findings = []Finding{}
	}
	return r, nil
}

// report adds a finding. Severity and fix are the check's where they are empty.
func (c *checker) report(f Finding) {
	check := c.checks[f.ID]
	if f.Severity == "" {
		f.Severity = check.Severity
	}
	if f.Fix == "" {
		f.Fix = check.Fix
	}
	c.findings = append(c.findings, f)
}

// at reports a finding at a place in a rule.
func (c *checker) at(id string, r *rule, loc *ast.Location, fix, format string, args ...any) {
	f := Finding{ID: id, Message: fmt.Sprintf(format, args...), Fix: fix}
	if r != nil {
		f.rule = r.ast.Location
		if loc == nil || loc.Row == 0 {
			loc = r.ast.Location
		}
	}
	if loc != nil {
		f.File, f.Line, f.Column = loc.File, loc.Row, loc.Col
	}
	c.report(f)
}

// line returns a line of a file, "" where it is not known.
func (c *checker) line(file string, n int) string {
	text, ok := c.texts[file]
	if !ok || n < 1 {
		return ""
	}
	for line := range strings.Lines(text) {
		if n--; n == 0 {
			return strings.TrimRight(line, "\r\n")
		}
	}
	return ""
}

func sortedKeys[V any](m map[string]V) []string {
	out := slices.Sorted(maps.Keys(m))
	if out == nil {
		out = []string{}
	}
	return out
}
