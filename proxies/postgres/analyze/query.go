package analyze

import (
	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// query analyses a SELECT, VALUES or set operation inside outer and returns
// its columns. The second result is false when they are not known.
func (b *builder) query(s *pg_query.SelectStmt, outer *scope) ([]column, bool) {
	if len(s.ValuesLists) == 0 {
		b.verb("select")
	}
	if !b.step() {
		return nil, false
	}
	sc := &scope{parent: outer}
	b.with(s.WithClause, sc)
	var columns []column
	known := true
	switch {
	case s.Op == pg_query.SetOperation_SETOP_UNION || s.Op == pg_query.SetOperation_SETOP_INTERSECT || s.Op == pg_query.SetOperation_SETOP_EXCEPT:
		columns, known = b.setOperation(s, sc)
	case len(s.ValuesLists) > 0:
		columns = b.values(s.ValuesLists, sc)
	default:
		columns, known = b.plainSelect(s, sc)
	}
	b.limits(s, sc)
	b.locking(s, sc)
	return columns, known
}

// maxColumns is the most that the server takes (MaxTupleAttributeNumber in
// access/htup_details.h).
const maxColumns = 1664

func (b *builder) plainSelect(s *pg_query.SelectStmt, sc *scope) ([]column, bool) {
	b.from(s.FromClause, sc)
	if len(s.TargetList) > maxColumns {
		b.hides("statement", "select", "more columns than the server takes")
		return nil, false
	}
	columns, known := b.targetList(s.TargetList, sc)
	b.where(s.WhereClause, sc)
	// A name in GROUP BY, ORDER BY or DISTINCT ON can mean a result column.
	aliases := map[string]value{}
	for _, c := range columns {
		aliases[c.name] = c.value
	}
	for _, n := range s.GroupClause {
		b.sortItem(n, sc, aliases, columns, false)
	}
	b.filter(s.HavingClause, sc)
	for _, n := range s.WindowClause {
		b.window(n.GetWindowDef(), sc)
	}
	for _, n := range s.DistinctClause {
		if n.GetNode() != nil {
			b.sortItem(n, sc, aliases, columns, true)
		}
	}
	if len(s.DistinctClause) > 0 && s.DistinctClause[0].GetNode() == nil {
		for _, c := range columns {
			b.read(c.value, true)
		}
	}
	b.sort(s.SortClause, sc, columns)
	return columns, known
}

func (b *builder) setOperation(s *pg_query.SelectStmt, sc *scope) ([]column, bool) {
	left, leftKnown := b.query(s.Larg, sc)
	right, rightKnown := b.query(s.Rarg, sc)
	if !leftKnown || !rightKnown || len(left) != len(right) {
		// The server names the columns after the left arm.
		columns := make([]column, len(left))
		for i, c := range left {
			columns[i] = column{name: c.name, value: opaque}
		}
		return columns, false
	}
	columns := make([]column, len(left))
	for i := range left {
		v := either(left[i].value, right[i].value)
		if s.Op == pg_query.SetOperation_SETOP_EXCEPT {
			v = derived(left[i].value) // which rows are left is a matter of the right arm
			b.read(right[i].value, true)
		}
		if !s.All {
			b.read(v, true)
		}
		columns[i] = column{name: left[i].name, value: v}
	}
	b.sort(s.SortClause, sc, columns)
	return columns, true
}

func (b *builder) values(lists []*pg_query.Node, sc *scope) []column {
	var columns []column
	for _, l := range lists {
		for i, n := range l.GetList().GetItems() {
			v := b.expr(n, sc, false)
			if i == len(columns) {
				columns = append(columns, column{name: valuesColumn(i), value: constant})
			}
			columns[i].value = either(columns[i].value, v)
		}
	}
	return columns
}

// with analyses a WITH list and adds its entries to sc.
func (b *builder) with(w *pg_query.WithClause, sc *scope) {
	if w == nil {
		return
	}
	if !w.Recursive {
		for _, n := range w.Ctes {
			e := n.GetCommonTableExpr()
			c := &cte{name: e.Ctename}
			c.columns, c.known = b.cteBody(e, sc)
			sc.ctes = append(sc.ctes, c)
		}
		return
	}
	var pending []*cte
	for _, n := range w.Ctes {
		e := n.GetCommonTableExpr()
		c := &cte{name: e.Ctename}
		c.resolve = func() { c.resolve = nil; b.recursive(c, e, sc) }
		sc.ctes = append(sc.ctes, c)
		pending = append(pending, c)
	}
	for _, c := range pending {
		if c.resolve != nil {
			c.resolve()
		}
	}
}

// maxRounds bounds the search for what can reach a recursive query's columns.
// Each round can only add sources; one a column is the longest chain.
const maxRounds = 40

// recursive analyses an entry of WITH RECURSIVE: first without itself, then
// with what it gave, until nothing is added.
func (b *builder) recursive(c *cte, e *pg_query.CommonTableExpr, sc *scope) {
	body := e.Ctequery.GetSelectStmt()
	if body == nil || body.Op != pg_query.SetOperation_SETOP_UNION {
		c.columns, c.known = b.cteBody(e, sc)
		return
	}
	start := &scope{parent: sc}
	b.with(body.WithClause, start)
	c.columns, c.known = b.query(body.Larg, start)
	c.columns = b.cteColumns(e, c.columns)
	for range maxRounds {
		columns, known := b.cteBody(e, sc)
		same := known == c.known && sameSources(columns, c.columns)
		c.columns, c.known = columns, known
		if same {
			return
		}
	}
	for i := range c.columns {
		c.columns[i].value = opaque
	}
}

func sameSources(a, b []column) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if len(a[i].value.from) != len(b[i].value.from) || a[i].value.how != b[i].value.how {
			return false
		}
	}
	return true
}

func (b *builder) cteBody(e *pg_query.CommonTableExpr, sc *scope) ([]column, bool) {
	columns, known := b.rows(e.Ctequery, sc)
	return b.cteColumns(e, columns), known
}

// cteColumns applies an entry's column names and adds those of SEARCH and
// CYCLE.
func (b *builder) cteColumns(e *pg_query.CommonTableExpr, columns []column) []column {
	columns = rename(columns, e.Aliascolnames)
	if search := e.SearchClause; search != nil {
		columns = append(columns, column{name: search.SearchSeqColumn, value: b.named(columns, search.SearchColList)})
	}
	if cycle := e.CycleClause; cycle != nil {
		v := b.named(columns, cycle.CycleColList)
		sc := &scope{}
		columns = append(columns, column{name: cycle.CycleMarkColumn, value: combine(
			v, b.expr(cycle.CycleMarkValue, sc, false), b.expr(cycle.CycleMarkDefault, sc, false))})
		columns = append(columns, column{name: cycle.CyclePathColumn, value: v})
	}
	return columns
}

// named is the value made of the columns of those names.
func (b *builder) named(columns []column, names []*pg_query.Node) value {
	v := computed
	for _, n := range names {
		for _, c := range columns {
			if c.name == n.GetString_().GetSval() {
				v = combine(v, c.value)
				b.read(c.value, true)
			}
		}
	}
	return v
}

// rows analyses a statement that gives rows inside another: a query, or a
// data-modifying statement with RETURNING.
func (b *builder) rows(n *pg_query.Node, sc *scope) ([]column, bool) {
	switch s := n.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		if s.SelectStmt.IntoClause != nil {
			b.into(s.SelectStmt.IntoClause)
		}
		return b.query(s.SelectStmt, sc)
	case *pg_query.Node_InsertStmt:
		return b.insert(s.InsertStmt, sc), true
	case *pg_query.Node_UpdateStmt:
		return b.update(s.UpdateStmt, sc)
	case *pg_query.Node_DeleteStmt:
		return b.delete(s.DeleteStmt, sc)
	case *pg_query.Node_MergeStmt:
		b.merge(s.MergeStmt, sc)
		return nil, true
	}
	b.notUnderstood(n)
	return nil, false
}

// targetList analyses the columns of a SELECT or RETURNING.
func (b *builder) targetList(list []*pg_query.Node, sc *scope) ([]column, bool) {
	var columns []column
	known := true
	for _, n := range list {
		t := n.GetResTarget()
		if t == nil {
			b.notUnderstood(n)
			known = false
			continue
		}
		if stars, ok, expanded := b.star(t.Val, sc); expanded {
			columns = append(columns, stars...)
			known = known && ok
			continue
		}
		v := b.expr(t.Val, sc, false)
		b.read(v, false)
		name := t.Name
		if name == "" {
			name = columnName(t.Val)
		}
		columns = append(columns, column{name: name, value: v})
	}
	return columns, known
}

// star expands *, t.* and (row).*. The last result is false for anything else.
func (b *builder) star(n *pg_query.Node, sc *scope) (columns []column, known, expanded bool) {
	if ref := n.GetColumnRef(); ref != nil {
		if len(ref.Fields) == 0 || ref.Fields[len(ref.Fields)-1].GetAStar() == nil {
			return nil, false, false
		}
		if len(ref.Fields) == 1 {
			for _, c := range sc.names.columns {
				b.read(c.value, false)
			}
			return sc.names.columns, !sc.names.unknown, true
		}
		it := b.itemOf(ref.Fields[:len(ref.Fields)-1], sc)
		if it == nil || !it.known {
			return nil, false, true
		}
		for _, c := range it.columns {
			b.read(c.value, false)
		}
		return it.columns, true, true
	}
	ind := n.GetAIndirection()
	if ind == nil || len(ind.Indirection) == 0 || ind.Indirection[len(ind.Indirection)-1].GetAStar() == nil {
		return nil, false, false
	}
	v := b.indirect(ind.Arg, ind.Indirection[:len(ind.Indirection)-1], sc, false)
	if v.row == nil {
		return nil, false, true
	}
	return v.row, true, true
}

// where analyses a WHERE clause.
func (b *builder) where(n *pg_query.Node, sc *scope) {
	if n == nil {
		return
	}
	b.filter(n, sc)
	always := holdsAlways(n)
	if b.action.WhereConstant == nil {
		b.action.WhereConstant = &always
	} else if always {
		b.action.WhereConstant = &always
	}
}

// filter analyses an expression that decides which rows come.
func (b *builder) filter(n *pg_query.Node, sc *scope) value {
	if n == nil {
		return constant
	}
	return b.expr(n, sc, true)
}

// sort analyses ORDER BY. A plain name there means a result column first, a
// number the column of that position.
func (b *builder) sort(list []*pg_query.Node, sc *scope, columns []column) {
	aliases := map[string]value{}
	for _, c := range columns {
		aliases[c.name] = c.value
	}
	for _, n := range list {
		b.sortItem(n, sc, aliases, columns, true)
	}
}

func (b *builder) sortItem(n *pg_query.Node, sc *scope, aliases map[string]value, columns []column, aliasFirst bool) {
	if by := n.GetSortBy(); by != nil {
		if len(by.UseOp) > 0 {
			b.operator(by.UseOp, computed, computed)
		}
		b.sortItem(by.Node, sc, aliases, columns, aliasFirst)
		return
	}
	if set := n.GetGroupingSet(); set != nil {
		for _, inner := range set.Content {
			b.sortItem(inner, sc, aliases, columns, aliasFirst)
		}
		return
	}
	if c := n.GetAConst(); c.GetIval() != nil {
		if i := int(c.GetIval().GetIval()); i >= 1 && i <= len(columns) {
			b.read(columns[i-1].value, true)
		}
		return
	}
	if ref := n.GetColumnRef(); ref != nil && len(ref.Fields) == 1 && ref.Fields[0].GetString_() != nil {
		name := ref.Fields[0].GetString_().GetSval()
		if v, ok := aliases[name]; ok {
			b.read(v, true)
			// GROUP BY takes a FROM clause's column of that name first, ORDER
			// BY the result's: count both.
			if w, ok := sc.column(name); ok && !aliasFirst {
				b.read(w, true)
			}
			return
		}
	}
	b.filter(n, sc)
}

func (b *builder) limits(s *pg_query.SelectStmt, sc *scope) {
	for _, n := range []*pg_query.Node{s.LimitCount, s.LimitOffset} {
		if n != nil {
			b.filter(n, sc)
		}
	}
}

func (b *builder) locking(s *pg_query.SelectStmt, sc *scope) {
	for _, n := range s.LockingClause {
		b.action.Locks = true
		l := n.GetLockingClause()
		if len(l.LockedRels) == 0 {
			for _, f := range s.FromClause {
				b.lockIn(f, "")
			}
			continue
		}
		for _, rel := range l.LockedRels {
			// These name entries of the FROM clause, by alias.
			rv := rel.GetRangeVar()
			b.seen[rv] = true
			for _, f := range s.FromClause {
				b.lockIn(f, rv.Relname)
			}
		}
	}
}

// lockIn notes the lock on the relations of a FROM entry, all of them or the
// one called name.
func (b *builder) lockIn(n *pg_query.Node, name string) {
	switch f := n.GetNode().(type) {
	case *pg_query.Node_RangeVar:
		rv := f.RangeVar
		called := rv.Relname
		if rv.Alias != nil {
			called = rv.Alias.Aliasname
		}
		if name == "" || name == called {
			if t, ok := b.resolved[rv]; ok {
				b.touch(t, "lock", rv.Inh)
			}
		}
	case *pg_query.Node_JoinExpr:
		b.lockIn(f.JoinExpr.Larg, name)
		b.lockIn(f.JoinExpr.Rarg, name)
	case *pg_query.Node_RangeSubselect:
		called := f.RangeSubselect.GetAlias().GetAliasname()
		if name == "" || name == called {
			for _, inner := range f.RangeSubselect.Subquery.GetSelectStmt().GetFromClause() {
				b.lockIn(inner, "")
			}
		}
	}
}

// constantLimit is the outermost LIMIT where it is a literal.
func constantLimit(s *pg_query.SelectStmt) *int64 {
	c := s.GetLimitCount().GetAConst()
	if c == nil || c.Isnull {
		return nil
	}
	if i := c.GetIval(); i != nil {
		n := int64(i.GetIval())
		return &n
	}
	return nil
}
