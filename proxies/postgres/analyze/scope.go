package analyze

import (
	"github.com/regate-dev/regate/engine/input"
)

// item is one entry of a FROM clause that names can refer to.
type item struct {
	name    string // its alias, or its own name
	schema  string // its schema where it has no alias and was found by name
	columns []column
	// known is false where the columns are not known: then any column name
	// may be one of them, with a value like rest.
	known bool
	rest  value
	// system are the hidden columns (ctid and its like) of a stored relation.
	system []column
}

func (it *item) row() value {
	if !it.known {
		return it.any()
	}
	return rowOf(it.columns)
}

// any is the value of a column that is not known.
func (it *item) any() value {
	return value{from: it.rest.from, how: input.Opaque}
}

func (it *item) column(name string) (value, bool) {
	var found value
	ok := false
	for _, c := range it.columns {
		if c.name == name {
			if ok {
				found = either(found, c.value)
			} else {
				found, ok = c.value, true
			}
		}
	}
	if ok {
		return found, true
	}
	for _, c := range it.system {
		if c.name == name {
			return c.value, true
		}
	}
	return value{}, false
}

// namespace is what the names of a FROM clause, or of a part of it, can mean.
type namespace struct {
	items []*item
	// columns are those that an unqualified name can mean, in the order of *.
	columns []column
	// unknown is true where one of the items' columns are not known; rest is
	// what they can be made of.
	unknown bool
	rest    value
	// definition is true for the scope of a definition, where a name that is
	// not found may well be one that the definition makes.
	definition bool
}

func (ns *namespace) add(other namespace) {
	ns.items = append(ns.items[:len(ns.items):len(ns.items)], other.items...)
	ns.columns = append(ns.columns[:len(ns.columns):len(ns.columns)], other.columns...)
	ns.unknown = ns.unknown || other.unknown
	ns.rest.from = union(ns.rest.from, other.rest.from)
}

func single(it *item) namespace {
	return namespace{items: []*item{it}, columns: it.columns, unknown: !it.known, rest: it.rest}
}

// scope is one level of a query: its FROM clause, its WITH list, and the
// query around it.
type scope struct {
	parent *scope
	names  namespace
	ctes   []*cte
}

// cte is one WITH entry.
type cte struct {
	name    string
	columns []column
	known   bool
	// resolve analyses a body that was not reached yet (WITH RECURSIVE lets
	// entries refer to later ones).
	resolve func()
}

// cte finds the WITH entry that an unqualified name means, nil for none.
func (sc *scope) cte(name string) *cte {
	for s := sc; s != nil; s = s.parent {
		for i := len(s.ctes) - 1; i >= 0; i-- {
			if s.ctes[i].name == name {
				return s.ctes[i]
			}
		}
	}
	return nil
}

// item finds the FROM entry of that name.
func (sc *scope) item(schema, name string) *item {
	for s := sc; s != nil; s = s.parent {
		var found *item
		for _, it := range s.names.items {
			if it.name == name && (schema == "" || it.schema == schema) {
				if found != nil {
					// Two entries of one name in different schemas: an
					// unqualified reference is an error there; stay unsure.
					return &item{name: name}
				}
				found = it
			}
		}
		if found != nil {
			return found
		}
	}
	return nil
}

// guesses says whether a name that no column is known by would be taken for one
// of a FROM entry whose columns are not known.
func (sc *scope) guesses(name string) bool {
	for s := sc; s != nil; s = s.parent {
		if hasColumn(s.names.columns, name) {
			return false
		}
		if s.names.unknown {
			return !s.names.definition
		}
	}
	return false
}

// column finds what an unqualified name means as a column. The second result
// is false when no level has it.
func (sc *scope) column(name string) (value, bool) {
	for s := sc; s != nil; s = s.parent {
		var found value
		ok := false
		for _, c := range s.names.columns {
			if c.name == name {
				if ok {
					found = either(found, c.value)
				} else {
					found, ok = c.value, true
				}
			}
		}
		if !ok {
			for _, it := range s.names.items {
				for _, c := range it.system {
					if c.name == name {
						found, ok = c.value, true
					}
				}
			}
		}
		if ok {
			return found, true
		}
		if s.names.unknown {
			return value{from: s.names.rest.from, how: input.Opaque}, true
		}
	}
	return value{}, false
}

// below is the scope of a query inside sc that does not see sc's FROM clause,
// only its WITH list and what is around it.
func (sc *scope) below() *scope { return &scope{parent: sc.parent, ctes: sc.ctes} }
