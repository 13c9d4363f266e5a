package analyze

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// top analyses a whole statement, or the one inside EXPLAIN and its kin. text
// is the statement's own.
func (b *builder) top(n *pg_query.Node, text string) {
	switch s := n.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		b.command = "select"
		b.selectStatement(s.SelectStmt)
	case *pg_query.Node_InsertStmt:
		b.command = "insert"
		columns := b.insert(s.InsertStmt, nil)
		b.gives(columns, true, len(s.InsertStmt.ReturningList) > 0)
	case *pg_query.Node_UpdateStmt:
		b.command = "update"
		columns, known := b.update(s.UpdateStmt, nil)
		b.gives(columns, known, len(s.UpdateStmt.ReturningList) > 0)
	case *pg_query.Node_DeleteStmt:
		b.command = "delete"
		columns, known := b.delete(s.DeleteStmt, nil)
		b.gives(columns, known, len(s.DeleteStmt.ReturningList) > 0)
	case *pg_query.Node_MergeStmt:
		b.command = "merge"
		b.merge(s.MergeStmt, nil)
	case *pg_query.Node_ExplainStmt:
		b.explain(s.ExplainStmt, text)
	case *pg_query.Node_CopyStmt:
		b.copy(s.CopyStmt)
	case *pg_query.Node_PrepareStmt:
		b.prepare(s.PrepareStmt, text)
	case *pg_query.Node_ExecuteStmt:
		b.execute(s.ExecuteStmt)
	case *pg_query.Node_DeallocateStmt:
		b.simple("deallocate")
		b.statement.Prepared = s.DeallocateStmt.Name
		b.effects.Deallocate = &Deallocate{Name: s.DeallocateStmt.Name}
	case *pg_query.Node_DeclareCursorStmt:
		b.declare(s.DeclareCursorStmt, text)
	case *pg_query.Node_FetchStmt:
		b.fetch(s.FetchStmt)
	case *pg_query.Node_ClosePortalStmt:
		b.simple("close")
		b.statement.Cursor = s.ClosePortalStmt.Portalname
		b.effects.Close = &CloseCursor{Name: s.ClosePortalStmt.Portalname}
	case *pg_query.Node_CallStmt:
		b.callProcedure(s.CallStmt)
	case *pg_query.Node_DoStmt:
		b.simple("do")
		b.action.Writes = true
		b.effects.Do, b.effects.SettingsChange, b.effects.CatalogChange = true, true, true
		b.effects.MayCreateTemp = true
		b.hides("statement", "do", whyCode)
	case *pg_query.Node_CreateTableAsStmt:
		b.createTableAs(s.CreateTableAsStmt, text)
	case *pg_query.Node_TransactionStmt:
		b.transaction(s.TransactionStmt)
	case *pg_query.Node_VariableSetStmt:
		b.setVariable(s.VariableSetStmt, false)
	case *pg_query.Node_VariableShowStmt:
		b.simple("show")
		b.kind, b.names = "setting", []string{strings.ToLower(s.VariableShowStmt.Name)}
		b.gives([]column{{name: s.VariableShowStmt.Name, value: opaque}}, s.VariableShowStmt.Name != "all", true)
	case *pg_query.Node_DiscardStmt:
		b.discard(s.DiscardStmt)
	case *pg_query.Node_LockStmt:
		b.simple("lock")
		b.action.Locks = true
		for _, r := range s.LockStmt.Relations {
			rv := r.GetRangeVar()
			b.touch(b.resolve(rv), "lock", rv.GetInh())
		}
	case *pg_query.Node_ListenStmt:
		b.simple("listen")
		b.effects.Listen = s.ListenStmt.Conditionname
	case *pg_query.Node_UnlistenStmt:
		b.simple("unlisten")
		b.effects.Unlisten = s.UnlistenStmt.Conditionname
		if b.effects.Unlisten == "" {
			b.effects.Unlisten = "*"
		}
	case *pg_query.Node_NotifyStmt:
		b.simple("notify")
		b.action.Writes = true
		b.effects.Notify = s.NotifyStmt.Conditionname
	case *pg_query.Node_ConstraintsSetStmt:
		b.simple("set constraints")
		b.verbs = map[string]bool{"set": true}
		b.setting(Setting{Name: "constraints"})
		for _, c := range s.ConstraintsSetStmt.Constraints {
			b.seen[c.GetRangeVar()] = true // names of constraints, not relations
		}
	case *pg_query.Node_TruncateStmt:
		b.truncate(s.TruncateStmt)
	case *pg_query.Node_CheckPointStmt:
		b.simple("checkpoint")
		b.action.Writes = true
	case *pg_query.Node_LoadStmt:
		b.simple("load")
		b.action.Writes = true
		b.hides("statement", "load", whyDangerous)
	default:
		b.utility(n)
	}
}

// simple is a statement of a verb of its own that touches no relation.
func (b *builder) simple(command string) {
	b.command = command
	b.verb(command)
}

// gives notes the rows that the statement returns.
func (b *builder) gives(columns []column, known, rows bool) {
	b.returnsRows = rows
	b.outputKnown = known
	b.outputs = nil
	if !known {
		return
	}
	for _, c := range columns {
		b.outputs = append(b.outputs, output(c))
	}
}

func output(c column) Output {
	o := Output{Name: c.name, Sources: c.value.from.names(), Derivation: c.value.how}
	if c.value.row != nil && o.Derivation == input.Exact {
		o.Derivation = input.Derived
	}
	return o
}

func (b *builder) selectStatement(s *pg_query.SelectStmt) {
	into := intoOf(s)
	b.verb("select")
	columns, known := b.query(s, nil)
	b.mainFilters(s)
	b.action.Limit = constantLimit(s)
	if into != nil {
		b.command = "select into"
		b.into(into)
		b.creates(into, columns, known, false)
		b.copiesMore = !known
		return
	}
	b.gives(columns, known, true)
}

// intoOf is the INTO of a SELECT, which in a set operation is its first arm's.
func intoOf(s *pg_query.SelectStmt) *pg_query.IntoClause {
	for s.IntoClause == nil && s.Larg != nil {
		s = s.Larg
	}
	return s.IntoClause
}

// mainFilters sets has_where by the main SELECT, where no UPDATE or DELETE
// inside it did.
func (b *builder) mainFilters(s *pg_query.SelectStmt) {
	if b.action.HasWhere == nil {
		b.needsWhere(everyArmFilters(s))
	}
}

func everyArmFilters(s *pg_query.SelectStmt) bool {
	if s.Larg != nil && s.Rarg != nil {
		return everyArmFilters(s.Larg) && everyArmFilters(s.Rarg)
	}
	return s.WhereClause != nil
}

// into notes the relation that SELECT INTO or CREATE TABLE AS makes.
func (b *builder) into(i *pg_query.IntoClause) {
	b.verb("create")
	b.action.Writes, b.action.DDL = true, true
	b.effects.CatalogChange = true
	b.eventTriggers()
	b.newRelation(i.Rel, "table")
}

// newRelation notes a relation that is made, and returns its name.
func (b *builder) newRelation(rv *pg_query.RangeVar, kind string) string {
	if rv == nil {
		return ""
	}
	b.seen[rv] = true
	b.unsafe = true
	schema := rv.Schemaname
	temp := rv.Relpersistence == "t" || strings.HasPrefix(schema, "pg_temp")
	switch {
	case temp:
		schema, kind = "pg_temp", "temporary"
	case schema == "":
		schema = b.creationSchema()
	}
	name := rv.Relname
	if schema != "" {
		name = schema + "." + rv.Relname
	} else {
		b.dontKnow("relation", rv.Relname, "no schema to create in")
	}
	b.table(name, kind).access["ddl"] = true
	b.statement.Objects = append(b.statement.Objects, name)
	if b.statement.ObjectKind == "" {
		b.statement.ObjectKind = "table"
	}
	return name
}

// creationSchema is the first schema of the path that is not implicit.
func (b *builder) creationSchema() string {
	for _, schema := range b.set.SearchPath {
		if schema != "pg_catalog" && !strings.HasPrefix(schema, "pg_temp") {
			return schema
		}
	}
	return ""
}

func (b *builder) creates(i *pg_query.IntoClause, columns []column, known, view bool) {
	c := &Created{View: view, ColumnsKnown: known}
	if i.Rel != nil {
		c.Schema, c.Name = i.Rel.Schemaname, i.Rel.Relname
		c.Temp = i.Rel.Relpersistence == "t" || strings.HasPrefix(i.Rel.Schemaname, "pg_temp")
	}
	for _, col := range rename(columns, i.ColNames) {
		c.Columns = append(c.Columns, output(col))
	}
	b.effects.Creates = c
	b.copies = !i.SkipData
	b.mayBeTemp(c, i.OnCommit, view)
}

// mayBeTemp notes that it is not certain which temporary relations there are
// after c is made: one that goes at COMMIT, a view over a temporary relation,
// a table where pg_temp comes first in the path.
func (b *builder) mayBeTemp(c *Created, onCommit pg_query.OnCommitAction, view bool) {
	uncertain := c.Temp && (onCommit == pg_query.OnCommitAction_ONCOMMIT_DROP || !c.ColumnsKnown)
	if !c.Temp && c.Schema == "" {
		uncertain = len(b.set.SearchPath) > 0 && strings.HasPrefix(b.set.SearchPath[0], "pg_temp")
		for name := range b.tables {
			uncertain = uncertain || view && strings.HasPrefix(name, "pg_temp.")
		}
	}
	b.effects.MayCreateTemp = b.effects.MayCreateTemp || uncertain
}

func (b *builder) createTableAs(s *pg_query.CreateTableAsStmt, text string) {
	var columns []column
	known := false
	switch q := s.Query.GetNode().(type) {
	case *pg_query.Node_SelectStmt:
		columns, known = b.query(q.SelectStmt, nil)
	case *pg_query.Node_ExecuteStmt:
		b.execute(q.ExecuteStmt)
		known = b.outputKnown
		for _, o := range b.outputs {
			columns = append(columns, b.reopen(o))
		}
		b.gives(nil, true, false)
	default:
		b.notUnderstood(s.Query)
	}
	b.command = "create table as"
	b.statement.ObjectKind = "table"
	if s.Objtype == pg_query.ObjectType_OBJECT_MATVIEW {
		b.command = "create materialized view"
		b.statement.ObjectKind = "materialized_view"
	}
	b.into(s.Into)
	b.creates(s.Into, columns, known && !s.IfNotExists, false)
	b.copiesMore = !known
	if s.Objtype == pg_query.ObjectType_OBJECT_MATVIEW {
		b.copies = false // its lineage is in the catalogue
	}
}

// reopen is an Output as a column again.
func (b *builder) reopen(o Output) column {
	v := value{how: o.Derivation}
	for _, name := range o.Sources {
		v.from = append(v.from, &source{name: name})
	}
	return column{name: o.Name, value: v}
}

// explain analyses EXPLAIN: what the inner statement is, whether it runs. The
// plan's text can tell of every column in it.
func (b *builder) explain(s *pg_query.ExplainStmt, text string) {
	b.action.Explain = "plan"
	for _, n := range s.Options {
		d := n.GetDefElem()
		if d.GetDefname() == "analyze" && !optionIsFalse(d.Arg) {
			b.action.Explain = "analyze"
		}
	}
	b.top(s.Query, text)
	b.command = "explain"
	if b.action.Explain == "plan" {
		// Nothing is written, nothing is made; but what planning needs runs.
		b.action.Writes = b.action.Opaque
		b.action.DDL = false
		b.effects, b.absorbed = Effects{}, nil
	}
	b.absorbed = b.flows() // those of what it would create are lost else
	b.effects.Creates = nil
	v := value{how: input.Derived}
	for _, r := range b.reads {
		v.from = append(v.from, r)
	}
	v.from = sortSources(v.from)
	if b.action.Opaque || len(b.unknown) > 0 {
		v.how = input.Opaque
	}
	b.gives([]column{{name: "QUERY PLAN", value: v}}, true, true)
}

// optionIsFalse reads a boolean option as the server does; what is not
// clearly false counts as true.
func optionIsFalse(n *pg_query.Node) bool {
	switch v := n.GetNode().(type) {
	case *pg_query.Node_Boolean:
		return !v.Boolean.GetBoolval()
	case *pg_query.Node_Integer:
		return v.Integer.GetIval() == 0
	case *pg_query.Node_String_:
		s := strings.ToLower(v.String_.GetSval())
		return s == "false" || s == "off"
	}
	return false
}

func (b *builder) callProcedure(s *pg_query.CallStmt) {
	b.command = "call"
	b.verb("call")
	b.action.Writes = true
	b.effects.Call, b.effects.SettingsChange, b.effects.CatalogChange = true, true, true
	b.effects.MayCreateTemp = true
	b.call(s.Funccall, &scope{}, false)
	if !b.action.Opaque {
		b.hides("procedure", joinNames(s.Funccall.GetFuncname()), whyCode)
	}
	// A procedure with OUT parameters returns a row.
	b.gives(nil, false, true)
}

func (b *builder) truncate(s *pg_query.TruncateStmt) {
	b.simple("truncate")
	b.action.Writes = true
	b.statement.Cascade = s.Behavior == pg_query.DropBehavior_DROP_CASCADE
	for _, n := range s.Relations {
		rv := n.GetRangeVar()
		t := b.resolve(rv)
		b.touch(t, "truncate", rv.GetInh())
		if b.statement.Cascade && t.rel != nil {
			b.cascade(t.rel, map[*catalog.Relation]bool{t.rel: true})
		}
	}
}

// cascade notes what TRUNCATE … CASCADE empties: whatever refers to r.
func (b *builder) cascade(r *catalog.Relation, done map[*catalog.Relation]bool) {
	for _, ref := range r.References {
		if done[ref.From] {
			continue
		}
		done[ref.From] = true
		b.reach(ref.From, "truncate", r.QualifiedName())
		b.cascade(ref.From, done)
	}
}

var transactions = map[pg_query.TransactionStmtKind][2]string{ // what, verb
	pg_query.TransactionStmtKind_TRANS_STMT_BEGIN:             {"begin", "begin"},
	pg_query.TransactionStmtKind_TRANS_STMT_START:             {"begin", "begin"},
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT:            {"commit", "commit"},
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK:          {"rollback", "rollback"},
	pg_query.TransactionStmtKind_TRANS_STMT_SAVEPOINT:         {"savepoint", "savepoint"},
	pg_query.TransactionStmtKind_TRANS_STMT_RELEASE:           {"release", "savepoint"},
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_TO:       {"rollback to", "rollback"},
	pg_query.TransactionStmtKind_TRANS_STMT_PREPARE:           {"prepare transaction", "prepare transaction"},
	pg_query.TransactionStmtKind_TRANS_STMT_COMMIT_PREPARED:   {"commit prepared", "commit prepared"},
	pg_query.TransactionStmtKind_TRANS_STMT_ROLLBACK_PREPARED: {"rollback prepared", "rollback prepared"},
}

func (b *builder) transaction(s *pg_query.TransactionStmt) {
	what, ok := transactions[s.Kind]
	if !ok {
		b.hides("syntax", s.Kind.String(), whyNode)
	}
	b.command = what[0]
	b.verb(what[1])
	b.effects.Transaction, b.effects.Chain = what[0], s.Chain
	b.statement.Transaction = what[0]
	if s.Gid != "" {
		b.action.Writes = true
	}
	for _, n := range s.Options {
		d := n.GetDefElem()
		b.settings[d.GetDefname()] = true
		b.effects.Settings = append(b.effects.Settings, Setting{Name: d.GetDefname(), Value: optionText(d.Arg), Local: true})
	}
}
