package analyze

import (
	"encoding/json"
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
)

// strength orders verbs: the strongest one found is a statement's verb. What
// is not listed is a verb that stands alone.
var strength = map[string]int{
	"show": 1, "select": 2, "listen": 3, "notify": 4, "set": 5, "copy": 6, "lock": 7, "merge": 8,
	"insert": 9, "update": 10, "delete": 11, "truncate": 12, "execute": 13, "call": 14, "do": 15,
	"comment": 20, "refresh": 21, "grant": 22, "revoke": 23, "create": 24, "alter": 25, "drop": 26, "unknown": 30,
}

func (b *builder) strongest() string {
	best, rank := "unknown", -1
	for v := range b.verbs {
		r := strength[v]
		if r > rank || r == rank && v < best {
			best, rank = v, r
		}
	}
	return best
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// absorb takes over what is known of a statement inside this one.
func (b *builder) absorb(s *Statement) {
	a := s.Facts.Action
	for _, v := range a.Verbs {
		b.verb(v)
	}
	b.action.Writes = b.action.Writes || a.Writes
	b.action.DDL = b.action.DDL || a.DDL
	b.action.Opaque = b.action.Opaque || a.Opaque
	b.action.Locks = b.action.Locks || a.Locks
	b.action.Returning = b.action.Returning || a.Returning
	b.action.HasWhere, b.action.WhereConstant, b.action.Limit = a.HasWhere, a.WhereConstant, a.Limit
	for name, t := range s.Facts.Resource.Tables {
		mine := b.table(name, t.Kind)
		for _, list := range []struct {
			to   map[string]bool
			from []string
		}{{mine.access, t.Access}, {mine.columns, t.Columns}, {mine.written, t.Written}, {mine.via, t.Via}} {
			for _, v := range list.from {
				list.to[v] = true
			}
		}
	}
	for _, n := range s.Facts.Touched {
		b.touched[n] = true
	}
	for _, n := range s.Facts.UsesColumns {
		b.reads[n] = &source{name: n}
	}
	for _, n := range s.Facts.Statement.PredicateColumns {
		b.predicate[n] = &source{name: n}
	}
	for _, n := range s.Facts.Statement.WrittenColumns {
		b.written[n] = &source{name: n}
	}
	for _, n := range s.Facts.Resource.FunctionNames {
		b.functions[n] = true
	}
	for _, n := range s.Facts.Resource.SchemaNames {
		b.schemas[n] = true
	}
	for _, n := range s.Facts.Resource.SettingNames {
		b.settings[n] = true
	}
	b.statement.Objects = append(b.statement.Objects, s.Facts.Statement.Objects...)
	b.absorbed = append(b.absorbed, s.Facts.Statement.Flows...)
	b.statement.ObjectKind = s.Facts.Statement.ObjectKind
	for _, u := range s.Facts.Unknown {
		if !slices.Contains(b.unknown, u) {
			b.unknown = append(b.unknown, u)
		}
	}
}

// flows are what Effects says of values that are copied, one for each column,
// with those of a statement inside.
func (b *builder) flows() []input.SQLFlow {
	from := map[string]map[string]bool{}
	add := func(to string, sources []string, how input.Derivation) {
		if from[to] == nil {
			from[to] = map[string]bool{}
		}
		for _, s := range sources {
			from[to][s] = true
		}
		if how == input.Opaque {
			from[to]["*"] = true
		}
	}
	for _, f := range b.absorbed {
		add(f.To, f.From, "")
	}
	for _, f := range b.effects.Flows {
		if len(f.Sources) > 0 || f.Derivation == input.Opaque {
			add(f.Column, f.Sources, f.Derivation)
		}
	}
	if c := b.effects.Creates; c != nil && !c.View && b.copies {
		schema := c.Schema
		switch {
		case c.Temp:
			schema = "pg_temp"
		case schema == "":
			schema = b.creationSchema()
		}
		for _, o := range c.Columns {
			if len(o.Sources) > 0 || o.Derivation == input.Opaque {
				add(schema+"."+c.Name+"."+o.Name, o.Sources, o.Derivation)
			}
		}
		if b.copiesMore {
			add(schema+"."+c.Name+".*", nil, input.Opaque)
		}
	}
	all := make([]input.SQLFlow, 0, len(from))
	for _, to := range sortedKeys(from) {
		all = append(all, input.SQLFlow{To: to, From: sortedKeys(from[to])})
	}
	return all
}

// finish makes the Statement.
func (b *builder) finish(text string, batch input.SQLBatch) *Statement {
	if b.action.Opaque {
		b.action.Writes = true
		if len(b.unknown) == 0 {
			b.dontKnow("statement", b.command, whyCode)
		}
	}
	slices.SortFunc(b.unknown, func(x, y input.Unknown) int {
		if c := strings.Compare(x.What, y.What); c != 0 {
			return c
		}
		return strings.Compare(x.Why, y.Why)
	})
	if !b.returnsRows {
		b.outputs, b.outputKnown = nil, true
	}
	b.action.Verb = b.strongest()
	b.action.Verbs = sortedKeys(b.verbs)
	b.statement.PredicateColumns = sortedKeys(b.predicate)
	b.statement.WrittenColumns = sortedKeys(b.written)
	b.statement.Flows = b.flows()
	slices.Sort(b.statement.Objects)
	b.statement.Objects = slices.Compact(b.statement.Objects)
	if b.statement.Objects == nil {
		b.statement.Objects = []string{}
	}

	s := &Statement{
		Index: batch.Index, Text: text, Command: b.command,
		Outputs: b.outputs, OutputsKnown: b.outputKnown, ReturnsRows: b.returnsRows,
		Effects: b.effects,
	}
	s.Facts = Facts{Action: b.action, Resource: b.resource(), Statement: b.statement, Unknown: b.unknown}
	if s.Facts.Unknown == nil {
		s.Facts.Unknown = []input.Unknown{}
	}
	touched := map[string]bool{}
	for name := range b.tables {
		touched[name] = true
	}
	for name := range b.touched {
		touched[name] = true
	}
	for _, r := range b.reads {
		if r.table != "" {
			touched[r.table] = true
		}
	}
	s.Facts.Touched = sortedKeys(touched)
	s.Facts.UsesColumns = sortedKeys(b.reads)

	detail := input.SQL{
		Text: text, Command: b.command, Batch: batch, Mode: string(b.set.Mode),
		SearchPath: b.set.SearchPath, Statement: b.statement,
	}
	if detail.SearchPath == nil {
		detail.SearchPath = []string{}
	}
	if b.set.Mode != FunctionCall {
		if fp, err := pg_query.Fingerprint(text); err == nil {
			detail.Fingerprint = fp
		}
	}
	if b.set.AST {
		if tree, err := pg_query.ParseToJSON(text); err == nil {
			detail.AST = json.RawMessage(tree)
		}
	}
	s.Action = input.NewPart(s.Facts.Action)
	s.Resource = input.NewPart(s.Facts.Resource)
	s.Detail = input.NewPart(detail)
	s.Unknown = input.NewPart(s.Facts.Unknown)
	s.Complete = len(s.Facts.Unknown) == 0
	return s
}

func (b *builder) resource() input.SQLResource {
	for _, r := range b.reads {
		if t := b.tables[r.table]; t != nil {
			t.columns[r.column] = true
			t.access["read"] = true
		}
	}
	for _, w := range b.written {
		if t := b.tables[w.table]; t != nil {
			t.columns[w.column] = true
		}
	}
	columns := map[string]bool{}
	for name := range b.reads {
		columns[name] = true
	}
	for name := range b.written {
		columns[name] = true
	}
	r := input.SQLResource{
		Tables:        make(map[string]input.SQLTable, len(b.tables)),
		TableNames:    sortedKeys(b.tables),
		ColumnNames:   sortedKeys(columns),
		FunctionNames: sortedKeys(b.functions),
		SettingNames:  sortedKeys(b.settings),
	}
	for name, t := range b.tables {
		for w := range t.written {
			t.columns[w] = true
		}
		r.Tables[name] = input.SQLTable{
			Kind: t.kind, Access: sortedKeys(t.access), Columns: sortedKeys(t.columns),
			Written: sortedKeys(t.written), Via: sortedKeys(t.via),
		}
		if strings.HasPrefix(name, "pg_temp.") {
			b.schemas["pg_temp"] = true
		}
	}
	delete(b.schemas, "")
	r.SchemaNames = sortedKeys(b.schemas)
	switch {
	case b.kind != "":
		r.Kind, r.Names = b.kind, b.names
		if r.Names == nil {
			r.Names = b.statement.Objects
		}
		if b.kind == "setting" && len(b.names) == 0 {
			r.Names = r.SettingNames
		}
	case len(b.tables) > 0:
		r.Kind, r.Names = "table", r.TableNames
	case b.action.Opaque && len(b.functions) == 0:
		r.Kind, r.Names = "unknown", []string{}
	case len(b.functions) > 0:
		r.Kind, r.Names = "function", r.FunctionNames
	case len(b.settings) > 0 && b.effects.Transaction == "":
		r.Kind, r.Names = "setting", r.SettingNames
	default:
		r.Kind, r.Names = "none", []string{}
	}
	return r
}
