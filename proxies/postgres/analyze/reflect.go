package analyze

import (
	"fmt"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// notUnderstood notes a node that has no case. What it would run is opaque;
// the relations in it are found by leftOver.
func (b *builder) notUnderstood(n *pg_query.Node) {
	b.hides("syntax", nodeKind(n), whyNode)
}

// nodeKind is the name of a node's type, such as "SelectStmt".
func nodeKind(n *pg_query.Node) string {
	kind := strings.TrimPrefix(fmt.Sprintf("%T", n.GetNode()), "*pg_query.Node_")
	if kind == "<nil>" {
		return "nothing"
	}
	return strings.TrimSuffix(kind, "_")
}

// leftOver looks through a whole statement for relations that the analysis did
// not come across, and names them: none is lost, whatever node it is in.
func (b *builder) leftOver(n proto.Message) {
	each(n, func(m proto.Message) bool {
		if rv, ok := m.(*pg_query.RangeVar); ok && !b.seen[rv] {
			b.seen[rv] = true
			t := b.lookup(rv.Catalogname, rv.Schemaname, rv.Relname)
			kind := "unknown"
			if t.rel != nil {
				kind = string(t.rel.Kind)
			}
			b.table(t.name, kind)
			b.dontKnow("relation", t.name, whyNode)
		}
		return true
	})
}

// skip marks the relations of a part that is analysed elsewhere.
func (b *builder) skip(m proto.Message) {
	each(m, func(m proto.Message) bool {
		if rv, ok := m.(*pg_query.RangeVar); ok {
			b.seen[rv] = true
		}
		return true
	})
}

// mentionsColumn says whether an expression refers to a column, or to a
// cursor's row.
func mentionsColumn(n proto.Message) bool {
	found := false
	each(n, func(m proto.Message) bool {
		switch m.(type) {
		case *pg_query.ColumnRef, *pg_query.CurrentOfExpr:
			found = true
		}
		return !found
	})
	return found
}

// each visits m and every message in it until visit returns false.
func each(m proto.Message, visit func(proto.Message) bool) bool {
	if m == nil || !m.ProtoReflect().IsValid() {
		return true
	}
	if !visit(m) {
		return false
	}
	more := true
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil {
			return true
		}
		if f.IsList() {
			list := v.List()
			for i := 0; i < list.Len() && more; i++ {
				more = each(list.Get(i).Message().Interface(), visit)
			}
			return more
		}
		more = each(v.Message().Interface(), visit)
		return more
	})
	return more
}

// walk visits m and the messages in it; where visit returns false, not those
// in it.
func walk(m proto.Message, visit func(proto.Message) bool) {
	if m == nil || !m.ProtoReflect().IsValid() || !visit(m) {
		return
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() == nil {
			return true
		}
		if f.IsList() {
			for i := 0; i < v.List().Len(); i++ {
				walk(v.List().Get(i).Message().Interface(), visit)
			}
			return true
		}
		walk(v.Message().Interface(), visit)
		return true
	})
}
