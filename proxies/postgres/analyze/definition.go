package analyze

import (
	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// definedBy notes the functions of that name in CREATE OPERATOR, AGGREGATE or
// TYPE.
func (b *builder) definedBy(n *pg_query.TypeName) {
	if b.findType(n) == nil && b.rowTypeOf(n) == nil {
		b.functionNamed(n.Names)
	}
}

// unknownScope is a scope in which any column name may be known to the server.
func unknownScope() *scope { return &scope{names: namespace{unknown: true, definition: true}} }

// definitionScope is what column names in a definition can mean: those of the
// relation it is about, beside others that are not known here (new columns,
// OLD and NEW, parameters).
func (b *builder) definitionScope(n *pg_query.Node) *scope {
	sc := unknownScope()
	var rv *pg_query.RangeVar
	switch s := n.GetNode().(type) {
	case *pg_query.Node_AlterTableStmt:
		rv = s.AlterTableStmt.Relation
	case *pg_query.Node_IndexStmt:
		rv = s.IndexStmt.Relation
	case *pg_query.Node_CreateTrigStmt:
		rv = s.CreateTrigStmt.Relation
	case *pg_query.Node_RuleStmt:
		rv = s.RuleStmt.Relation
	case *pg_query.Node_CreatePolicyStmt:
		rv = s.CreatePolicyStmt.Table
	case *pg_query.Node_AlterPolicyStmt:
		rv = s.AlterPolicyStmt.Table
	}
	for _, name := range []string{"old", "new"} {
		sc.names.items = append(sc.names.items, &item{name: name})
	}
	if rv == nil {
		return sc
	}
	t := b.lookupQuiet(rv)
	it := b.relationItem(t, false)
	sc.names.items = append(sc.names.items, it)
	sc.names.columns = it.columns
	return sc
}

// lookupQuiet resolves a relation that is resolved again, and then noted.
func (b *builder) lookupQuiet(rv *pg_query.RangeVar) target {
	before := b.unknown
	t := b.lookup(rv.Catalogname, rv.Schemaname, rv.Relname)
	b.unknown = before
	return t
}

// definition goes through all of a statement of DDL: relations in it are
// touched, queries and expressions analysed.
func (b *builder) definition(n *pg_query.Node, sc *scope) {
	walk(n, func(m protoMessage) bool {
		switch e := m.(type) {
		case *pg_query.RangeVar:
			if !b.seen[e] {
				b.touch(b.resolve(e), "ddl", false)
			}
			return false
		case *pg_query.TypeName:
			if n.GetDefineStmt() != nil {
				b.definedBy(e) // a type or a function, there is no telling
			} else {
				b.typeName(e, constant)
			}
		case *pg_query.ViewStmt:
			if b.seen[e.View] {
				return false // analysed by createView
			}
		case *pg_query.Node:
			switch e.Node.(type) {
			case *pg_query.Node_SelectStmt, *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt,
				*pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt:
				columns, _ := b.rows(e, &scope{parent: sc})
				for _, c := range columns {
					b.read(c.value, false)
				}
				return false
			case *pg_query.Node_FuncCall, *pg_query.Node_AExpr, *pg_query.Node_BoolExpr, *pg_query.Node_SubLink,
				*pg_query.Node_ColumnRef, *pg_query.Node_TypeCast, *pg_query.Node_CaseExpr, *pg_query.Node_AIndirection,
				*pg_query.Node_CoalesceExpr, *pg_query.Node_NullTest, *pg_query.Node_RowExpr:
				b.expr(e, sc, false)
				return false
			case *pg_query.Node_IndexElem:
				b.indexed(e.GetIndexElem(), sc)
			}
		}
		return true
	})
}

func (b *builder) indexed(e *pg_query.IndexElem, sc *scope) {
	if e.Name != "" {
		if v, ok := sc.column(e.Name); ok {
			b.read(v, false)
		}
	}
}
