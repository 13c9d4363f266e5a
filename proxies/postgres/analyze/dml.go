package analyze

import (
	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
)

// insert analyses INSERT and returns the columns of RETURNING.
func (b *builder) insert(s *pg_query.InsertStmt, outer *scope) []column {
	b.verb("insert")
	b.action.Writes = true
	sc := &scope{parent: outer}
	b.with(s.WithClause, sc)
	t := b.resolve(s.Relation)
	b.touch(t, "insert", true)
	it := aliased(b.relationItem(t, false), s.Relation.Alias)

	var given []column
	known := true
	if s.SelectStmt != nil {
		given, known = b.rows(s.SelectStmt, sc)
	}
	assigned := map[string]value{}
	assign := func(name string, v value) {
		b.write(t, name)
		b.flow(t, name, v)
		assigned[name] = v
	}
	switch {
	case len(s.Cols) > 0:
		for i, n := range s.Cols {
			v := opaque
			if known && i < len(given) {
				v = given[i].value
			}
			assign(n.GetResTarget().GetName(), v)
			old, _ := it.column(n.GetResTarget().GetName())
			b.indirections(n.GetResTarget(), old, sc)
		}
	case !it.known || !known:
		b.write(t, "*")
		b.flow(t, "*", opaque)
		for _, c := range it.columns {
			assigned[c.name] = opaque
		}
	default:
		for i, c := range given {
			if i < len(it.columns) {
				assign(it.columns[i].name, c.value)
			}
		}
	}
	if c := s.OnConflictClause; c != nil {
		b.onConflict(c, t, it, sc, assigned)
	}
	columns, _ := b.returning(s.ReturningList, it, namespace{}, sc, assigned)
	return columns
}

// indirections analyses the steps of SET a.b[1] = …, where old is a.
func (b *builder) indirections(n *pg_query.ResTarget, old value, sc *scope) {
	for _, i := range n.GetIndirection() {
		if idx := i.GetAIndices(); idx != nil {
			b.expr(idx.Lidx, sc, false)
			b.expr(idx.Uidx, sc, false)
		}
		if f, ok := old.field(i.GetString_().GetSval()); ok {
			b.read(f, false)
			old = f
		}
	}
}

func (b *builder) onConflict(c *pg_query.OnConflictClause, t target, it *item, sc *scope, assigned map[string]value) {
	inner := &scope{parent: sc.parent, ctes: sc.ctes, names: single(it)}
	if c.Infer != nil {
		for _, n := range c.Infer.IndexElems {
			e := n.GetIndexElem()
			if e.GetName() != "" {
				v, _ := it.column(e.Name)
				b.read(v, true)
			}
			b.filter(e.GetExpr(), inner)
		}
		b.filter(c.Infer.WhereClause, inner)
	}
	if c.Action != pg_query.OnConflictAction_ONCONFLICT_UPDATE {
		return
	}
	b.verb("update")
	b.touch(t, "update", true)
	// Two names of the same columns: the row that is there, and "excluded",
	// the row that was to be inserted.
	excluded := &item{name: "excluded", known: it.known}
	for _, col := range it.columns {
		v := col.value
		if a, ok := assigned[col.name]; ok {
			v = combine(v, a)
		}
		excluded.columns = append(excluded.columns, column{name: col.name, value: derived(v)})
	}
	inner.names.items = append(inner.names.items, excluded)
	for name, v := range b.assignments(c.TargetList, t, inner) {
		if old, ok := assigned[name]; ok {
			v = combine(old, v)
		}
		assigned[name] = v
	}
	b.where(c.WhereClause, inner)
}

// assignments analyses SET and returns what each column is given.
func (b *builder) assignments(list []*pg_query.Node, t target, sc *scope) map[string]value {
	assigned := map[string]value{}
	var several []column // of the current (a, b) = (…)
	for _, n := range list {
		r := n.GetResTarget()
		if r == nil {
			b.notUnderstood(n)
			continue
		}
		b.write(t, r.Name)
		old, _ := sc.column(r.Name)
		b.indirections(r, old, sc)
		var v value
		if m := r.Val.GetMultiAssignRef(); m != nil {
			if m.Colno == 1 {
				several = b.assignedTogether(m.Source, sc)
			} else {
				b.skip(m.Source) // the same once more, for each column
			}
			v = opaque
			if i := int(m.Colno) - 1; i >= 0 && i < len(several) {
				v = several[i].value
			}
		} else {
			v = b.expr(r.Val, sc, false)
		}
		if len(r.Indirection) > 0 {
			v = derived(combine(computed, v))
		}
		if old, ok := assigned[r.Name]; ok {
			v = combine(old, v)
		}
		assigned[r.Name] = v
		b.flow(t, r.Name, v)
	}
	return assigned
}

// assignedTogether are the values of the right side of (a, b) = ….
func (b *builder) assignedTogether(n *pg_query.Node, sc *scope) []column {
	if l := n.GetSubLink(); l != nil {
		columns, known := b.rows(l.Subselect, sc)
		for i := range columns {
			b.read(columns[i].value, false)
			if !known {
				columns[i].value = opaque
			}
		}
		return columns
	}
	v := b.expr(n, sc, false)
	return v.row
}

// flow notes that a column is given values of other columns.
func (b *builder) flow(t target, name string, v value) {
	if v.how == input.Constant && len(v.from) == 0 {
		return
	}
	f := Flow{Column: t.name + "." + name, Sources: v.from.names(), Derivation: v.how}
	if len(f.Sources) == 1 && f.Sources[0] == f.Column && f.Derivation == input.Exact {
		return
	}
	b.effects.Flows = append(b.effects.Flows, f)
}

func (b *builder) write(t target, name string) {
	b.table(t.name, "unknown").written[name] = true
	if name != "*" {
		s := newSource(t.name, name)
		b.written[s.name] = s
	}
	if t.rel != nil && name != "*" {
		for _, r := range t.rel.Ancestors() {
			b.table(r.QualifiedName(), string(r.Kind)).written[name] = true
		}
		for _, r := range t.rel.Descendants() {
			b.table(r.QualifiedName(), string(r.Kind)).written[name] = true
		}
	}
}

// returning analyses RETURNING. A column that the statement gave a value holds
// what that value was made of: UPDATE … SET name = email RETURNING name
// returns e-mail addresses.
func (b *builder) returning(list []*pg_query.Node, it *item, others namespace, sc *scope, assigned map[string]value) ([]column, bool) {
	if len(list) == 0 {
		return nil, true
	}
	b.action.Returning = true
	now := &item{name: it.name, schema: it.schema, known: it.known, system: it.system}
	for _, c := range it.columns {
		v := c.value
		if a, ok := assigned[c.name]; ok && (a.how != input.Constant || len(a.from) > 0) && !sameValue(a, v) {
			v = combine(v, a)
		}
		now.columns = append(now.columns, column{name: c.name, value: v})
	}
	names := single(now)
	names.add(others)
	return b.targetList(list, &scope{parent: sc.parent, ctes: sc.ctes, names: names})
}

// sameValue says whether a column was given its own value.
func sameValue(a, b value) bool {
	if a.how != input.Exact || b.how != input.Exact || len(a.from) != len(b.from) {
		return false
	}
	for i := range a.from {
		if a.from[i].name != b.from[i].name {
			return false
		}
	}
	return true
}

// update analyses UPDATE and returns the columns of RETURNING.
func (b *builder) update(s *pg_query.UpdateStmt, outer *scope) ([]column, bool) {
	b.verb("update")
	b.action.Writes = true
	sc := &scope{parent: outer}
	b.with(s.WithClause, sc)
	t := b.resolve(s.Relation)
	b.touch(t, "update", s.Relation.Inh)
	it := aliased(b.relationItem(t, s.Relation.Inh), s.Relation.Alias)
	sc.names.add(single(it))
	others := b.besides(s.FromClause, sc)
	assigned := b.assignments(s.TargetList, t, sc)
	b.needsWhere(s.WhereClause != nil)
	b.where(s.WhereClause, sc)
	return b.returning(s.ReturningList, it, others, sc, assigned)
}

// besides analyses FROM or USING of an UPDATE or DELETE and returns its names.
func (b *builder) besides(list []*pg_query.Node, sc *scope) namespace {
	var others namespace
	for _, n := range list {
		ns := b.fromItem(n, sc, sc.names)
		others.add(ns)
		sc.names.add(ns)
	}
	return others
}

// delete analyses DELETE and returns the columns of RETURNING.
func (b *builder) delete(s *pg_query.DeleteStmt, outer *scope) ([]column, bool) {
	b.verb("delete")
	b.action.Writes = true
	sc := &scope{parent: outer}
	b.with(s.WithClause, sc)
	t := b.resolve(s.Relation)
	b.touch(t, "delete", s.Relation.Inh)
	it := aliased(b.relationItem(t, s.Relation.Inh), s.Relation.Alias)
	sc.names.add(single(it))
	others := b.besides(s.UsingClause, sc)
	b.needsWhere(s.WhereClause != nil)
	b.where(s.WhereClause, sc)
	return b.returning(s.ReturningList, it, others, sc, nil)
}

func (b *builder) needsWhere(has bool) {
	if b.action.HasWhere == nil || !has {
		b.action.HasWhere = &has
	}
}

// merge analyses MERGE. Its join condition stands for WHERE.
func (b *builder) merge(s *pg_query.MergeStmt, outer *scope) {
	b.verb("merge")
	b.action.Writes = true
	sc := &scope{parent: outer}
	b.with(s.WithClause, sc)
	t := b.resolve(s.Relation)
	it := aliased(b.relationItem(t, s.Relation.Inh), s.Relation.Alias)
	source := b.fromItem(s.SourceRelation, sc, namespace{})
	sc.names.add(single(it))
	sc.names.add(source)
	b.where(s.JoinCondition, sc)
	for _, n := range s.MergeWhenClauses {
		w := n.GetMergeWhenClause()
		b.filter(w.Condition, sc)
		switch w.CommandType {
		case pg_query.CmdType_CMD_INSERT:
			b.verb("insert")
			b.touch(t, "insert", true)
			for _, c := range w.TargetList {
				b.write(t, c.GetResTarget().GetName())
			}
			if len(w.TargetList) == 0 {
				for i := range w.Values {
					if i < len(it.columns) {
						b.write(t, it.columns[i].name)
					}
				}
			}
			for i, n := range w.Values {
				name := "*"
				if i < len(w.TargetList) {
					name = w.TargetList[i].GetResTarget().GetName()
				} else if len(w.TargetList) == 0 && i < len(it.columns) {
					name = it.columns[i].name
				}
				b.flow(t, name, b.expr(n, sc, false))
			}
		case pg_query.CmdType_CMD_UPDATE:
			b.verb("update")
			b.touch(t, "update", s.Relation.Inh)
			b.needsWhere(true)
			b.assignments(w.TargetList, t, sc)
		case pg_query.CmdType_CMD_DELETE:
			b.verb("delete")
			b.touch(t, "delete", s.Relation.Inh)
			b.needsWhere(true)
		case pg_query.CmdType_CMD_NOTHING:
		default:
			b.notUnderstood(n)
		}
	}
	if len(b.table(t.name, "unknown").access) == 0 {
		b.touch(t, "read", s.Relation.Inh)
	}
}
