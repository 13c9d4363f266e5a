package analyze

import (
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

const noName = "?column?"

func valuesColumn(i int) string { return "column" + strconv.Itoa(i+1) }

// columnName is the name that the server gives a result column without AS
// (parse_target.c, FigureColnameInternal).
func columnName(n *pg_query.Node) string {
	if name, _ := figureName(n); name != "" {
		return name
	}
	return noName
}

// figureName also says how strongly the name holds: 2 for a name of the
// user's, 1 for one of a cast or CASE that a stronger one replaces.
func figureName(n *pg_query.Node) (string, int) {
	switch e := n.GetNode().(type) {
	case *pg_query.Node_ColumnRef:
		for i := len(e.ColumnRef.Fields) - 1; i >= 0; i-- {
			if s := e.ColumnRef.Fields[i].GetString_(); s != nil {
				return s.GetSval(), 2
			}
		}
	case *pg_query.Node_AIndirection:
		for i := len(e.AIndirection.Indirection) - 1; i >= 0; i-- {
			if s := e.AIndirection.Indirection[i].GetString_(); s != nil {
				return s.GetSval(), 2
			}
		}
		return figureName(e.AIndirection.Arg)
	case *pg_query.Node_FuncCall:
		return lastName(e.FuncCall.Funcname), 2
	case *pg_query.Node_AExpr:
		if e.AExpr.Kind == pg_query.A_Expr_Kind_AEXPR_NULLIF {
			return "nullif", 2
		}
	case *pg_query.Node_TypeCast:
		if name, strength := figureName(e.TypeCast.Arg); strength > 1 {
			return name, strength
		}
		if e.TypeCast.TypeName != nil {
			return lastName(e.TypeCast.TypeName.Names), 1
		}
	case *pg_query.Node_CollateClause:
		return figureName(e.CollateClause.Arg)
	case *pg_query.Node_GroupingFunc:
		return "grouping", 2
	case *pg_query.Node_SubLink:
		switch e.SubLink.SubLinkType {
		case pg_query.SubLinkType_EXISTS_SUBLINK:
			return "exists", 2
		case pg_query.SubLinkType_ARRAY_SUBLINK:
			return "array", 2
		case pg_query.SubLinkType_EXPR_SUBLINK:
			s := e.SubLink.Subselect.GetSelectStmt()
			for s.GetLarg() != nil {
				s = s.Larg
			}
			if len(s.GetValuesLists()) > 0 {
				return valuesColumn(0), 2
			}
			if list := s.GetTargetList(); len(list) > 0 {
				t := list[0].GetResTarget()
				if t.GetName() != "" {
					return t.Name, 2
				}
				return figureName(t.GetVal())
			}
		}
	case *pg_query.Node_CaseExpr:
		if name, strength := figureName(e.CaseExpr.Defresult); strength > 1 {
			return name, strength
		}
		return "case", 1
	case *pg_query.Node_AArrayExpr:
		return "array", 2
	case *pg_query.Node_RowExpr:
		return "row", 2
	case *pg_query.Node_CoalesceExpr:
		return "coalesce", 2
	case *pg_query.Node_MinMaxExpr:
		if e.MinMaxExpr.Op == pg_query.MinMaxOp_IS_LEAST {
			return "least", 2
		}
		return "greatest", 2
	case *pg_query.Node_SqlvalueFunction:
		op := strings.TrimPrefix(e.SqlvalueFunction.Op.String(), "SVFOP_")
		return strings.ToLower(strings.TrimSuffix(op, "_N")), 2
	case *pg_query.Node_XmlExpr:
		switch e.XmlExpr.Op {
		case pg_query.XmlExprOp_IS_XMLCONCAT:
			return "xmlconcat", 2
		case pg_query.XmlExprOp_IS_XMLELEMENT:
			return "xmlelement", 2
		case pg_query.XmlExprOp_IS_XMLFOREST:
			return "xmlforest", 2
		case pg_query.XmlExprOp_IS_XMLPARSE:
			return "xmlparse", 2
		case pg_query.XmlExprOp_IS_XMLPI:
			return "xmlpi", 2
		case pg_query.XmlExprOp_IS_XMLROOT:
			return "xmlroot", 2
		}
	case *pg_query.Node_XmlSerialize:
		return "xmlserialize", 2
	case *pg_query.Node_JsonObjectConstructor:
		return "json_object", 2
	case *pg_query.Node_JsonArrayConstructor, *pg_query.Node_JsonArrayQueryConstructor:
		return "json_array", 2
	case *pg_query.Node_JsonObjectAgg:
		return "json_objectagg", 2
	case *pg_query.Node_JsonArrayAgg:
		return "json_arrayagg", 2
	}
	return "", 0
}
