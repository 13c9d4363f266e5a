package analyze

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

// objectWord is an object type in words: OBJECT_FOREIGN_TABLE is "foreign
// table".
func objectWord(t pg_query.ObjectType) string {
	word := strings.ToLower(strings.TrimPrefix(t.String(), "OBJECT_"))
	switch t {
	case pg_query.ObjectType_OBJECT_MATVIEW:
		word = "materialized_view"
	case pg_query.ObjectType_OBJECT_TABCONSTRAINT:
		word = "constraint"
	case pg_query.ObjectType_OBJECT_TSCONFIGURATION:
		word = "text_search_configuration"
	}
	return strings.ReplaceAll(word, "_", " ")
}

// describe gives a utility statement's command, verb and the kind of object it
// is about; an empty command for a node that is not known here.
func describe(n *pg_query.Node) (command, verb, object string) {
	create := func(object string) (string, string, string) { return "create " + object, "create", object }
	alter := func(object string) (string, string, string) { return "alter " + object, "alter", object }
	drop := func(object string) (string, string, string) { return "drop " + object, "drop", object }
	switch s := n.GetNode().(type) {
	case *pg_query.Node_CreateStmt:
		return create("table")
	case *pg_query.Node_CreateForeignTableStmt:
		return create("foreign table")
	case *pg_query.Node_ViewStmt:
		return create("view")
	case *pg_query.Node_IndexStmt:
		return create("index")
	case *pg_query.Node_CreateSeqStmt:
		return create("sequence")
	case *pg_query.Node_CreateSchemaStmt:
		return create("schema")
	case *pg_query.Node_CreateFunctionStmt:
		if s.CreateFunctionStmt.IsProcedure {
			return create("procedure")
		}
		return create("function")
	case *pg_query.Node_CreateTrigStmt:
		return create("trigger")
	case *pg_query.Node_CreateEventTrigStmt:
		return create("event trigger")
	case *pg_query.Node_RuleStmt:
		return create("rule")
	case *pg_query.Node_CreatePolicyStmt:
		return create("policy")
	case *pg_query.Node_CreateRoleStmt:
		return create("role")
	case *pg_query.Node_CreatedbStmt:
		return create("database")
	case *pg_query.Node_CreateTableSpaceStmt:
		return create("tablespace")
	case *pg_query.Node_CreateExtensionStmt:
		return create("extension")
	case *pg_query.Node_CreateFdwStmt:
		return create("foreign data wrapper")
	case *pg_query.Node_CreateForeignServerStmt:
		return create("server")
	case *pg_query.Node_CreateUserMappingStmt:
		return create("user mapping")
	case *pg_query.Node_CreateDomainStmt:
		return create("domain")
	case *pg_query.Node_CreateEnumStmt, *pg_query.Node_CreateRangeStmt, *pg_query.Node_CompositeTypeStmt:
		return create("type")
	case *pg_query.Node_CreateCastStmt:
		return create("cast")
	case *pg_query.Node_CreateConversionStmt:
		return create("conversion")
	case *pg_query.Node_CreateTransformStmt:
		return create("transform")
	case *pg_query.Node_CreatePlangStmt:
		return create("language")
	case *pg_query.Node_CreateAmStmt:
		return create("access method")
	case *pg_query.Node_CreateOpClassStmt:
		return create("operator class")
	case *pg_query.Node_CreateOpFamilyStmt:
		return create("operator family")
	case *pg_query.Node_CreateStatsStmt:
		return create("statistics")
	case *pg_query.Node_CreatePublicationStmt:
		return create("publication")
	case *pg_query.Node_CreateSubscriptionStmt:
		return create("subscription")
	case *pg_query.Node_DefineStmt:
		return create(objectWord(s.DefineStmt.Kind))
	case *pg_query.Node_AlterTableStmt:
		return alter(objectWord(s.AlterTableStmt.Objtype))
	case *pg_query.Node_RenameStmt:
		if s.RenameStmt.Relation != nil && s.RenameStmt.RenameType == pg_query.ObjectType_OBJECT_COLUMN {
			return alter("table")
		}
		return alter(objectWord(s.RenameStmt.RenameType))
	case *pg_query.Node_AlterObjectSchemaStmt:
		return alter(objectWord(s.AlterObjectSchemaStmt.ObjectType))
	case *pg_query.Node_AlterObjectDependsStmt:
		return alter(objectWord(s.AlterObjectDependsStmt.ObjectType))
	case *pg_query.Node_AlterOwnerStmt:
		return alter(objectWord(s.AlterOwnerStmt.ObjectType))
	case *pg_query.Node_AlterSeqStmt:
		return alter("sequence")
	case *pg_query.Node_AlterDomainStmt:
		return alter("domain")
	case *pg_query.Node_AlterFunctionStmt:
		return alter("function")
	case *pg_query.Node_AlterEnumStmt, *pg_query.Node_AlterTypeStmt:
		return alter("type")
	case *pg_query.Node_AlterRoleStmt, *pg_query.Node_AlterRoleSetStmt:
		return alter("role")
	case *pg_query.Node_AlterDatabaseStmt, *pg_query.Node_AlterDatabaseSetStmt, *pg_query.Node_AlterDatabaseRefreshCollStmt:
		return alter("database")
	case *pg_query.Node_AlterSystemStmt:
		return alter("system")
	case *pg_query.Node_AlterPolicyStmt:
		return alter("policy")
	case *pg_query.Node_AlterEventTrigStmt:
		return alter("event trigger")
	case *pg_query.Node_AlterExtensionStmt, *pg_query.Node_AlterExtensionContentsStmt:
		return alter("extension")
	case *pg_query.Node_AlterFdwStmt:
		return alter("foreign data wrapper")
	case *pg_query.Node_AlterForeignServerStmt:
		return alter("server")
	case *pg_query.Node_AlterUserMappingStmt:
		return alter("user mapping")
	case *pg_query.Node_AlterTableSpaceOptionsStmt:
		return alter("tablespace")
	case *pg_query.Node_AlterTableMoveAllStmt:
		return alter("tablespace")
	case *pg_query.Node_AlterOperatorStmt:
		return alter("operator")
	case *pg_query.Node_AlterOpFamilyStmt:
		return alter("operator family")
	case *pg_query.Node_AlterCollationStmt:
		return alter("collation")
	case *pg_query.Node_AlterStatsStmt:
		return alter("statistics")
	case *pg_query.Node_AlterTsdictionaryStmt:
		return alter("text search dictionary")
	case *pg_query.Node_AlterTsconfigurationStmt:
		return alter("text search configuration")
	case *pg_query.Node_AlterPublicationStmt:
		return alter("publication")
	case *pg_query.Node_AlterSubscriptionStmt:
		return alter("subscription")
	case *pg_query.Node_ReplicaIdentityStmt:
		return alter("table")
	case *pg_query.Node_AlterDefaultPrivilegesStmt:
		return "alter default privileges", "grant", "default privileges"
	case *pg_query.Node_DropStmt:
		return drop(objectWord(s.DropStmt.RemoveType))
	case *pg_query.Node_DropRoleStmt:
		return drop("role")
	case *pg_query.Node_DropdbStmt:
		return drop("database")
	case *pg_query.Node_DropTableSpaceStmt:
		return drop("tablespace")
	case *pg_query.Node_DropUserMappingStmt:
		return drop("user mapping")
	case *pg_query.Node_DropSubscriptionStmt:
		return drop("subscription")
	case *pg_query.Node_DropOwnedStmt:
		return drop("owned")
	case *pg_query.Node_ReassignOwnedStmt:
		return "reassign owned", "alter", "owned"
	case *pg_query.Node_GrantStmt:
		if s.GrantStmt.IsGrant {
			return "grant", "grant", objectWord(s.GrantStmt.Objtype)
		}
		return "revoke", "revoke", objectWord(s.GrantStmt.Objtype)
	case *pg_query.Node_GrantRoleStmt:
		if s.GrantRoleStmt.IsGrant {
			return "grant role", "grant", "role"
		}
		return "revoke role", "revoke", "role"
	case *pg_query.Node_CommentStmt:
		return "comment", "comment", objectWord(s.CommentStmt.Objtype)
	case *pg_query.Node_SecLabelStmt:
		return "security label", "alter", objectWord(s.SecLabelStmt.Objtype)
	case *pg_query.Node_ImportForeignSchemaStmt:
		return "import foreign schema", "create", "foreign table"
	case *pg_query.Node_RefreshMatViewStmt:
		return "refresh materialized view", "refresh", "materialized view"
	case *pg_query.Node_VacuumStmt:
		if s.VacuumStmt.IsVacuumcmd {
			return "vacuum", "vacuum", ""
		}
		return "analyze", "analyze", ""
	case *pg_query.Node_ClusterStmt:
		return "cluster", "cluster", ""
	case *pg_query.Node_ReindexStmt:
		return "reindex", "reindex", ""
	}
	return "", "", ""
}
