package web

import (
	"encoding/hex"
	"encoding/json"
	"html/template"
	"strings"
	"unicode/utf8"

	"github.com/regate-dev/regate/engine/record"
)

const (
	// resultBudget bounds the recorded bytes that one page holds to show results,
	// turnBudget those of one request.
	resultBudget = 48 << 20
	turnBudget   = 16 << 20
	// shownText bounds the text of results on one page.
	shownText = 2 << 20
	shownRows = 100
	shownCols = 60
	// shownCell bounds one value, in characters; once the page is long, fewCell.
	shownCell = 500
	fewCell   = 40
	// shownBody bounds a body that is no table, in bytes.
	shownBody = 64 << 10
)

// resultBytes are the recorded bytes of one request's answer.
type resultBytes struct {
	parts []resultPart
	size  int
	cut   bool
}

type resultPart struct {
	format string
	data   []byte
}

func (r *resultBytes) add(c record.Chunk, budget *int) {
	if r.size+len(c.Data) > turnBudget || len(c.Data) > *budget {
		r.cut = true
	}
	if r.cut {
		return
	}
	r.size += len(c.Data)
	*budget -= len(c.Data)
	if n := len(r.parts); n > 0 && r.parts[n-1].format == c.Format {
		r.parts[n-1].data = append(r.parts[n-1].data, c.Data...)
		return
	}
	r.parts = append(r.parts, resultPart{c.Format, append([]byte(nil), c.Data...)})
}

// result is one answer, to be shown: a table or a text.
type result struct {
	Columns []string
	Rows    [][]cell
	More    int // rows that are not shown
	Wide    int // columns that are not shown
	Text    template.HTML
	Format  string
	Tag     string
	Error   string
	Notices []string
}

type cell struct {
	Text template.HTML
	Null bool
	Cut  string // the size of a value that is not shown whole
}

func (r *resultBytes) show(tables map[string]func([]byte) ([]Table, error), budget *int) []result {
	var out []result
	for _, part := range r.parts {
		decode := tables[part.format]
		if decode == nil {
			out = append(out, textResult(part, budget))
			continue
		}
		list, err := decode(part.data)
		for _, t := range list {
			out = append(out, tableResult(t, budget))
		}
		if err != nil && !r.cut {
			out = append(out, result{Error: "The recorded answer cannot be read to its end."})
		}
	}
	return out
}

func tableResult(t Table, budget *int) result {
	cols := min(len(t.Columns), shownCols)
	out := result{
		Columns: t.Columns[:cols], Wide: len(t.Columns) - cols, More: max(0, len(t.Rows)-shownRows), Tag: t.Tag, Error: t.Error, Notices: t.Notices,
	}
	if len(t.Columns) > 0 || t.Text == "" {
		out.Tag = "" // the outcome says it
	}
	if t.Text != "" {
		out.Text = visible(clip(t.Text, shownBody))
	}
	for _, row := range t.Rows[:min(len(t.Rows), shownRows)] {
		line := make([]cell, 0, cols)
		for _, value := range row[:min(len(row), shownCols)] {
			line = append(line, showCell(value, budget))
		}
		out.Rows = append(out.Rows, line)
	}
	return out
}

func showCell(value *string, budget *int) cell {
	if value == nil {
		return cell{Null: true}
	}
	limit := shownCell
	if *budget <= 0 {
		limit = fewCell
	}
	c := cell{Text: visible(clip(*value, limit))}
	*budget -= len(c.Text)
	if utf8.RuneCountInString((*value)[:min(len(*value), 4*(limit+1))]) > limit {
		c.Cut = byteSize(int64(len(*value)))
	}
	return c
}

// textResult is a body: JSON is indented, text is text, everything else its
// bytes.
func textResult(part resultPart, budget *int) result {
	out := result{Format: part.format}
	data := part.data
	limit := shownBody
	if *budget <= 0 {
		limit = 1 << 10
	}
	switch {
	case len(data) <= limit && json.Valid(data):
		out.Text = prettyJSON(data)
	case utf8.Valid(data[:validEnd(data, limit)]) && !strings.ContainsRune(string(data[:validEnd(data, limit)]), 0):
		out.Text = visible(string(data[:validEnd(data, limit)]))
	default:
		out.Text = visible(hex.Dump(data[:min(len(data), 1<<10)]))
	}
	*budget -= len(out.Text)
	if len(data) > limit {
		out.Tag = "… " + byteSize(int64(len(data)-limit)) + " more"
	}
	return out
}

// validEnd is where data of at most limit bytes ends between characters.
func validEnd(data []byte, limit int) int {
	end := min(len(data), limit)
	for n := 0; n < utf8.UTFMax && end > 0 && end < len(data) && !utf8.RuneStart(data[end]); n++ {
		end--
	}
	return end
}
