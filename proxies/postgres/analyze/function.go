package analyze

import (
	"slices"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

func nameParts(nodes []*pg_query.Node) []string {
	parts := make([]string, 0, len(nodes))
	for _, n := range nodes {
		parts = append(parts, n.GetString_().GetSval())
	}
	return parts
}

func joinNames(nodes []*pg_query.Node) string { return strings.Join(nameParts(nodes), ".") }

func lastName(nodes []*pg_query.Node) string {
	if len(nodes) == 0 {
		return ""
	}
	return nodes[len(nodes)-1].GetString_().GetSval()
}

// candidates are the functions that a call can mean: every overload in every
// schema of the path that takes so many arguments, for which of them is meant
// depends on types.
func (b *builder) candidates(parts []string, args int) []*catalog.Function {
	if b.snap == nil || len(parts) == 0 {
		return nil
	}
	name := parts[len(parts)-1]
	path := b.set.SearchPath
	switch len(parts) {
	case 2:
		path = parts[:1]
	case 3:
		if parts[0] != b.snap.Database {
			return nil
		}
		path = parts[1:2]
	}
	var all []*catalog.Function
	for _, schema := range path {
		for _, f := range b.snap.Functions(schema, name) {
			if f.Accepts(args) {
				all = append(all, f)
			}
		}
	}
	return all
}

// call analyses f(…), which can also be a field of a row: email(c) is
// (c).email.
func (b *builder) call(f *pg_query.FuncCall, sc *scope, filter bool) value {
	b.unsafe = true
	parts := nameParts(f.Funcname)
	var args []value
	for _, n := range f.Args {
		// Which of a row's columns are read depends on what the call means.
		if ref := n.GetColumnRef(); ref != nil && len(f.Args) == 1 && len(parts) == 1 {
			args = append(args, b.columnRef(ref, sc, filter))
			continue
		}
		v := b.expr(n, sc, filter)
		if n.GetNamedArgExpr() != nil || f.FuncVariadic {
			v.typ, v.array = 0, false // of another position
		}
		args = append(args, v)
	}
	b.arguments[f] = args
	if len(args) == 1 && len(parts) == 1 && args[0].row != nil && plainCall(f) {
		if field, ok := args[0].field(parts[0]); ok {
			if len(b.candidates(parts, 1)) == 0 {
				b.read(field, filter)
				return field
			}
			v := combine(computed, field, b.invoke(parts, args, filter))
			b.read(v, filter)
			return v
		}
	}
	extra := []value{b.expr(f.AggFilter, sc, true), b.window(f.Over, sc)}
	for _, n := range f.AggOrder {
		by := b.expr(n, sc, true)
		if f.AggWithinGroup {
			args = append(args, by) // an ordered-set aggregate takes them too
		} else {
			extra = append(extra, by)
		}
	}
	result := b.invoke(parts, args, filter)
	v := combine(append(extra, result)...)
	v.typ = result.typ
	b.effectsOf(parts, f.Args, args)
	b.read(v, filter)
	return v
}

func plainCall(f *pg_query.FuncCall) bool {
	return len(f.AggOrder) == 0 && !f.AggStar && !f.AggDistinct && f.Over == nil && !f.FuncVariadic && f.AggFilter == nil
}

// invoke notes a call and returns the value of its result.
func (b *builder) invoke(parts []string, args []value, filter bool) value {
	b.unsafe = true
	v := combine(append(args, computed)...)
	b.read(v, filter)
	candidates := b.narrow(b.candidates(parts, len(args)), args)
	if len(candidates) == 0 {
		why := whyNotFound
		if b.snap == nil {
			why = whyNoCatalogue
		}
		name := strings.Join(parts, ".")
		b.functions[name] = true
		b.hides("function", name, why)
		v.how = input.Opaque
		return v
	}
	for i, f := range candidates {
		if i == 0 {
			v.typ = b.plainType(f.Result)
		} else if v.typ != b.plainType(f.Result) {
			v.typ = 0
		}
		if f.ReturnsSet {
			b.read(v, true) // what it is given decides how many rows come
		}
		if !b.runsOn(f, args) {
			v.how = input.Opaque
			b.effects.CatalogChange = b.effects.CatalogChange || f.Category == catalog.Unknown && f.Volatility == "volatile"
		}
		if f.Category == catalog.SessionState {
			v.how = input.Opaque // a parameter can hold what was put there
		}
	}
	return v
}

// takesArray says whether an array can be given where a type is asked for.
func (b *builder) takesArray(typ catalog.OID) bool {
	t := b.snap.TypeByOID(typ)
	return t == nil || t.Element != 0 || t.Kind == "domain" || t.Kind == "pseudo" && !strings.HasSuffix(t.Name, "range")
}

// plainType is a result type, 0 for one that depends on the arguments.
func (b *builder) plainType(typ catalog.OID) catalog.OID {
	if t := b.snap.TypeByOID(typ); t == nil || t.Kind == "pseudo" {
		return 0
	}
	return typ
}

// narrow leaves out the overloads that cannot take arguments of these types.
func (b *builder) narrow(candidates []*catalog.Function, args []value) []*catalog.Function {
	var left []*catalog.Function
	for _, f := range candidates {
		fits := true
		for i, v := range args {
			if f.Variadic || i >= len(f.Args) {
				continue
			}
			if !b.snap.Coercible(v.typ, f.Args[i]) || v.array && !b.takesArray(f.Args[i]) {
				fits = false
			}
		}
		if fits {
			left = append(left, f)
		}
	}
	if len(left) == 0 {
		return candidates
	}
	return left
}

// runsOn is runs for a call whose arguments are known.
func (b *builder) runsOn(f *catalog.Function, args []value) bool {
	if f.Category != catalog.Carries || slices.ContainsFunc(args, value.stored) {
		return b.runs(f)
	}
	b.functions[f.QualifiedName()] = true
	b.schemas[f.Schema] = true
	b.action.Writes = true
	return true
}

// runs notes that a function runs and says whether it is known to reach
// nothing but its arguments and the catalogue.
func (b *builder) runs(f *catalog.Function) bool {
	b.functions[f.QualifiedName()] = true
	b.schemas[f.Schema] = true
	switch f.Category {
	case catalog.Safe, catalog.ReadsCatalog, catalog.SessionState:
		return true
	case catalog.Writes:
		b.action.Writes = true
		return true
	case catalog.Carries:
		b.hides("function", f.QualifiedName(), whyCarries)
	case catalog.Dangerous:
		b.hides("function", f.QualifiedName(), whyDangerous)
	default:
		b.hides("function", f.QualifiedName(), whyCode)
		b.effects.SettingsChange = true
		if f.Volatility == "volatile" {
			b.effects.MayCreateTemp = true
		}
	}
	return false
}

// effectsOf notes what PostgreSQL's own functions do to the session.
func (b *builder) effectsOf(parts []string, nodes []*pg_query.Node, args []value) {
	if len(parts) > 1 && parts[len(parts)-2] != "pg_catalog" {
		return
	}
	switch name := parts[len(parts)-1]; {
	case name == "set_config":
		b.setConfig(nodes)
	case name == "setseed":
		b.effects.SettingsChange = true
		b.settings["seed"] = true
	case name == "pg_notify":
		b.verb("notify")
		b.effects.Notify = "*"
		if len(nodes) > 0 {
			if s, ok := literal(nodes[0]); ok {
				b.effects.Notify = s
			}
		}
	case strings.HasPrefix(name, "pg_advisory_") || strings.HasPrefix(name, "pg_try_advisory_"):
		b.action.Locks = true
	case name == "nextval" || name == "setval":
		if len(nodes) > 0 {
			if s, ok := literal(nodes[0]); ok {
				b.sequence(s)
			}
		}
		if v := combine(args...); name == "setval" && v.stored() {
			b.effects.Flows = append(b.effects.Flows, Flow{Column: "*", Sources: v.from.names(), Derivation: v.how})
		}
	}
}

// sequence notes a write to a sequence that a literal names.
func (b *builder) sequence(text string) {
	parts := strings.Split(text, ".")
	for i, p := range parts {
		if unquoted, ok := strings.CutPrefix(p, `"`); ok {
			parts[i] = strings.TrimSuffix(unquoted, `"`)
		} else {
			parts[i] = strings.ToLower(strings.TrimSpace(p))
		}
	}
	if b.snap == nil || len(parts) > 2 {
		return
	}
	schema := ""
	if len(parts) == 2 {
		schema = parts[0]
	}
	t := b.lookup("", schema, parts[len(parts)-1])
	b.touch(t, "update", false)
}

func (b *builder) setConfig(nodes []*pg_query.Node) {
	b.verb("set")
	b.effects.SettingsChange = true
	set := Setting{Name: "*"}
	if len(nodes) == 3 {
		if name, ok := literal(nodes[0]); ok {
			set.Name = strings.ToLower(name)
		}
		if v, ok := literal(nodes[1]); ok {
			set.Value = &v
		}
		set.Local = !isFalse(nodes[2])
	}
	if set.Name == "*" || set.Value == nil {
		// A parameter set to what a query gives is a place to hide values.
		b.hides("setting", strings.TrimSuffix(set.Name, "*"), whyNotLiteral)
	}
	b.settings[set.Name] = true
	b.effects.Settings = append(b.effects.Settings, set)
}

// literal is the text of a string constant, casts to text included.
func literal(n *pg_query.Node) (string, bool) {
	for n.GetTypeCast() != nil {
		n = n.GetTypeCast().Arg
	}
	c := n.GetAConst()
	if c == nil || c.Isnull {
		return "", false
	}
	switch v := c.Val.(type) {
	case *pg_query.A_Const_Sval:
		return v.Sval.GetSval(), true
	case *pg_query.A_Const_Fval:
		return v.Fval.GetFval(), true
	}
	return "", false
}

func isFalse(n *pg_query.Node) bool {
	c := n.GetAConst()
	if c == nil {
		return false
	}
	if v, ok := c.Val.(*pg_query.A_Const_Boolval); ok {
		return !v.Boolval.GetBoolval()
	}
	return false
}

// cast is v::type.
func (b *builder) cast(c *pg_query.TypeCast, v value) value {
	t := b.typeName(c.TypeName, v)
	rel := b.rowTypeOf(c.TypeName)
	switch {
	case rel != nil && v.row != nil && len(v.row) == len(rel.Columns):
		row := make([]column, len(v.row))
		for i := range v.row {
			row[i] = column{name: rel.Columns[i].Name, value: derived(v.row[i].value)}
		}
		cast := derived(v)
		cast.row = row
		return cast
	case rel != nil:
		cast := derived(v)
		cast.typ = rel.RowType
		return b.withFields(cast)
	case t != nil && v.typ == t.OID && len(c.TypeName.GetTypmods()) == 0 && len(c.TypeName.GetArrayBounds()) == 0:
		return v // no operation: the server too still knows the column
	}
	cast := derived(v)
	if t != nil && len(c.TypeName.GetArrayBounds()) == 0 {
		cast.typ = t.OID
	}
	return cast
}

// typeName resolves a type that v is cast to, and notes the users' functions
// that such a cast runs.
func (b *builder) typeName(n *pg_query.TypeName, v value) *catalog.Type {
	if n == nil || b.snap == nil {
		return nil
	}
	b.unsafe = true
	t := b.findType(n)
	if t == nil {
		if b.rowTypeOf(n) == nil {
			b.dontKnow("type", joinNames(n.Names), whyNoType)
		}
		return nil
	}
	for known := t; known != nil; known = b.snap.TypeByOID(known.Base) {
		if known.Input != nil {
			b.runs(known.Input)
		}
		for _, f := range known.Checks {
			b.runs(f)
		}
		for _, c := range b.snap.Casts(known.OID) {
			if v.typ == 0 && v.how != input.Constant || v.typ == c.Source {
				b.runs(c.Function)
			}
		}
		if known.Base == 0 {
			break
		}
	}
	return t
}

func (b *builder) findType(n *pg_query.TypeName) *catalog.Type {
	parts := nameParts(n.GetNames())
	if b.snap == nil || len(parts) == 0 {
		return nil
	}
	name := parts[len(parts)-1]
	if len(parts) > 1 {
		return b.snap.Type(parts[len(parts)-2], name)
	}
	for _, schema := range b.set.SearchPath {
		if t := b.snap.Type(schema, name); t != nil {
			return t
		}
		if b.snap.Relation(schema, name) != nil {
			return nil // a table's row type comes first
		}
	}
	return nil
}

// rowTypeOf is the relation whose row type a type name means, nil when it
// means another type.
func (b *builder) rowTypeOf(n *pg_query.TypeName) *catalog.Relation {
	parts := nameParts(n.GetNames())
	if b.snap == nil || len(parts) == 0 || len(n.ArrayBounds) > 0 {
		return nil
	}
	name := parts[len(parts)-1]
	if len(parts) > 1 {
		return b.snap.Relation(parts[len(parts)-2], name)
	}
	for _, schema := range b.set.SearchPath {
		if r := b.snap.Relation(schema, name); r != nil {
			return r
		}
		if b.snap.Type(schema, name) != nil {
			return nil
		}
	}
	return nil
}
