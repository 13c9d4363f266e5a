package analyze

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// maxViewDepth bounds views within views; PostgreSQL refuses endless ones only
// when they are used.
const maxViewDepth = 64

// systemColumns are the hidden columns of stored relations.
var systemColumns = []string{"tableoid", "ctid", "xmin", "cmin", "xmax", "cmax"}

// carriers are relations of the catalogue that hold values of other relations:
// samples of columns, and large objects.
var carriers = map[string]bool{
	"pg_catalog.pg_statistic": true, "pg_catalog.pg_statistic_ext_data": true,
	"pg_catalog.pg_largeobject": true,
}

// target is a resolved relation name: a catalogue's relation, a temporary one,
// or neither.
type target struct {
	name string // "schema.name", or as written where it is not resolved
	rel  *catalog.Relation
	temp *TempRelation
}

// resolve finds the relation that a RangeVar names. It never returns a guess:
// what is not certain has neither rel nor temp, and is noted as unknown.
func (b *builder) resolve(rv *pg_query.RangeVar) target {
	b.seen[rv] = true
	b.unsafe = true
	t := b.lookup(rv.Catalogname, rv.Schemaname, rv.Relname)
	if t.rel == nil && t.temp == nil {
		b.table(t.name, "unknown")
	}
	return t
}

func (b *builder) lookup(database, schema, name string) target {
	written := name
	if schema != "" {
		written = schema + "." + name
	}
	missing := target{name: written}
	switch {
	case b.snap == nil:
		b.dontKnow("relation", written, whyNoCatalogue)
		return missing
	case database != "" && database != b.snap.Database:
		b.dontKnow("relation", database+"."+written, whyOtherDB)
		return missing
	case schema != "" && !strings.HasPrefix(schema, "pg_temp"):
		if r := b.snap.Relation(schema, name); r != nil {
			return target{name: r.QualifiedName(), rel: r}
		}
		b.dontKnow("relation", written, whyNotFound)
		return missing
	case schema != "":
		if t := b.temp(name); t != nil {
			return target{name: "pg_temp." + name, temp: t}
		}
		b.dontKnow("relation", written, whyNotFound)
		return missing
	}
	path := b.set.SearchPath
	if !slices.ContainsFunc(path, func(s string) bool { return strings.HasPrefix(s, "pg_temp") }) {
		path = append([]string{"pg_temp"}, path...)
	}
	for _, schema := range path {
		if strings.HasPrefix(schema, "pg_temp") {
			if t := b.temp(name); t != nil {
				return target{name: "pg_temp." + name, temp: t}
			}
			if b.set.Temp != nil && b.set.Temp.Uncertain {
				b.dontKnow("relation", name, whyTemporary)
				return missing
			}
			continue
		}
		if r := b.snap.Relation(schema, name); r != nil && r.Kind != catalog.Composite {
			return target{name: r.QualifiedName(), rel: r}
		}
	}
	b.dontKnow("relation", name, whyNotFound)
	return missing
}

func (b *builder) temp(name string) *TempRelation {
	if t := b.state.temp(name); t != nil {
		return t
	}
	if b.set.Temp == nil {
		return nil
	}
	for _, t := range b.set.Temp.Relations {
		if t.Name == name && !b.state.dropped[name] {
			return t
		}
	}
	return nil
}

// touch notes that a relation is reached, with all that is reached through it.
// Descendants are reached where inherit is true; ancestors are named too, so
// that a rule on a parent covers what is read or written below it.
func (b *builder) touch(t target, access string, inherit bool) {
	if t.temp != nil {
		if t.temp.More && access != "ddl" {
			b.dontKnow("relation", t.name, whyDefinition)
		}
		b.table(t.name, "temporary").access[access] = true
		return
	}
	if t.rel == nil {
		b.table(t.name, "unknown").access[access] = true
		return
	}
	b.reach(t.rel, access, "")
	for _, r := range t.rel.Ancestors() {
		b.reach(r, access, t.name)
	}
	if inherit {
		for _, r := range t.rel.Descendants() {
			b.reach(r, access, t.name)
		}
	}
	if access == "read" {
		b.expand(t.rel)
	}
}

// reach notes one relation. via is what led to it, "" when it is named.
func (b *builder) reach(r *catalog.Relation, access, via string) {
	t := b.table(r.QualifiedName(), string(r.Kind))
	t.access[access] = true
	if via != "" {
		t.via[via] = true
	}
	b.schemas[r.Schema] = true
	if carriers[r.QualifiedName()] && access == "read" {
		b.dontKnow("relation", r.QualifiedName(), whyCarrier)
	}
	switch access {
	case "read":
		if r.RowSecurity {
			b.hidden(r)
		}
	case "insert", "update", "delete", "truncate":
		b.sideEffects(r, access)
	}
}

func (b *builder) hidden(r *catalog.Relation) {
	for _, f := range r.Hidden {
		b.runs(f)
	}
}

// sideEffects notes what a write to r sets off: triggers, rules, functions in
// defaults and checks, foreign keys.
func (b *builder) sideEffects(r *catalog.Relation, access string) {
	if slices.Contains(r.Rules, access) {
		b.hides("relation", r.QualifiedName(), whyRule)
	}
	for _, tr := range r.Triggers {
		if tr.Enabled && slices.Contains(tr.Events, access) && tr.Function != nil {
			b.runs(tr.Function)
		}
	}
	if access != "truncate" {
		b.hidden(r)
	}
	for _, ref := range r.References {
		then := ""
		switch access {
		case "delete":
			then = ref.OnDelete
		case "update":
			then = ref.OnUpdate
		}
		if then == "" {
			continue
		}
		t := b.table(ref.From.QualifiedName(), string(ref.From.Kind))
		if t.access[then] {
			continue // also ends a circle of foreign keys
		}
		b.reach(ref.From, then, r.QualifiedName())
		if then == "update" {
			t.written["*"] = true
		}
	}
	if r.Kind == catalog.View {
		// An updatable view passes the write on to the table below.
		for name, base := range b.view(r).tables {
			t := b.table(name, base.kind)
			t.via[r.QualifiedName()] = true
			if !t.access[access] {
				if rel := b.byName(name); rel != nil {
					b.reach(rel, access, r.QualifiedName())
				}
				t.access[access] = true
			}
			if access != "delete" {
				t.written["*"] = true
			}
		}
	}
}

func (b *builder) byName(qualified string) *catalog.Relation {
	for i := 0; i < len(qualified); i++ {
		if qualified[i] == '.' {
			if r := b.snap.Relation(qualified[:i], qualified[i+1:]); r != nil {
				return r
			}
		}
	}
	return nil
}

// expand notes what reading a view reaches.
func (b *builder) expand(r *catalog.Relation) {
	if r.Kind != catalog.View && r.Kind != catalog.MaterializedView {
		return
	}
	v := b.view(r)
	for name, base := range v.tables {
		t := b.table(name, base.kind)
		t.access["read"] = true
		t.via[r.QualifiedName()] = true
		for via := range base.via {
			t.via[via] = true
		}
		if schema, _, ok := strings.Cut(name, "."); ok {
			b.schemas[schema] = true
		}
	}
	for name := range v.touched {
		b.touched[name] = true
	}
	for _, s := range v.predicates {
		b.reads[s.name] = s
	}
	if r.Kind == catalog.MaterializedView {
		// Its query does not run. What it held when it ran is not known if it
		// was not resolved, and then its columns say so.
		if len(v.unknown) > 0 {
			b.dontKnow("relation", r.QualifiedName(), whyDefinition)
		}
		return
	}
	for f := range v.functions {
		b.functions[f] = true
	}
	b.action.Opaque = b.action.Opaque || v.opaque
	b.effects.SettingsChange = b.effects.SettingsChange || v.opaque
	b.effects.MayCreateTemp = b.effects.MayCreateTemp || v.opaque
	b.action.Writes = b.action.Writes || v.writes
	for _, u := range v.unknown {
		if !slices.Contains(b.unknown, u) {
			b.unknown = append(b.unknown, u)
		}
	}
}

// viewFacts are what is known of a view's query.
type viewFacts struct {
	columns    []value
	tables     map[string]*tableFacts
	touched    map[string]bool
	functions  map[string]bool
	predicates sources
	unknown    []input.Unknown
	opaque     bool
	writes     bool
}

// relationFacts are what analyze keeps with a catalogue's relation.
type relationFacts struct {
	alone, inherited []column
	system           []column
	view             *viewFacts
}

func (b *builder) facts(r *catalog.Relation) *relationFacts {
	return r.Memo(func() any {
		f := &relationFacts{}
		if r.Kind == catalog.View || r.Kind == catalog.MaterializedView {
			f.view = b.analyzeView(r)
		}
		f.alone = b.relationColumns(r, f.view, false)
		f.inherited = f.alone
		if len(r.Children) > 0 {
			f.inherited = b.relationColumns(r, f.view, true)
		}
		if r.Kind != catalog.View {
			for _, name := range systemColumns {
				f.system = append(f.system, column{name: name, value: value{
					from: sources{newSource(r.QualifiedName(), name)}, how: input.Exact,
				}})
			}
		}
		return f
	}).(*relationFacts)
}

func (b *builder) view(r *catalog.Relation) *viewFacts {
	f := b.facts(r).view
	if f == nil {
		return &viewFacts{}
	}
	return f
}

func newSource(table, name string) *source {
	return &source{table: table, column: name, name: table + "." + name}
}

func (b *builder) relationColumns(r *catalog.Relation, view *viewFacts, inherit bool) []column {
	columns := make([]column, len(r.Columns))
	ancestors := r.Ancestors()
	var descendants []*catalog.Relation
	if inherit {
		descendants = r.Descendants()
	}
	for i, c := range r.Columns {
		from := sources{newSource(r.QualifiedName(), c.Name)}
		for _, a := range ancestors {
			if a.Column(c.Name) != nil {
				from = append(from, newSource(a.QualifiedName(), c.Name))
			}
		}
		for _, d := range descendants {
			if d.Column(c.Name) != nil {
				from = append(from, newSource(d.QualifiedName(), c.Name))
			}
		}
		how := input.Exact
		for _, n := range c.From {
			// What the server computes from a column tells of it.
			if base := r.ColumnNumber(n); base != nil {
				from = append(from, newSource(r.QualifiedName(), base.Name))
				how = input.Derived
			}
		}
		if carriers[r.QualifiedName()] {
			how = input.Opaque
		}
		if view != nil {
			below := opaque
			if i < len(view.columns) {
				below = view.columns[i]
			}
			from = append(from, below.from...)
			switch below.how {
			case input.Exact:
			case input.Constant:
				how = input.Derived
			default:
				how = below.how
			}
		}
		columns[i] = column{name: c.Name, value: b.withFields(value{from: sortSources(from), how: how, typ: c.Type})}
	}
	return columns
}

// withFields is v with its fields, where its type is a relation's row type.
// Rows of a table that are kept elsewhere are taken for that table's: a field
// has the table's column as a source too.
func (b *builder) withFields(v value) value {
	rel := b.snap.RelationByRowType(v.typ)
	if rel == nil || v.row != nil {
		return v
	}
	all := v.from
	for _, c := range rel.Columns {
		from := union(v.from, sources{newSource(rel.QualifiedName(), c.Name)})
		v.row = append(v.row, column{name: c.Name, value: value{from: from, how: input.Derived, typ: c.Type}})
		all = union(all, from)
	}
	v.from = all
	if v.how == input.Constant {
		v.how = input.Derived
	}
	return v
}

// analyzeView analyses a view's query, in which every name is qualified.
func (b *builder) analyzeView(r *catalog.Relation) *viewFacts {
	failed := func() *viewFacts {
		return &viewFacts{opaque: true, unknown: []input.Unknown{{What: `relation:"` + r.QualifiedName() + `"`, Why: whyDefinition}}}
	}
	if b.depth >= maxViewDepth || prescan(r.Definition, Options{MaxBytes: 1 << 20, MaxChain: 2000}) != nil {
		return failed()
	}
	tree, err := pg_query.Parse(r.Definition)
	if err != nil || len(tree.Stmts) != 1 || tree.Stmts[0].Stmt.GetSelectStmt() == nil {
		return failed()
	}
	inner := newBuilder(b.snap, &Settings{SearchPath: []string{"pg_catalog"}}, &batchState{}, budget(len(r.Definition)))
	inner.depth = b.depth + 1
	columns, known := inner.query(tree.Stmts[0].Stmt.GetSelectStmt(), &scope{})
	inner.leftOver(tree.Stmts[0].Stmt)
	f := &viewFacts{
		tables: inner.tables, touched: inner.touched, functions: inner.functions,
		unknown: inner.unknown, opaque: inner.action.Opaque, writes: inner.action.Writes,
	}
	for _, s := range inner.predicate {
		f.predicates = append(f.predicates, s)
	}
	f.predicates = sortSources(f.predicates)
	if known {
		for _, c := range columns {
			f.columns = append(f.columns, c.value)
		}
	}
	return f
}

// relationItem is the FROM entry of a resolved relation.
func (b *builder) relationItem(t target, inherit bool) *item {
	it := &item{}
	_, it.name, _ = strings.Cut(t.name, ".")
	switch {
	case t.temp != nil:
		it.name, it.schema, it.known = t.temp.Name, "pg_temp", true
		for _, o := range t.temp.Columns {
			it.columns = append(it.columns, column{name: o.Name, value: b.tempColumn(t.temp, o)})
		}
		for _, name := range systemColumns {
			it.system = append(it.system, column{name: name, value: value{from: sources{newSource(t.name, name)}, how: input.Exact}})
		}
	case t.rel != nil:
		f := b.facts(t.rel)
		it.name, it.schema, it.known = t.rel.Name, t.rel.Schema, true
		it.columns, it.system = f.alone, f.system
		if inherit {
			it.columns = f.inherited
		}
	default:
		if it.name == "" {
			it.name = t.name
		}
	}
	return it
}

// tempColumn is a temporary relation's column: its own, and all that its
// values came from.
func (b *builder) tempColumn(t *TempRelation, o Output) value {
	v := value{from: sources{newSource("pg_temp."+t.Name, o.Name)}, how: input.Exact}
	for _, name := range o.Sources {
		s := &source{name: name}
		for i := len(name) - 1; i > 0; i-- {
			if name[i] == '.' && b.byName(name[:i]) != nil {
				s.table, s.column = name[:i], name[i+1:]
				b.touched[s.table] = true
				break
			}
		}
		v.from = append(v.from, s)
	}
	v.from = sortSources(v.from)
	if o.Derivation == input.Derived || o.Derivation == input.Opaque {
		v.how = o.Derivation
	}
	return v
}
