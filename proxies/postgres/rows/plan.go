package rows

import (
	"fmt"
	"sync"

	"github.com/regate-dev/regate/engine/mask"
)

// Plan applies the rules of a result set's columns. It is immutable and safe
// for concurrent use.
type Plan struct {
	keyring *mask.Keyring
	columns []column
}

// column is a Column made ready.
type column struct {
	Column
	class class
	index int
	pass  bool
	// method is Rule.detected, made once: a method value is an allocation.
	method func(kind string) mask.Spec
}

// NewPlan makes the plan of a result set. It is nil when there is nothing to
// do, and the caller relays the rows as they are. cols is copied.
func NewPlan(k *mask.Keyring, cols []Column) *Plan {
	p := &Plan{keyring: k, columns: make([]column, len(cols))}
	active := false
	for i := range cols {
		c := column{Column: cols[i], class: classify(&cols[i]), index: i}
		c.pass = c.Rule.pass() || (c.onlyDetects() && barren(c.TypeOID))
		active = active || !c.pass
		p.columns[i] = c
		p.columns[i].method = p.columns[i].Rule.detected
	}
	if !active {
		return nil
	}
	return p
}

// Columns is the number of columns that every row must have.
func (p *Plan) Columns() int { return len(p.columns) }

func (c *column) onlyDetects() bool { return !c.Rule.Whole && c.Rule.Spec == nil }

func (c *column) label() string {
	if c.Name == "" {
		return fmt.Sprintf("column %d", c.index+1)
	}
	return fmt.Sprintf("column %d (%s)", c.index+1, c.Name)
}

// scratch is memory that a row borrows when a value must be taken apart.
type scratch struct {
	found []mask.Finding
	a, b  []byte
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// maxKeep is the largest buffer that goes back to the pool.
const maxKeep = 1 << 20

func borrow() *scratch { return scratches.Get().(*scratch) }

func (s *scratch) release() {
	for _, b := range []*[]byte{&s.a, &s.b} {
		if cap(*b) > maxKeep {
			*b = nil
		}
	}
	scratches.Put(s)
}
