package lint

import (
	"slices"
	"strconv"
	"strings"

	"github.com/agnivade/levenshtein"
	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// checkValues finds literals that the input never has where they are looked for.
func (c *checker) checkValues() {
	done := map[*ast.Location]bool{}
	report := func(at comparison) {
		text, ok := at.lit.Value.(ast.String)
		if !ok || at.loc != nil && done[at.loc] {
			return
		}
		if c.wrongValue(at, string(text)) && at.loc != nil {
			done[at.loc] = true
		}
	}
	for _, r := range c.rules {
		v := &visitor{c: c, root: r, protocols: r.pkg.protocols, report: report}
		for one := r.ast; one != nil; one = one.Else {
			v.rule(one, c.envOf(one, 0), 0)
		}
	}
}

func (c *checker) wrongValue(at comparison, text string) bool {
	known := c.vocabulary.at(at.rule.pkg.protocols, at.path)
	if at.how != "key" && known.found && known.enum != nil {
		return c.notInEnum(at, text, known.enum)
	}
	if at.how != "" && at.how != "key" {
		return false
	}
	names := at.path
	if at.how == "" {
		if len(names) == 0 || names[len(names)-1] != anyKey {
			return false
		}
		names = names[:len(names)-1]
	}
	shape := namedShape(names)
	if shape == "" || !slices.Equal(at.rule.pkg.protocols, []input.Protocol{input.Postgres}) {
		return false
	}
	parts := strings.Count(shape, ".")
	if strings.Count(text, ".") >= parts || strings.Contains(text, "*") {
		return false
	}
	c.at(idName, at.rule, at.loc, "write it as "+strconv.Quote(shape)+", e.g. "+strconv.Quote(strings.Repeat("public.", parts)+text),
		"%s holds names as %s: %q is never among them", names, strconv.Quote(shape), text)
	return true
}

func (c *checker) notInEnum(at comparison, text string, enum []string) bool {
	fits := func(s string) bool {
		switch at.how {
		case "startswith":
			return strings.HasPrefix(s, text)
		case "endswith":
			return strings.HasSuffix(s, text)
		case "contains":
			return strings.Contains(s, text)
		}
		return s == text
	}
	if slices.ContainsFunc(enum, fits) {
		return false
	}
	fix := "one of " + quoteAll(enum)
	if best := closest(text, enum); best != "" && at.how == "" {
		fix = "did you mean " + strconv.Quote(best) + "?"
	}
	verb := "is never"
	if at.how != "" {
		verb = "never holds for " + at.how
	}
	c.at(idValue, at.rule, at.loc, fix, "%s %s %q", at.path, verb, text)
	return true
}

func quoteAll(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = strconv.Quote(s)
	}
	return strings.Join(out, ", ")
}

// closest returns the word that was probably meant, "" for none.
func closest(word string, words []string) string {
	most := min(2, (len(word)+1)/2) // letters that may differ
	best, least := "", 0
	for _, w := range words {
		if w == "" {
			continue
		}
		if strings.EqualFold(w, word) {
			return w
		}
		d := levenshtein.ComputeDistance(strings.ToLower(word), w)
		if d > most {
			continue
		}
		score := 4*d + max(len(w)-len(word), len(word)-len(w)) // of two, that of the same length
		if best == "" || score < least {
			best, least = w, score
		}
	}
	return best
}

// namedShape says how names at a path of a SQL document are written, "" where
// that is not known.
func namedShape(p path) string {
	switch {
	case p.is("resource", "table_names"), p.is("resource", "tables"):
		return "schema.table"
	case p.is("resource", "column_names"), p.is("sql", "statement", "predicate_columns"), p.is("sql", "statement", "written_columns"):
		return "schema.table.column"
	case p.is("resource", "function_names"):
		return "schema.function"
	case p.is("response", "fields", anyKey, "sources"):
		return "schema.table.column"
	}
	return ""
}
