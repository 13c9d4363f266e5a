package analyze

import (
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// from analyses a FROM list and adds its names to sc.
func (b *builder) from(list []*pg_query.Node, sc *scope) {
	for _, n := range list {
		sc.names.add(b.fromItem(n, sc, sc.names))
	}
}

// fromItem analyses one entry of a FROM list, or one side of a join. beside
// are the names to its left, which LATERAL entries and functions see.
func (b *builder) fromItem(n *pg_query.Node, sc *scope, beside namespace) namespace {
	lateral := &scope{parent: sc.parent, ctes: sc.ctes, names: beside}
	switch f := n.GetNode().(type) {
	case *pg_query.Node_RangeVar:
		return single(b.rangeVar(f.RangeVar, sc))
	case *pg_query.Node_RangeSubselect:
		s := f.RangeSubselect
		outer := sc.below()
		if s.Lateral {
			outer = lateral
		}
		columns, known := b.rows(s.Subquery, outer)
		return single(aliased(&item{columns: columns, known: known}, s.Alias))
	case *pg_query.Node_RangeFunction:
		return single(b.rangeFunction(f.RangeFunction, lateral))
	case *pg_query.Node_RangeTableFunc:
		return single(b.rangeTable(f.RangeTableFunc, lateral))
	case *pg_query.Node_RangeTableSample:
		s := f.RangeTableSample
		for _, a := range append([]*pg_query.Node{s.Repeatable}, s.Args...) {
			if a != nil {
				b.filter(a, lateral)
			}
		}
		if m := lastName(s.Method); m != "bernoulli" && m != "system" {
			b.hides("function", joinNames(s.Method), whyCode)
		}
		return b.fromItem(s.Relation, sc, beside)
	case *pg_query.Node_JoinExpr:
		return b.join(f.JoinExpr, sc, beside)
	}
	b.notUnderstood(n)
	return namespace{unknown: true}
}

func (b *builder) rangeVar(rv *pg_query.RangeVar, sc *scope) *item {
	if rv.Schemaname == "" && rv.Catalogname == "" {
		if c := sc.cte(rv.Relname); c != nil {
			b.seen[rv] = true
			if c.resolve != nil {
				c.resolve()
			}
			return aliased(&item{name: c.name, columns: c.columns, known: c.known}, rv.Alias)
		}
	}
	t := b.resolve(rv)
	b.resolved[rv] = t
	b.touch(t, "read", rv.Inh)
	return aliased(b.relationItem(t, rv.Inh), rv.Alias)
}

// aliased is it under its alias, whose column names replace the first ones.
func aliased(it *item, a *pg_query.Alias) *item {
	if a == nil {
		return it
	}
	return &item{name: a.Aliasname, columns: rename(it.columns, a.Colnames), known: it.known, rest: it.rest, system: it.system}
}

func rename(columns []column, names []*pg_query.Node) []column {
	if len(names) == 0 {
		return columns
	}
	renamed := append([]column{}, columns...)
	for i := range renamed {
		if i < len(names) {
			renamed[i].name = names[i].GetString_().GetSval()
		}
	}
	return renamed
}

// rangeFunction is f(…), ROWS FROM (…), with or without ordinality.
func (b *builder) rangeFunction(f *pg_query.RangeFunction, sc *scope) *item {
	it := &item{known: true}
	for _, n := range f.Functions {
		parts := n.GetList().GetItems()
		if len(parts) == 0 {
			b.notUnderstood(n)
			it.known = false
			continue
		}
		v := b.expr(parts[0], sc, false)
		it.rest.from = union(it.rest.from, v.from)
		definitions := f.Coldeflist
		if len(parts) > 1 && parts[1].GetList() != nil {
			definitions = parts[1].GetList().Items
		}
		if len(definitions) > 0 {
			for _, d := range definitions {
				def := d.GetColumnDef()
				b.typeName(def.GetTypeName(), value{})
				it.columns = append(it.columns, column{name: def.GetColname(), value: derived(v)})
			}
			continue
		}
		columns, known := b.functionColumns(parts[0], v)
		if len(columns) == 1 && len(f.Functions) == 1 && f.Alias != nil && !b.namesItsResult(parts[0]) {
			columns = []column{{name: f.Alias.Aliasname, value: columns[0].value}}
		}
		it.columns = append(it.columns, columns...)
		it.known = it.known && known
	}
	if len(f.Functions) > 0 {
		it.name = columnName(f.Functions[0].GetList().GetItems()[0])
	}
	if f.Ordinality {
		it.columns = append(it.columns, column{name: "ordinality", value: computed})
	}
	return aliased(it, f.Alias)
}

// functionColumns are the columns of a function in FROM whose value is v.
func (b *builder) functionColumns(n *pg_query.Node, v value) ([]column, bool) {
	call := n.GetFuncCall()
	if call == nil {
		// current_date, a cast and their like.
		return []column{{name: columnName(n), value: derived(v)}}, true
	}
	spread := func(names []string) []column {
		columns := make([]column, len(names))
		for i, name := range names {
			if name == "" {
				name = "column" + strconv.Itoa(i+1)
			}
			columns[i] = column{name: name, value: derived(v)}
		}
		return columns
	}
	candidates := b.meant(call)
	var columns []column
	for i, f := range candidates {
		var mine []column
		switch {
		case len(f.Out) > 0:
			mine = spread(f.Out)
		default:
			names, known := b.resultColumns(f, call)
			if !known {
				return nil, false
			}
			mine = spread(names)
		}
		if i > 0 && !sameNames(mine, columns) {
			return nil, false
		}
		columns = mine
	}
	if len(candidates) == 0 {
		return nil, false
	}
	return columns, true
}

// meant are the functions that a call in FROM can mean.
func (b *builder) meant(call *pg_query.FuncCall) []*catalog.Function {
	args := b.arguments[call] // analysed when the call was
	if len(args) < len(call.Args) {
		return nil // it was given up
	}
	return b.narrow(b.candidates(nameParts(call.Funcname), len(args)), args)
}

// resultColumns are the column names of a function without OUT parameters.
func (b *builder) resultColumns(f *catalog.Function, call *pg_query.FuncCall) ([]string, bool) {
	rel := b.snap.RelationByRowType(f.Result)
	t := b.snap.TypeByOID(f.Result)
	if rel == nil && t != nil && t.Kind == "pseudo" {
		if t.Name != "anyelement" && t.Name != "record" && t.Name != "anycompatible" {
			// An array's element or a range: the one column of a scalar,
			// unless the elements are rows.
			if strings.HasSuffix(t.Name, "array") || strings.HasSuffix(t.Name, "range") || t.Name == "anyenum" || t.Name == "void" {
				return []string{f.Name}, true
			}
			return nil, false
		}
		if f.Name == "unnest" {
			return b.unnested(call, f.Name)
		}
		if t.Name == "anyelement" && len(call.Args) > 0 {
			if cast := call.Args[0].GetTypeCast(); cast != nil {
				rel = b.rowTypeOf(cast.TypeName)
			}
		}
		if rel == nil {
			return nil, false
		}
	}
	if rel == nil && t != nil && t.Kind == "composite" {
		rel = b.snap.RelationByOID(t.Relation)
		if rel == nil {
			return nil, false
		}
	}
	if rel != nil {
		names := make([]string, len(rel.Columns))
		for i, c := range rel.Columns {
			names[i] = c.Name
		}
		return names, true
	}
	if t == nil {
		return nil, false
	}
	return []string{f.Name}, true
}

// unnested is unnest's one column, unless the elements may be rows.
func (b *builder) unnested(call *pg_query.FuncCall, name string) ([]string, bool) {
	if len(call.Args) != 1 {
		names := make([]string, len(call.Args))
		for i := range names {
			names[i] = name
		}
		return names, true
	}
	args := b.arguments[call]
	return []string{name}, len(args) == 1 && !b.mayBeRows(call.Args[0], args[0])
}

// mayBeRows says whether an array's elements may be rows: a cast or a column's
// type says, an array of literals does too.
func (b *builder) mayBeRows(n *pg_query.Node, v value) bool {
	switch e := n.GetNode().(type) {
	case *pg_query.Node_TypeCast:
		t := b.findType(e.TypeCast.TypeName)
		return t == nil || t.Kind == "composite"
	case *pg_query.Node_AConst, *pg_query.Node_ParamRef:
		return false
	}
	if v.array {
		return !v.scalars
	}
	t := b.snap.TypeByOID(v.typ)
	return t == nil || t.Element == 0 || b.rowType(t.Element)
}

// rowType says whether values of a type are, or may be, rows.
func (b *builder) rowType(typ catalog.OID) bool {
	if b.snap == nil {
		return true
	}
	t := b.snap.TypeByOID(typ)
	return t == nil || t.Kind == "composite" || t.Kind == "pseudo" || t.Kind == "domain"
}

// namesItsResult says whether a function in FROM names its one column itself,
// whatever its alias.
func (b *builder) namesItsResult(n *pg_query.Node) bool {
	call := n.GetFuncCall()
	if call == nil {
		return false
	}
	for _, f := range b.meant(call) {
		t := b.snap.TypeByOID(f.Result)
		if len(f.Out) > 0 || t == nil || t.Kind == "composite" {
			return true
		}
	}
	return false
}

func sameNames(a, b []column) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].name != b[i].name {
			return false
		}
	}
	return true
}

// rangeTable is XMLTABLE.
func (b *builder) rangeTable(f *pg_query.RangeTableFunc, sc *scope) *item {
	// What it is given decides how many rows come.
	doc := combine(b.expr(f.Docexpr, sc, true), b.expr(f.Rowexpr, sc, true))
	for _, n := range f.Namespaces {
		if t := n.GetResTarget(); t != nil {
			doc = combine(doc, b.expr(t.Val, sc, false))
		}
	}
	it := &item{name: "xmltable", known: true}
	for _, n := range f.Columns {
		c := n.GetRangeTableFuncCol()
		v := doc
		for _, e := range []*pg_query.Node{c.GetColexpr(), c.GetColdefexpr()} {
			if e != nil {
				v = combine(v, b.expr(e, sc, false))
			}
		}
		if c.GetTypeName() != nil {
			b.typeName(c.TypeName, v)
		}
		if v.how == input.Constant {
			v.how = input.Derived
		}
		it.columns = append(it.columns, column{name: c.GetColname(), value: derived(v)})
	}
	return aliased(it, f.Alias)
}

// join analyses a JOIN. Its ON clause sees its two sides and what is around
// the query, not the other entries of the FROM list.
func (b *builder) join(j *pg_query.JoinExpr, sc *scope, beside namespace) namespace {
	left := b.fromItem(j.Larg, sc, beside)
	var visible namespace
	visible.add(beside)
	visible.add(left)
	right := b.fromItem(j.Rarg, sc, visible)

	var shared []string
	for _, n := range j.UsingClause {
		shared = append(shared, n.GetString_().GetSval())
	}
	var both namespace
	both.add(left)
	both.add(right)
	if j.IsNatural {
		if both.unknown {
			// Which columns join is not known; any of them may be merged.
			for i := range both.columns {
				both.columns[i].value = derived(either(both.columns[i].value, opaque))
			}
			for _, c := range both.columns {
				b.read(c.value, true)
			}
		}
		for _, c := range left.columns {
			if hasColumn(right.columns, c.name) {
				shared = append(shared, c.name)
			}
		}
	}
	if len(shared) > 0 {
		both.columns = b.merged(j, left, right, shared)
		if j.JoinUsingAlias != nil {
			both.items = append(both.items, &item{
				name: j.JoinUsingAlias.Aliasname, columns: both.columns[:len(shared)], known: !both.unknown,
			})
		}
	}
	if j.Quals != nil {
		b.filter(j.Quals, &scope{parent: sc.parent, ctes: sc.ctes, names: both})
	}
	if j.Alias != nil {
		it := aliased(&item{columns: both.columns, known: !both.unknown}, j.Alias)
		return single(it)
	}
	return both
}

// merged are the columns of a join with USING: the shared ones once and first.
func (b *builder) merged(j *pg_query.JoinExpr, left, right namespace, shared []string) []column {
	var columns []column
	is := map[string]bool{}
	for _, name := range shared {
		is[name] = true
		l, r := pick(left, name), pick(right, name)
		b.read(l, true)
		b.read(r, true)
		// The value is the left one (or the right one's, or either's); equal
		// to the other all the same, which is why both are its sources.
		columns = append(columns, column{name: name, value: derived(either(l, r))})
	}
	for _, side := range []namespace{left, right} {
		for _, c := range side.columns {
			if !is[c.name] {
				columns = append(columns, c)
			}
		}
	}
	return columns
}

func pick(ns namespace, name string) value {
	for _, c := range ns.columns {
		if c.name == name {
			return c.value
		}
	}
	return opaque
}

func hasColumn(columns []column, name string) bool {
	for _, c := range columns {
		if c.name == name {
			return true
		}
	}
	return false
}
