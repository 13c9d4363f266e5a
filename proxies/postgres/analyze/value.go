package analyze

import (
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// source is one stored column (or a view's).
type source struct {
	table  string // "schema.table"
	column string
	name   string // "schema.table.column"
}

// sources is a set, sorted by name. It is immutable.
type sources []*source

func (s sources) names() []string {
	names := make([]string, len(s))
	for i := range s {
		names[i] = s[i].name
	}
	return names
}

func compareSources(a, b *source) int { return strings.Compare(a.name, b.name) }

func union(a, b sources) sources {
	switch {
	case len(a) == 0:
		return b
	case len(b) == 0:
		return a
	}
	all := make(sources, 0, len(a)+len(b))
	all = append(append(all, a...), b...)
	return sortSources(all)
}

// sortSources sorts in place and drops duplicates.
func sortSources(s sources) sources {
	slices.SortFunc(s, compareSources)
	return slices.CompactFunc(s, func(a, b *source) bool { return a.name == b.name })
}

// value is what is known of an expression: which columns can reach it, and how.
type value struct {
	from sources
	how  input.Derivation
	// row holds the fields of a value that is a row; nil otherwise. A row with
	// unknown fields has none and how Opaque.
	row []column
	typ catalog.OID // 0 where not known
	// array is true for an array of whatever type, scalars where its elements
	// are certainly no rows.
	array, scalars bool
}

// column is a named value: of a relation, a result or a row.
type column struct {
	name  string
	value value
}

var (
	constant = value{how: input.Constant}
	computed = value{how: input.Derived}
	opaque   = value{how: input.Opaque}
)

// combine is the value of an expression over others.
func combine(values ...value) value {
	all := value{how: input.Constant}
	for _, v := range values {
		all.from = union(all.from, v.from)
		switch {
		case v.how == input.Opaque:
			all.how = input.Opaque
		case all.how != input.Opaque && (v.how != input.Constant || len(v.from) > 0):
			all.how = input.Derived
		}
	}
	return all
}

// either is a value that is one or the other: of a set operation's arms.
func either(a, b value) value { return combine(a, b) }

// derived is v after an operation on it.
func derived(v value) value {
	v.row, v.typ, v.array, v.scalars = nil, 0, false, false
	if v.how == input.Exact {
		v.how = input.Derived
	}
	return v
}

// rowOf is the value of a whole row.
func rowOf(columns []column) value {
	values := make([]value, len(columns))
	for i := range columns {
		values[i] = columns[i].value
	}
	v := combine(values...)
	if v.how == input.Constant && len(columns) > 0 {
		v.how = input.Derived
	}
	v.row = columns
	return v
}

// field returns the fields of a row value that have that name.
func (v value) field(name string) (value, bool) {
	for _, c := range v.row {
		if c.name == name {
			return c.value, true
		}
	}
	return value{}, false
}

// stored says whether a value may hold something of a stored column.
func (v value) stored() bool { return len(v.from) > 0 || v.how == input.Opaque }
