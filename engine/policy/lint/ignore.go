package lint

import (
	"regexp"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// ignoreComment is `# regate-ignore: id why`.
var ignoreComment = regexp.MustCompile(`^\s*regate-ignore:\s*(\S*)\s*(.*)$`)

type ignored struct {
	file   string
	line   int // of the comment
	covers []int
	id     string
	reason string
	used   bool
}

// ignore takes out what comments in the policies ask to leave out. A comment
// counts for its own line, and for the next line that is no comment: where that
// begins a rule, for all of the rule.
func (c *checker) ignore(list []Finding) (left []Finding, n int) {
	var all []*ignored
	for _, file := range sortedKeys(c.modules) {
		all = append(all, c.ignoresOf(file, c.modules[file])...)
	}
	before := len(c.findings)
	for _, f := range list {
		if one := find(all, f); one != nil && !c.checks[f.ID].Refused {
			one.used = true
			n++
			continue
		}
		left = append(left, f)
	}
	for _, one := range all {
		check, known := c.checks[one.id]
		f := Finding{File: one.file, Line: one.line, Column: 1}
		switch {
		case !known:
			f.ID, f.Message = idIgnoreUnknown, "there is no check "+one.id
			if best := closest(one.id, sortedKeys(c.checks)); best != "" {
				f.Fix = "did you mean " + best + "?"
			}
		case check.Refused:
			f.ID, f.Message = idIgnoreUnknown, one.id+" cannot be ignored: the gateway refuses it"
		case one.reason == "":
			f.ID, f.Message = idIgnoreReason, "nobody knows why "+one.id+" is ignored here"
		case !one.used && c.compiler != nil && !slices.Contains(c.Disable, one.id):
			f.ID, f.Message = idIgnoreUnused, one.id+" finds nothing here"
		default:
			continue
		}
		c.report(f)
	}
	return append(left, c.findings[before:]...), n
}

func (c *checker) ignoresOf(file string, m *ast.Module) []*ignored {
	var out []*ignored
	comment := map[int]bool{} // lines that are nothing but a comment
	for _, one := range m.Comments {
		row := one.Location.Row
		if strings.HasPrefix(strings.TrimSpace(c.line(file, row)), "#") {
			comment[row] = true
		}
	}
	for _, one := range m.Comments {
		match := ignoreComment.FindStringSubmatch(string(one.Text))
		if match == nil {
			continue
		}
		row := one.Location.Row
		covers := []int{row}
		if comment[row] {
			next := row + 1
			for comment[next] {
				next++
			}
			covers = append(covers, next)
		}
		out = append(out, &ignored{file: file, line: row, covers: covers, id: match[1], reason: strings.TrimSpace(match[2])})
	}
	return out
}

func find(all []*ignored, f Finding) *ignored {
	for _, one := range all {
		if one.file != f.File || one.id != f.ID {
			continue
		}
		if slices.Contains(one.covers, f.Line) || f.rule != nil && slices.Contains(one.covers[1:], f.rule.Row) {
			return one
		}
	}
	return nil
}
