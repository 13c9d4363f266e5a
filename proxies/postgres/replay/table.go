package replay

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/clipperhouse/displaywidth"
	"github.com/jackc/pgx/v5/pgtype"
)

const (
	// batchRows and batchBytes are how much of a table is held before it is
	// written. The first batch settles the widths of the columns.
	batchRows  = 500
	batchBytes = 4 << 20
	// maxCell is how much of a value is shown, in bytes.
	maxCell = 16 << 10
)

// table lays out rows as psql does.
type table struct {
	o       *Options
	columns []Column
	widths  []int
	right   []bool // numbers
	rows    [][]cell
	held    int // bytes of rows

	begun  bool // the head is written
	record bool // one line a value
	number int  // of records written
}

type cell struct {
	text  string
	width int
	null  bool
}

func newTable(o *Options, list []Column) *table {
	t := &table{o: o, columns: list, widths: make([]int, len(list)), right: make([]bool, len(list))}
	for i, c := range list {
		t.widths[i] = displaywidth.String(escape(c.Name))
		switch c.TypeOID {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.Float4OID, pgtype.Float8OID, pgtype.NumericOID, pgtype.OIDOID, 790:
			t.right[i] = true // 790: money
		}
	}
	return t
}

func (t *table) full() bool { return len(t.rows) >= batchRows || t.held >= batchBytes }

func (t *table) add(v *values, raw [][]byte) {
	row := make([]cell, len(raw))
	for i, b := range raw {
		if b == nil {
			row[i] = cell{text: t.null(), width: len("NULL"), null: true}
			if !t.o.Color {
				row[i].width = len(t.null())
			}
		} else {
			text := v.text(&t.columns[i], b)
			tail := ""
			if len(text) > maxCell {
				tail = "… (" + strconv.Itoa(len(text)) + " bytes)"
				text = text[:maxCell]
			}
			text = escape(text) + tail
			row[i] = cell{text: text, width: displaywidth.String(text)}
		}
		t.held += len(row[i].text)
		if !t.begun {
			t.widths[i] = max(t.widths[i], row[i].width)
		}
	}
	t.rows = append(t.rows, row)
}

// null is shown for NULL. Without colours it must look different from the text.
func (t *table) null() string {
	if t.o.Color {
		return "NULL"
	}
	return "<NULL>"
}

// write writes the rows that are held.
func (t *table) write(b *bytes.Buffer) {
	if !t.begun {
		total := max(3*len(t.columns)-1, 0)
		for _, w := range t.widths {
			total += w
		}
		t.record = t.o.Width > 0 && total > t.o.Width && len(t.rows) > 0
		if !t.record {
			t.head(b)
		}
		t.begun = true
	}
	for _, row := range t.rows {
		if t.record {
			t.writeRecord(b, row)
		} else {
			t.writeRow(b, row)
		}
	}
	t.rows, t.held = t.rows[:0], 0
}

func (t *table) head(b *bytes.Buffer) {
	var names, rule strings.Builder
	for i, c := range t.columns {
		name := escape(c.Name)
		gap := t.widths[i] - displaywidth.String(name)
		if i > 0 {
			names.WriteByte('|')
			rule.WriteByte('+')
		}
		names.WriteString(" " + strings.Repeat(" ", gap/2) + t.o.paint(bold, name))
		if i < len(t.columns)-1 {
			names.WriteString(strings.Repeat(" ", gap-gap/2) + " ")
		}
		rule.WriteString(strings.Repeat("-", t.widths[i]+2))
	}
	if len(t.columns) == 0 {
		b.WriteString("--\n")
		return
	}
	b.WriteString(names.String() + "\n" + rule.String() + "\n")
}

func (t *table) writeRow(b *bytes.Buffer, row []cell) {
	if len(row) == 0 {
		return
	}
	for i, c := range row {
		if i > 0 {
			b.WriteByte('|')
		}
		gap := strings.Repeat(" ", max(t.widths[i]-c.width, 0))
		b.WriteByte(' ')
		if t.right[i] {
			b.WriteString(gap)
		}
		b.WriteString(t.show(c))
		if i < len(row)-1 {
			if !t.right[i] {
				b.WriteString(gap)
			}
			b.WriteByte(' ')
		}
	}
	b.WriteByte('\n')
}

func (t *table) writeRecord(b *bytes.Buffer, row []cell) {
	t.number++
	b.WriteString(t.o.paint(dim, "-[ record "+strconv.Itoa(t.number)+" ]-") + "\n")
	widest := 0
	for _, c := range t.columns {
		widest = max(widest, displaywidth.String(escape(c.Name)))
	}
	for i, c := range row {
		name := escape(t.columns[i].Name)
		b.WriteString(t.o.paint(bold, name) + strings.Repeat(" ", widest-displaywidth.String(name)) + " | " + t.show(c) + "\n")
	}
}

func (t *table) show(c cell) string {
	if c.null {
		return t.o.paint(dim, c.text)
	}
	return c.text
}
