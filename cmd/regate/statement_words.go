package main

import (
	"encoding/json"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/policy/corpus"
)

// Bounds of a statement in a report.
const (
	maxNormalised = 4 << 10 // bytes of text that are looked at
	maxWords      = 160     // characters that are shown
)

// statementWords is a request's statement in one line, with every value replaced
// by $1, $2, …; "" where that is not sure to have worked. Reports go into
// tickets and pull requests, where the values of production do not belong.
func statementWords(r *corpus.Recorded) string {
	var sql struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(r.Entry("sql"), &sql) != nil || sql.Text == "" || len(sql.Text) > maxNormalised {
		return ""
	}
	text, err := pg_query.Normalize(sql.Text)
	if err != nil {
		return ""
	}
	for _, doubtful := range []string{"'", "--", "/*", "$$"} { // a value, or a comment with anything in it
		if strings.Contains(text, doubtful) {
			return ""
		}
	}
	text = strings.Join(strings.Fields(plainText(text)), " ")
	if runes := []rune(text); len(runes) > maxWords {
		text = string(runes[:maxWords-1]) + "…"
	}
	return text
}
