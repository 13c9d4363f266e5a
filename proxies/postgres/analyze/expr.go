package analyze

import (
	"slices"
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// expr analyses an expression: notes what it reads and calls, and returns
// what its value is made of. filter says that it decides which rows come.
// Every kind of node has its case; one without makes the statement opaque.
func (b *builder) expr(n *pg_query.Node, sc *scope, filter bool) value {
	if n == nil || n.Node == nil {
		return constant
	}
	if !b.step() {
		return opaque
	}
	switch e := n.Node.(type) {
	case *pg_query.Node_AConst:
		return value{how: input.Constant, typ: constantType(e.AConst)}
	case *pg_query.Node_ParamRef, *pg_query.Node_SetToDefault,
		*pg_query.Node_SqlvalueFunction,
		*pg_query.Node_Integer, *pg_query.Node_Float, *pg_query.Node_Boolean, *pg_query.Node_String_, *pg_query.Node_BitString:
		return constant
	case *pg_query.Node_ColumnRef:
		v := b.columnRef(e.ColumnRef, sc, filter)
		b.read(v, filter)
		return v
	case *pg_query.Node_AIndirection:
		return b.indirect(e.AIndirection.Arg, e.AIndirection.Indirection, sc, filter)
	case *pg_query.Node_TypeCast:
		v := b.expr(e.TypeCast.Arg, sc, filter)
		return b.cast(e.TypeCast, v)
	case *pg_query.Node_CollateClause:
		return derived(b.expr(e.CollateClause.Arg, sc, filter))
	case *pg_query.Node_AExpr:
		return b.operation(e.AExpr, sc, filter)
	case *pg_query.Node_BoolExpr:
		return b.all(e.BoolExpr.Args, sc, filter)
	case *pg_query.Node_NullTest:
		return derived(b.expr(e.NullTest.Arg, sc, filter))
	case *pg_query.Node_BooleanTest:
		return derived(b.expr(e.BooleanTest.Arg, sc, filter))
	case *pg_query.Node_FuncCall:
		return b.call(e.FuncCall, sc, filter)
	case *pg_query.Node_NamedArgExpr:
		return b.expr(e.NamedArgExpr.Arg, sc, filter)
	case *pg_query.Node_SubLink:
		return b.subLink(e.SubLink, sc, filter)
	case *pg_query.Node_CaseExpr:
		// What is tested reaches the value too: it decides which it is.
		v := combine(b.expr(e.CaseExpr.Arg, sc, filter), b.all(e.CaseExpr.Args, sc, filter), b.expr(e.CaseExpr.Defresult, sc, filter))
		return derived(v)
	case *pg_query.Node_CaseWhen:
		return derived(combine(b.expr(e.CaseWhen.Expr, sc, filter), b.expr(e.CaseWhen.Result, sc, filter)))
	case *pg_query.Node_CoalesceExpr:
		return b.all(e.CoalesceExpr.Args, sc, filter)
	case *pg_query.Node_MinMaxExpr:
		return b.all(e.MinMaxExpr.Args, sc, filter)
	case *pg_query.Node_AArrayExpr:
		return b.arrayExpr(e.AArrayExpr, sc, filter)
	case *pg_query.Node_RowExpr:
		return b.rowExpr(e.RowExpr, sc, filter)
	case *pg_query.Node_List:
		return b.all(e.List.Items, sc, filter)
	case *pg_query.Node_GroupingFunc:
		return b.all(e.GroupingFunc.Args, sc, filter)
	case *pg_query.Node_XmlExpr:
		return derived(combine(b.all(e.XmlExpr.NamedArgs, sc, filter), b.all(e.XmlExpr.Args, sc, filter)))
	case *pg_query.Node_XmlSerialize:
		v := b.expr(e.XmlSerialize.Expr, sc, filter)
		b.typeName(e.XmlSerialize.TypeName, v)
		return derived(v)
	case *pg_query.Node_ResTarget:
		return b.expr(e.ResTarget.Val, sc, filter)
	case *pg_query.Node_SortBy:
		if len(e.SortBy.UseOp) > 0 {
			b.operator(e.SortBy.UseOp, computed, computed)
		}
		return b.expr(e.SortBy.Node, sc, filter)
	case *pg_query.Node_MultiAssignRef:
		return b.expr(e.MultiAssignRef.Source, sc, filter)
	case *pg_query.Node_CurrentOfExpr:
		if b.cursor(e.CurrentOfExpr.CursorName) == nil {
			b.dontKnow("cursor", e.CurrentOfExpr.CursorName, whyNoCursor)
		}
		return computed
	case *pg_query.Node_JsonIsPredicate:
		return derived(b.expr(e.JsonIsPredicate.Expr, sc, filter))
	case *pg_query.Node_JsonValueExpr:
		return b.jsonValue(e.JsonValueExpr, sc, filter)
	case *pg_query.Node_JsonKeyValue:
		return b.jsonPair(e.JsonKeyValue, sc, filter)
	case *pg_query.Node_JsonObjectConstructor:
		return b.json(b.all(e.JsonObjectConstructor.Exprs, sc, filter), e.JsonObjectConstructor.Output)
	case *pg_query.Node_JsonArrayConstructor:
		return b.json(b.all(e.JsonArrayConstructor.Exprs, sc, filter), e.JsonArrayConstructor.Output)
	case *pg_query.Node_JsonArrayQueryConstructor:
		return b.json(b.subquery(e.JsonArrayQueryConstructor.Query, sc, filter), e.JsonArrayQueryConstructor.Output)
	case *pg_query.Node_JsonObjectAgg:
		v := b.jsonPair(e.JsonObjectAgg.Arg, sc, filter)
		return b.jsonAggregate(v, e.JsonObjectAgg.Constructor, sc, filter)
	case *pg_query.Node_JsonArrayAgg:
		v := b.jsonValue(e.JsonArrayAgg.Arg, sc, filter)
		return b.jsonAggregate(v, e.JsonArrayAgg.Constructor, sc, filter)
	}
	b.notUnderstood(n)
	return opaque
}

// all is the value of an expression over all of list.
func (b *builder) all(list []*pg_query.Node, sc *scope, filter bool) value {
	v := constant
	for _, n := range list {
		v = combine(v, b.expr(n, sc, filter))
	}
	return v
}

func (b *builder) arrayExpr(e *pg_query.A_ArrayExpr, sc *scope, filter bool) value {
	v, scalars := constant, true
	for _, n := range e.Elements {
		el := b.expr(n, sc, filter)
		switch n.GetNode().(type) {
		case *pg_query.Node_AConst, *pg_query.Node_ParamRef, *pg_query.Node_AExpr:
		default:
			scalars = scalars && !b.rowType(el.typ)
		}
		v = combine(v, el)
	}
	v.array, v.scalars = true, scalars
	return v
}

// The types that constants have (pg_type.dat).
const (
	typeBool    = 16
	typeInt4    = 23
	typeUnknown = 705
)

func constantType(c *pg_query.A_Const) catalog.OID {
	switch c.Val.(type) {
	case *pg_query.A_Const_Ival:
		return typeInt4
	case *pg_query.A_Const_Boolval:
		return typeBool
	case *pg_query.A_Const_Sval:
		return typeUnknown
	}
	return 0
}

// columnRef resolves a name as the server does: a column first, then a FROM
// entry as a whole row, then a function of the row.
func (b *builder) columnRef(ref *pg_query.ColumnRef, sc *scope, filter bool) value {
	fields := ref.Fields
	if len(fields) == 0 {
		return opaque
	}
	if fields[len(fields)-1].GetAStar() != nil {
		if len(fields) == 1 {
			return derived(rowOf(sc.names.columns))
		}
		it := b.itemOf(fields[:len(fields)-1], sc)
		if it == nil {
			return opaque
		}
		return it.row()
	}
	name := fields[len(fields)-1].GetString_().GetSval()
	if len(fields) == 1 {
		if v, ok := sc.column(name); ok {
			if sc.guesses(name) {
				b.dontKnow("column", name, whyNoColumns)
			}
			return v
		}
		if it := sc.item("", name); it != nil {
			return it.row()
		}
		b.dontKnow("column", name, whyNotInScope)
		return opaque
	}
	it := b.itemOf(fields[:len(fields)-1], sc)
	if it == nil {
		return opaque
	}
	if v, ok := it.column(name); ok {
		return v
	}
	if !it.known {
		return it.any()
	}
	return b.invoke([]string{name}, []value{it.row()}, filter)
}

// itemOf finds the FROM entry that name, schema.name or database.schema.name
// refers to, nil when there is none.
func (b *builder) itemOf(fields []*pg_query.Node, sc *scope) *item {
	parts := make([]string, len(fields))
	for i, f := range fields {
		parts[i] = f.GetString_().GetSval()
	}
	var it *item
	switch len(parts) {
	case 1:
		it = sc.item("", parts[0])
	case 2:
		it = sc.item(parts[0], parts[1])
	case 3:
		if b.snap == nil || parts[0] == b.snap.Database {
			it = sc.item(parts[1], parts[2])
		}
	}
	if it == nil {
		b.dontKnow("range", strings.Join(parts, "."), whyNotInScope)
	}
	return it
}

// indirect is (arg).field, (arg)[i] and their chains.
func (b *builder) indirect(arg *pg_query.Node, steps []*pg_query.Node, sc *scope, filter bool) value {
	// Reading (c).email reads email, not all of c: the row is narrowed before
	// its columns are noted.
	var v value
	ref := arg.GetColumnRef()
	if ref != nil {
		v = b.columnRef(ref, sc, filter)
	} else {
		v = b.expr(arg, sc, filter)
	}
	for _, step := range steps {
		switch s := step.GetNode().(type) {
		case *pg_query.Node_String_:
			v = b.selectField(v, s.String_.GetSval(), filter)
		case *pg_query.Node_AIndices:
			v = derived(combine(v, b.expr(s.AIndices.Lidx, sc, filter), b.expr(s.AIndices.Uidx, sc, filter)))
		case *pg_query.Node_AStar:
			v = derived(v)
		default:
			b.notUnderstood(step)
			v = opaque
		}
	}
	b.read(v, filter)
	return v
}

// selectField is (v).name: a field of a row, or a function of it.
func (b *builder) selectField(v value, name string, filter bool) value {
	if f, ok := v.field(name); ok {
		return f
	}
	if v.row == nil {
		// A row whose fields are not known here: every one of them may be it.
		// A function called in this way cannot be told from a field.
		if len(b.candidates([]string{name}, 1)) > 0 {
			return b.invoke([]string{name}, []value{v}, filter)
		}
		return derived(v)
	}
	return b.invoke([]string{name}, []value{v}, filter)
}

func (b *builder) rowExpr(r *pg_query.RowExpr, sc *scope, filter bool) value {
	var fields []column
	known := true
	for _, n := range r.Args {
		if columns, ok, expanded := b.star(n, sc); expanded {
			known = known && ok
			for _, c := range columns {
				fields = append(fields, column{value: c.value})
			}
			continue
		}
		fields = append(fields, column{value: b.expr(n, sc, filter)})
	}
	for i := range fields {
		fields[i].name = "f" + strconv.Itoa(i+1)
		b.read(fields[i].value, filter)
	}
	if !known {
		return opaque
	}
	v := rowOf(fields)
	v.row = fields
	return v
}

// operation is an operator, IN, LIKE, BETWEEN and their kin.
func (b *builder) operation(e *pg_query.A_Expr, sc *scope, filter bool) value {
	l := b.expr(e.Lexpr, sc, filter)
	r := b.expr(e.Rexpr, sc, filter)
	b.operator(e.Name, l, r)
	return combine(l, r)
}

// operator notes the users' functions behind an operator's name: of those that
// take operands of these types, where the types are known.
func (b *builder) operator(names []*pg_query.Node, l, r value) {
	if b.snap == nil || len(names) == 0 {
		return
	}
	parts := nameParts(names)
	name := parts[len(parts)-1]
	path := b.set.SearchPath
	if len(parts) > 1 {
		path = parts[len(parts)-2 : len(parts)-1]
	}
	for _, schema := range path {
		for _, op := range b.snap.Operators(schema, name) {
			switch {
			case !b.snap.Coercible(l.typ, op.Left) || !b.snap.Coercible(r.typ, op.Right):
			case op.Function == nil:
				b.hides("operator", schema+"."+name, whyNotFound)
			case op.Function.Category != catalog.Safe:
				b.runs(op.Function)
			}
		}
	}
}

// subLink is a query inside an expression.
func (b *builder) subLink(s *pg_query.SubLink, sc *scope, filter bool) value {
	test := b.expr(s.Testexpr, sc, filter)
	if len(s.OperName) > 0 {
		b.operator(s.OperName, test, computed)
	}
	switch s.SubLinkType {
	case pg_query.SubLinkType_EXPR_SUBLINK:
		return b.subquery(s.Subselect, sc, filter)
	case pg_query.SubLinkType_ARRAY_SUBLINK:
		v := b.subquery(s.Subselect, sc, filter)
		v.array, v.scalars = true, !b.rowType(v.typ)
		v.row, v.typ = nil, 0
		return v
	}
	// EXISTS, IN, ANY and ALL tell of every column that the query reads.
	before := b.reads
	b.reads = map[string]*source{}
	v := b.subquery(s.Subselect, sc, filter)
	var inside sources
	for _, r := range b.reads {
		inside = append(inside, r)
	}
	for name, r := range before {
		b.reads[name] = r
	}
	v = combine(computed, v, test, value{from: sortSources(inside), how: input.Derived})
	return v
}

// subquery is a scalar or array sub-select.
func (b *builder) subquery(n *pg_query.Node, sc *scope, filter bool) value {
	columns, known := b.rows(n, sc)
	v := computed
	for _, c := range columns {
		b.read(c.value, filter)
		v = combine(v, c.value)
	}
	if !known {
		v.how = input.Opaque
	}
	if len(columns) == 1 {
		v.typ = columns[0].value.typ
		if columns[0].value.row != nil {
			v.row = derivedFields(columns[0].value.row)
		}
	}
	return v
}

// derivedFields are the fields of a row that went through a sub-select or an
// aggregate, after which the server does not say where they come from.
func derivedFields(columns []column) []column {
	out := make([]column, len(columns))
	for i, c := range columns {
		out[i] = column{name: c.name, value: derived(c.value)}
	}
	return out
}

func (b *builder) jsonValue(e *pg_query.JsonValueExpr, sc *scope, filter bool) value {
	if e == nil {
		return constant
	}
	return combine(b.expr(e.RawExpr, sc, filter), b.expr(e.FormattedExpr, sc, filter))
}

func (b *builder) jsonPair(e *pg_query.JsonKeyValue, sc *scope, filter bool) value {
	if e == nil {
		return constant
	}
	return combine(b.expr(e.Key, sc, filter), b.jsonValue(e.Value, sc, filter))
}

func (b *builder) json(v value, out *pg_query.JsonOutput) value {
	if out != nil {
		b.typeName(out.TypeName, v)
	}
	return combine(computed, v)
}

func (b *builder) jsonAggregate(v value, c *pg_query.JsonAggConstructor, sc *scope, filter bool) value {
	if c != nil {
		v = combine(v, b.expr(c.AggFilter, sc, true), b.all(c.AggOrder, sc, true), b.window(c.Over, sc))
		return b.json(v, c.Output)
	}
	return combine(computed, v)
}

// window analyses OVER (…) or a WINDOW entry.
func (b *builder) window(w *pg_query.WindowDef, sc *scope) value {
	if w == nil {
		return constant
	}
	return combine(b.all(w.PartitionClause, sc, true), b.all(w.OrderClause, sc, true),
		b.expr(w.StartOffset, sc, true), b.expr(w.EndOffset, sc, true))
}

// holdsAlways says whether a condition does not depend on the row: it refers
// to no column, or has an arm of OR that does not, or compares a column with
// itself.
func holdsAlways(n *pg_query.Node) bool {
	if e := n.GetBoolExpr(); e != nil {
		switch e.Boolop {
		case pg_query.BoolExprType_OR_EXPR:
			return slices.ContainsFunc(e.Args, holdsAlways)
		case pg_query.BoolExprType_AND_EXPR:
			return !slices.ContainsFunc(e.Args, func(n *pg_query.Node) bool { return !holdsAlways(n) })
		}
	}
	if e := n.GetAExpr(); e != nil && e.Kind == pg_query.A_Expr_Kind_AEXPR_OP {
		l, r := e.Lexpr.GetColumnRef(), e.Rexpr.GetColumnRef()
		if l != nil && r != nil && strings.Join(nameParts(l.Fields), ".") == strings.Join(nameParts(r.Fields), ".") {
			return true
		}
	}
	return !mentionsColumn(n)
}
