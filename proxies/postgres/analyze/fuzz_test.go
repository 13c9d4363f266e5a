package analyze_test

import (
	"slices"
	"strings"
	"testing"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
)

// FuzzAnalyze looks for text that makes the analyser panic, lose a relation,
// or call something complete that it did not resolve.
func FuzzAnalyze(f *testing.F) {
	for _, name := range []string{"ordinary.sql", "evasion.sql"} {
		for _, sql := range statements(f, name) {
			f.Add(sql)
		}
	}
	_, snap := database(f)
	a := analyze.New(analyze.Options{CacheBytes: -1})
	f.Fuzz(func(t *testing.T, sql string) {
		batch, err := a.Analyze(sql, snap, settings)
		if err != nil {
			return
		}
		tree, err := pg_query.Parse(sql)
		if err != nil {
			t.Fatalf("parsed once and not again: %v", err)
		}
		if len(tree.Stmts) != len(batch.Statements) {
			t.Fatalf("%d statements, we have %d", len(tree.Stmts), len(batch.Statements))
		}
		for i, s := range batch.Statements {
			if !strings.Contains(sql, s.Text) {
				t.Errorf("%q is no part of the text", s.Text)
			}
			ctes := map[string]bool{}
			var named []*pg_query.RangeVar
			visit(tree.Stmts[i], func(m proto.Message) {
				switch n := m.(type) {
				case *pg_query.CommonTableExpr:
					ctes[n.Ctename] = true
				case *pg_query.RangeVar:
					named = append(named, n)
				}
			})
			for _, rv := range named {
				if ctes[rv.Relname] || notARelation(tree.Stmts[i].Stmt, rv) {
					continue
				}
				found := slices.ContainsFunc(s.Facts.Resource.TableNames, func(name string) bool {
					return name == rv.Relname || strings.HasSuffix(name, "."+rv.Relname)
				})
				if !found {
					t.Errorf("%q is lost in %q: %v", rv.Relname, s.Text, s.Facts.Resource.TableNames)
				}
			}
			if s.Complete != (len(s.Facts.Unknown) == 0) || s.Complete && s.Facts.Action.Opaque {
				t.Errorf("complete %v, opaque %v, unknown %v in %q", s.Complete, s.Facts.Action.Opaque, s.Facts.Unknown, s.Text)
			}
			if s.Complete {
				for name, table := range s.Facts.Resource.Tables {
					schema, rel, _ := strings.Cut(name, ".")
					if schema != "pg_temp" && snap.Relation(schema, rel) == nil && !slices.Contains(table.Access, "ddl") {
						t.Errorf("complete, with %s, in %q", name, s.Text)
					}
				}
			}
			for _, o := range s.Outputs {
				if o.Derivation == input.Constant && len(o.Sources) > 0 || o.Derivation == input.Exact && len(o.Sources) == 0 {
					t.Errorf("column %q is %s with sources %v in %q", o.Name, o.Derivation, o.Sources, s.Text)
				}
				for _, source := range o.Sources {
					if !slices.Contains(s.Facts.UsesColumns, source) && s.Command != "execute" && s.Command != "fetch" {
						t.Errorf("column %q has source %s, which is not read, in %q", o.Name, source, s.Text)
					}
				}
			}
			s.Action.JSON()
			s.Resource.JSON()
			s.Detail.JSON()
			s.Unknown.JSON()
		}
	})
}

// notARelation says whether a RangeVar is the name of something else.
func notARelation(stmt *pg_query.Node, rv *pg_query.RangeVar) bool {
	if stmt.GetConstraintsSetStmt() != nil || stmt.GetImportForeignSchemaStmt() != nil || stmt.GetReindexStmt() != nil {
		return true
	}
	locked := false // FOR UPDATE OF alias
	visit(stmt, func(m proto.Message) {
		if l, ok := m.(*pg_query.LockingClause); ok {
			for _, n := range l.LockedRels {
				locked = locked || n.GetRangeVar() == rv
			}
		}
	})
	return locked
}

func visit(m proto.Message, do func(proto.Message)) {
	do(m)
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil {
			return true
		}
		if f.IsList() {
			for i := range v.List().Len() {
				visit(v.List().Get(i).Message().Interface(), do)
			}
			return true
		}
		visit(v.Message().Interface(), do)
		return true
	})
}
