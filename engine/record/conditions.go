package record

import (
	"strings"
	"time"
)

// conditions is what a search of the index asks for: what stands behind WHERE.
type conditions struct {
	all  []string
	args []any
}

// and adds a condition with the values of its question marks.
func (c *conditions) and(condition string, values ...any) {
	c.all = append(c.all, condition)
	c.args = append(c.args, values...)
}

// equal adds that a column has a value; "" selects all.
func (c *conditions) equal(column, value string) {
	if value != "" {
		c.and(column+" = ?", value)
	}
}

// within adds that a time is in a half-open interval; zero times are no bounds.
func (c *conditions) within(column string, since, until time.Time) {
	if !since.IsZero() {
		c.and(column+" >= ?", since.UnixNano())
	}
	if !until.IsZero() {
		c.and(column+" < ?", until.UnixNano())
	}
}

// about adds what a decision d is about; "" selects all.
func (c *conditions) about(text, table, reason string) {
	if text != "" {
		c.and("instr(lower(d.text), lower(?)) > 0", text)
	}
	if table != "" {
		c.and("EXISTS (SELECT 1 FROM json_each(d.tables) WHERE value = ?)", table)
	}
	if reason != "" {
		c.and("EXISTS (SELECT 1 FROM json_each(d.reasons) WHERE value = ?)", reason)
	}
}

// String returns the SQL, which is true for everything where nothing is asked.
func (c *conditions) String() string {
	if len(c.all) == 0 {
		return "1"
	}
	return strings.Join(c.all, " AND ")
}

// limit returns how many rows are asked for.
func limit(n int) int {
	if n <= 0 {
		return 100
	}
	return n
}
