package analyze

import (
	"slices"
	"strconv"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

func itoa(i int32) string { return strconv.Itoa(int(i)) }

// copy analyses COPY.
func (b *builder) copy(s *pg_query.CopyStmt) {
	b.command = "copy"
	c := &Copy{Direction: "out", Format: "text"}
	b.effects.Copy = c
	if s.IsFrom {
		c.Direction = "in"
	}
	switch {
	case s.IsProgram:
		c.Peer = "program"
	case s.Filename != "":
		c.Peer = "file"
	case s.IsFrom:
		c.Peer = "stdin"
	default:
		c.Peer = "stdout"
	}
	b.statement.CopyTo = c.Peer
	b.copyOptions(c, s.Options)
	if c.Peer == "program" {
		b.hides("statement", "copy program", whyDangerous)
	}
	if c.Peer != "stdin" && c.Peer != "stdout" {
		b.action.Writes = true
		b.verb("copy")
	}
	var columns []column
	known := true
	if s.Query != nil {
		columns, known = b.rows(s.Query, nil)
		if sel := s.Query.GetSelectStmt(); sel != nil {
			b.action.Limit = constantLimit(sel)
			b.verb("select")
			b.mainFilters(sel)
		}
	} else {
		columns, known = b.copyTable(s, c)
	}
	for _, col := range columns {
		c.Columns = append(c.Columns, col.name)
	}
	if s.IsFrom {
		b.gives(nil, true, false)
		return
	}
	b.gives(columns, known, c.Peer == "stdout")
}

// copyTable analyses COPY of a table, which passes its own rows only, not
// those of its children, and no generated column.
func (b *builder) copyTable(s *pg_query.CopyStmt, c *Copy) ([]column, bool) {
	t := b.resolve(s.Relation)
	it := b.relationItem(t, false)
	c.Table = t.name
	var columns []column
	if len(s.Attlist) == 0 {
		for _, col := range it.columns {
			if t.rel != nil {
				if stored := t.rel.Column(col.name); stored != nil && stored.Generated {
					continue
				}
			}
			columns = append(columns, col)
		}
	}
	for _, n := range s.Attlist {
		name := n.GetString_().GetSval()
		v, ok := it.column(name)
		if !ok {
			v = opaque
			if it.known {
				b.dontKnow("column", t.name+"."+name, whyNotFound)
			}
		}
		columns = append(columns, column{name: name, value: v})
	}
	if s.IsFrom {
		b.verb("insert")
		b.action.Writes = true
		b.touch(t, "insert", true)
		for _, col := range columns {
			b.write(t, col.name)
		}
		if !it.known && len(columns) == 0 {
			b.write(t, "*")
		}
		b.where(s.WhereClause, &scope{names: single(it)})
		return columns, true
	}
	b.verb("select")
	b.touch(t, "read", false)
	for _, col := range columns {
		b.read(col.value, false)
	}
	b.needsWhere(false)
	return columns, it.known || len(s.Attlist) > 0
}

func (b *builder) copyOptions(c *Copy, options []*pg_query.Node) {
	for _, n := range options {
		d := n.GetDefElem()
		value := optionText(d.GetArg())
		text := ""
		if value != nil {
			text = *value
		}
		switch d.GetDefname() {
		case "format":
			c.Format = text
			if !slices.Contains([]string{"text", "csv", "binary"}, text) {
				b.dontKnow("copy format", text, whyNode)
			}
		case "delimiter":
			c.Delimiter = text
		case "null":
			c.Null = value
		case "header":
			switch {
			case text == "match":
				c.Header = "match"
			case d.Arg == nil || !optionIsFalse(d.Arg):
				c.Header = "true"
			}
		case "quote":
			c.Quote = text
		case "escape":
			c.Escape = text
		case "encoding":
			c.Encoding = text
		default:
			c.Other = append(c.Other, d.GetDefname())
		}
	}
}
