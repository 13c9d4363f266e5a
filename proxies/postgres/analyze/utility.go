package analyze

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"

	"github.com/regate-dev/regate/engine/input"
	"google.golang.org/protobuf/proto"

	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

type protoMessage = proto.Message

// maintenance are statements that change how data lies, not what it says, and
// need no snapshot of names afterwards.
var maintenance = map[string]bool{"vacuum": true, "analyze": true, "cluster": true, "reindex": true, "refresh": true}

// utility analyses statements that define or maintain things. All of them have
// one treatment: the relations they name are touched, the queries and
// expressions in them are analysed.
func (b *builder) utility(n *pg_query.Node) {
	command, verb, object := describe(n)
	if command == "" {
		b.notUnderstood(n)
		b.verb("unknown")
		b.command = "unknown"
		b.action.Writes = true
		b.effects.CatalogChange, b.effects.SettingsChange, b.effects.MayCreateTemp = true, true, true
		b.gives(nil, false, true)
		return
	}
	b.command = command
	b.verb(verb)
	b.action.Writes = true
	b.statement.ObjectKind = object
	if !maintenance[verb] {
		b.action.DDL = true
		b.effects.CatalogChange = true
	}
	b.eventTriggers()
	sc := b.definitionScope(n)
	switch s := n.GetNode().(type) {
	case *pg_query.Node_ViewStmt:
		b.createView(s.ViewStmt)
	case *pg_query.Node_CreateStmt:
		b.createTable(s.CreateStmt, sc)
	case *pg_query.Node_CreateForeignTableStmt:
		b.createTable(s.CreateForeignTableStmt.BaseStmt, sc)
	case *pg_query.Node_CreateSeqStmt:
		b.newRelation(s.CreateSeqStmt.Sequence, string(catalog.Sequence))
		b.tempIf(s.CreateSeqStmt.Sequence)
	case *pg_query.Node_CompositeTypeStmt:
		b.newRelation(s.CompositeTypeStmt.Typevar, string(catalog.Composite))
	case *pg_query.Node_DropStmt:
		b.drop(s.DropStmt)
	case *pg_query.Node_RefreshMatViewStmt:
		t := b.resolve(s.RefreshMatViewStmt.Relation)
		b.touch(t, "update", false)
		if t.rel != nil {
			b.expand(t.rel)
		}
	case *pg_query.Node_AlterRoleSetStmt:
		b.alterSet(s.AlterRoleSetStmt.Setstmt)
	case *pg_query.Node_AlterDatabaseSetStmt:
		b.alterSet(s.AlterDatabaseSetStmt.Setstmt)
	case *pg_query.Node_AlterSystemStmt:
		b.alterSet(s.AlterSystemStmt.Setstmt)
	case *pg_query.Node_CreateSchemaStmt:
		// Names of its elements are looked for in the new schema first.
		for _, e := range s.CreateSchemaStmt.SchemaElts {
			b.elementOf(s.CreateSchemaStmt.Schemaname, e)
		}
	}
	b.objects(n)
	b.definition(n, sc)
	b.gives(nil, true, false)
}

// eventTriggers notes the functions that run with any statement of DDL.
func (b *builder) eventTriggers() {
	if b.snap != nil {
		for _, f := range b.snap.EventTriggers() {
			b.runs(f)
		}
	}
}

func (b *builder) tempIf(rv *pg_query.RangeVar) {
	if rv.GetRelpersistence() == "t" || strings.HasPrefix(rv.GetSchemaname(), "pg_temp") {
		b.effects.MayCreateTemp = true
	}
}

func (b *builder) alterSet(s *pg_query.VariableSetStmt) {
	command := b.command
	b.setVariable(s, true)
	b.command = command
	delete(b.verbs, "set")
}

func (b *builder) elementOf(schema string, n *pg_query.Node) {
	switch s := n.GetNode().(type) {
	case *pg_query.Node_ViewStmt:
		if s.ViewStmt.View.Schemaname == "" {
			s.ViewStmt.View.Schemaname = schema
		}
		b.createView(s.ViewStmt)
	case *pg_query.Node_CreateStmt:
		if s.CreateStmt.Relation.Schemaname == "" {
			s.CreateStmt.Relation.Schemaname = schema
		}
		b.createTable(s.CreateStmt, unknownScope())
	}
	if schema != "" {
		b.dontKnow("schema", schema, whyEarlier)
	}
}

func (b *builder) createView(s *pg_query.ViewStmt) {
	b.newRelation(s.View, string(catalog.View))
	b.statement.ObjectKind = "view"
	columns, known := b.rows(s.Query, nil)
	b.creates(&pg_query.IntoClause{Rel: s.View, ColNames: s.Aliases}, columns, known, true)
}

// byDefault is what a new column holds where a row gives it nothing: its
// default can be what a function reads.
func (b *builder) byDefault(def *pg_query.ColumnDef) value {
	for _, n := range def.Constraints {
		c := n.GetConstraint()
		switch c.GetContype() {
		case pg_query.ConstrType_CONSTR_DEFAULT:
			if v := b.expr(c.RawExpr, &scope{}, false); v.how == input.Opaque || len(v.from) > 0 {
				return v
			}
		case pg_query.ConstrType_CONSTR_GENERATED:
			return opaque
		}
	}
	return constant
}

func (b *builder) createTable(s *pg_query.CreateStmt, sc *scope) {
	name := b.newRelation(s.Relation, "table")
	created := &Created{Schema: s.Relation.Schemaname, Name: s.Relation.Relname, ColumnsKnown: true}
	created.Temp = strings.HasPrefix(name, "pg_temp.")
	for _, n := range s.InhRelations {
		rv := n.GetRangeVar()
		b.touch(b.resolve(rv), "ddl", false)
		created.ColumnsKnown = false
	}
	for _, n := range s.TableElts {
		switch e := n.GetNode().(type) {
		case *pg_query.Node_ColumnDef:
			created.Columns = append(created.Columns, output(column{name: e.ColumnDef.Colname, value: b.byDefault(e.ColumnDef)}))
		case *pg_query.Node_TableLikeClause:
			t := b.resolve(e.TableLikeClause.Relation)
			b.touch(t, "ddl", false)
			const defaults, generated = 1 << 3, 1 << 4 // CREATE_TABLE_LIKE_… (nodes/parsenodes.h)
			v := constant
			if e.TableLikeClause.Options&(defaults|generated) != 0 {
				v = opaque
			}
			for _, c := range b.relationItem(t, false).columns {
				created.Columns = append(created.Columns, output(column{name: c.name, value: v}))
			}
		}
	}
	if s.OfTypename != nil {
		created.ColumnsKnown = false
	}
	created.ColumnsKnown = created.ColumnsKnown && !s.IfNotExists
	b.effects.Creates = created
	b.mayBeTemp(created, s.Oncommit, false)
}

// dropKinds are the objects whose names are relations'.
var dropKinds = map[pg_query.ObjectType]bool{
	pg_query.ObjectType_OBJECT_TABLE: true, pg_query.ObjectType_OBJECT_VIEW: true,
	pg_query.ObjectType_OBJECT_MATVIEW: true, pg_query.ObjectType_OBJECT_SEQUENCE: true,
	pg_query.ObjectType_OBJECT_FOREIGN_TABLE: true,
}

// partKinds are objects of a relation: their last name is the object's own,
// what is before names the relation.
var partKinds = map[pg_query.ObjectType]bool{
	pg_query.ObjectType_OBJECT_TRIGGER: true, pg_query.ObjectType_OBJECT_RULE: true,
	pg_query.ObjectType_OBJECT_POLICY: true, pg_query.ObjectType_OBJECT_COLUMN: true,
	pg_query.ObjectType_OBJECT_TABCONSTRAINT: true,
}

func (b *builder) drop(s *pg_query.DropStmt) {
	b.statement.Cascade = s.Behavior == pg_query.DropBehavior_DROP_CASCADE
	b.effects.DropsTemp = true
	if b.statement.Cascade {
		b.dontKnow("statement", "drop cascade", "drops what depends on it")
	}
	for _, n := range s.Objects {
		b.object(s.RemoveType, n)
	}
}

// object notes a named object of DDL, and the relation that it is or is of.
func (b *builder) object(kind pg_query.ObjectType, n *pg_query.Node) {
	parts := nameParts(n.GetList().GetItems())
	switch {
	case n.GetList() == nil:
		return
	case dropKinds[kind]:
		b.touchNamed(parts)
	case partKinds[kind] && len(parts) > 1:
		b.touchNamed(parts[:len(parts)-1])
		b.statement.Objects = append(b.statement.Objects, strings.Join(parts, "."))
	default:
		b.statement.Objects = append(b.statement.Objects, strings.Join(parts, "."))
	}
}

func (b *builder) touchNamed(parts []string) {
	if len(parts) == 0 || len(parts) > 3 {
		return
	}
	b.unsafe = true
	full := append(make([]string, 3-len(parts)), parts...)
	t := b.lookup(full[0], full[1], full[2])
	b.touch(t, "ddl", true)
	if t.rel != nil {
		for _, other := range t.rel.Refers {
			b.reach(other, "ddl", t.name) // it loses a foreign key
		}
	}
	b.statement.Objects = append(b.statement.Objects, t.name)
}

// objects notes the names that a statement of DDL is about, from the fields in
// which the different kinds of statements keep them.
func (b *builder) objects(n *pg_query.Node) {
	add := func(names ...string) {
		for _, name := range names {
			if name != "" {
				b.statement.Objects = append(b.statement.Objects, name)
			}
		}
	}
	ddl := func(rv *pg_query.RangeVar) {
		if rv == nil || b.seen[rv] {
			return
		}
		t := b.resolve(rv)
		b.touch(t, "ddl", true)
		add(t.name)
	}
	switch s := n.GetNode().(type) {
	case *pg_query.Node_AlterTableStmt:
		ddl(s.AlterTableStmt.Relation)
		b.effects.MayCreateTemp = true // a temporary table's columns may change
	case *pg_query.Node_RenameStmt:
		ddl(s.RenameStmt.Relation)
		b.object(s.RenameStmt.RenameType, s.RenameStmt.Object)
		add(s.RenameStmt.Newname)
		b.effects.MayCreateTemp, b.effects.DropsTemp = true, true
	case *pg_query.Node_AlterObjectSchemaStmt:
		ddl(s.AlterObjectSchemaStmt.Relation)
		b.object(s.AlterObjectSchemaStmt.ObjectType, s.AlterObjectSchemaStmt.Object)
		add(s.AlterObjectSchemaStmt.Newschema)
	case *pg_query.Node_AlterOwnerStmt:
		ddl(s.AlterOwnerStmt.Relation)
		b.object(s.AlterOwnerStmt.ObjectType, s.AlterOwnerStmt.Object)
	case *pg_query.Node_CommentStmt:
		b.object(s.CommentStmt.Objtype, s.CommentStmt.Object)
	case *pg_query.Node_SecLabelStmt:
		b.object(s.SecLabelStmt.Objtype, s.SecLabelStmt.Object)
	case *pg_query.Node_IndexStmt:
		ddl(s.IndexStmt.Relation)
		add(s.IndexStmt.Idxname)
	case *pg_query.Node_CreateTrigStmt:
		ddl(s.CreateTrigStmt.Relation)
		add(s.CreateTrigStmt.Trigname)
		b.functionNamed(s.CreateTrigStmt.Funcname)
	case *pg_query.Node_RuleStmt:
		ddl(s.RuleStmt.Relation)
		add(s.RuleStmt.Rulename)
	case *pg_query.Node_CreatePolicyStmt:
		ddl(s.CreatePolicyStmt.Table)
		add(s.CreatePolicyStmt.PolicyName)
	case *pg_query.Node_AlterPolicyStmt:
		ddl(s.AlterPolicyStmt.Table)
		add(s.AlterPolicyStmt.PolicyName)
	case *pg_query.Node_GrantStmt:
		for _, o := range s.GrantStmt.Objects {
			ddl(o.GetRangeVar())
			if o.GetRangeVar() == nil {
				add(objectName(o))
			}
		}
		if s.GrantStmt.Targtype == pg_query.GrantTargetType_ACL_TARGET_ALL_IN_SCHEMA {
			b.dontKnow("statement", "grant", "every object of a schema")
		}
	case *pg_query.Node_CreateFunctionStmt:
		name := joinNames(s.CreateFunctionStmt.Funcname)
		add(name)
		if strings.HasPrefix(name, "pg_temp") {
			b.effects.MayCreateTemp = true
		}
	case *pg_query.Node_AlterFunctionStmt:
		add(joinNames(s.AlterFunctionStmt.GetFunc().GetObjname()))
	case *pg_query.Node_DefineStmt:
		add(joinNames(s.DefineStmt.Defnames))
	case *pg_query.Node_CreateSchemaStmt:
		add(s.CreateSchemaStmt.Schemaname)
		b.schemas[s.CreateSchemaStmt.Schemaname] = s.CreateSchemaStmt.Schemaname != ""
		b.kind = "schema"
	case *pg_query.Node_CreateRoleStmt:
		add(s.CreateRoleStmt.Role)
		b.kind = "role"
	case *pg_query.Node_AlterRoleStmt:
		add(s.AlterRoleStmt.GetRole().GetRolename())
		b.kind = "role"
	case *pg_query.Node_AlterRoleSetStmt:
		add(s.AlterRoleSetStmt.GetRole().GetRolename())
		b.kind = "role"
	case *pg_query.Node_DropRoleStmt:
		for _, r := range s.DropRoleStmt.Roles {
			add(r.GetRoleSpec().GetRolename())
		}
		b.kind = "role"
	case *pg_query.Node_GrantRoleStmt:
		for _, r := range s.GrantRoleStmt.GrantedRoles {
			add(r.GetAccessPriv().GetPrivName())
		}
		for _, r := range s.GrantRoleStmt.GranteeRoles {
			add(r.GetRoleSpec().GetRolename())
		}
		b.kind = "role"
	case *pg_query.Node_CreatedbStmt:
		add(s.CreatedbStmt.Dbname)
		b.kind = "database"
	case *pg_query.Node_DropdbStmt:
		add(s.DropdbStmt.Dbname)
		b.kind = "database"
	case *pg_query.Node_AlterDatabaseStmt:
		add(s.AlterDatabaseStmt.Dbname)
		b.kind = "database"
	case *pg_query.Node_AlterDatabaseSetStmt:
		add(s.AlterDatabaseSetStmt.Dbname)
		b.kind = "database"
	case *pg_query.Node_CreateExtensionStmt:
		add(s.CreateExtensionStmt.Extname)
		b.hides("extension", s.CreateExtensionStmt.Extname, whyCode)
	case *pg_query.Node_AlterExtensionStmt:
		add(s.AlterExtensionStmt.Extname)
		b.hides("extension", s.AlterExtensionStmt.Extname, whyCode)
	case *pg_query.Node_ImportForeignSchemaStmt:
		add(s.ImportForeignSchemaStmt.LocalSchema)
		b.hides("statement", "import foreign schema", whyCode)
		for _, rv := range s.ImportForeignSchemaStmt.TableList {
			b.seen[rv.GetRangeVar()] = true // names on the other server
		}
	case *pg_query.Node_CreateForeignServerStmt:
		add(s.CreateForeignServerStmt.Servername)
	case *pg_query.Node_CreateSubscriptionStmt:
		add(s.CreateSubscriptionStmt.Subname)
		b.hides("statement", "create subscription", whyDangerous)
	case *pg_query.Node_CreatePublicationStmt:
		add(s.CreatePublicationStmt.Pubname)
	case *pg_query.Node_CreateEventTrigStmt:
		add(s.CreateEventTrigStmt.Trigname)
		b.functionNamed(s.CreateEventTrigStmt.Funcname)
	case *pg_query.Node_CreateCastStmt:
		b.functionNamed(s.CreateCastStmt.GetFunc().GetObjname())
	case *pg_query.Node_CreateEnumStmt:
		add(joinNames(s.CreateEnumStmt.TypeName))
	case *pg_query.Node_AlterEnumStmt:
		add(joinNames(s.AlterEnumStmt.TypeName))
	case *pg_query.Node_CreateDomainStmt:
		add(joinNames(s.CreateDomainStmt.Domainname))
	case *pg_query.Node_DropOwnedStmt:
		b.dontKnow("statement", "drop owned", "every object of a role")
		b.effects.DropsTemp = true
	case *pg_query.Node_ReassignOwnedStmt:
		b.dontKnow("statement", "reassign owned", "every object of a role")
	case *pg_query.Node_VacuumStmt:
		if len(s.VacuumStmt.Rels) == 0 {
			b.kind = "database"
		}
		for _, r := range s.VacuumStmt.Rels {
			rv := r.GetVacuumRelation().GetRelation()
			b.touch(b.resolve(rv), "ddl", true)
		}
	case *pg_query.Node_ReindexStmt:
		if s.ReindexStmt.Kind == pg_query.ReindexObjectType_REINDEX_OBJECT_INDEX && s.ReindexStmt.Relation != nil {
			b.seen[s.ReindexStmt.Relation] = true // an index
			add(s.ReindexStmt.Relation.Relname)
		}
		add(s.ReindexStmt.Name)
	}
}

func objectName(n *pg_query.Node) string {
	switch o := n.GetNode().(type) {
	case *pg_query.Node_ObjectWithArgs:
		return joinNames(o.ObjectWithArgs.GetObjname())
	case *pg_query.Node_String_:
		return o.String_.Sval
	case *pg_query.Node_List:
		return joinNames(o.List.Items)
	}
	return ""
}

// functionNamed notes a function that a definition will call later.
func (b *builder) functionNamed(names []*pg_query.Node) {
	if len(names) == 0 {
		return
	}
	b.unsafe = true
	parts := nameParts(names)
	found := false
	if b.snap != nil {
		path := b.set.SearchPath
		if len(parts) > 1 {
			path = parts[:1]
		}
		for _, schema := range path {
			for _, f := range b.snap.Functions(schema, parts[len(parts)-1]) {
				b.functions[f.QualifiedName()] = true
				b.schemas[f.Schema] = true
				found = true
			}
		}
	}
	if !found {
		b.functions[strings.Join(parts, ".")] = true
		b.dontKnow("function", strings.Join(parts, "."), whyNotFound)
	}
}
