package analyze

import (
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
)

func (b *builder) setting(s Setting) {
	b.settings[s.Name] = true
	b.effects.SettingsChange = true
	b.effects.Settings = append(b.effects.Settings, s)
}

func (b *builder) setVariable(s *pg_query.VariableSetStmt, persistent bool) {
	b.simple("set")
	if s.Kind == pg_query.VariableSetKind_VAR_RESET || s.Kind == pg_query.VariableSetKind_VAR_RESET_ALL {
		b.command = "reset"
	}
	b.kind = "setting"
	set := Setting{Name: strings.ToLower(s.Name), Local: s.IsLocal, Persistent: persistent}
	switch s.Kind {
	case pg_query.VariableSetKind_VAR_SET_VALUE:
		var values []string
		for _, n := range s.Args {
			if v := optionText(n); v != nil {
				values = append(values, *v)
			}
		}
		joined := strings.Join(values, ", ")
		set.Value = &joined
	case pg_query.VariableSetKind_VAR_SET_DEFAULT, pg_query.VariableSetKind_VAR_SET_CURRENT:
	case pg_query.VariableSetKind_VAR_RESET:
		set.Reset = true
	case pg_query.VariableSetKind_VAR_RESET_ALL:
		set.Name, set.Reset = "*", true
	case pg_query.VariableSetKind_VAR_SET_MULTI:
		b.setSeveral(s)
		return
	default:
		b.hides("syntax", s.Kind.String(), whyNode)
	}
	b.setting(set)
}

// setSeveral is SET TRANSACTION and SET SESSION CHARACTERISTICS.
func (b *builder) setSeveral(s *pg_query.VariableSetStmt) {
	prefix, local := "", true
	switch s.Name {
	case "TRANSACTION":
	case "SESSION CHARACTERISTICS":
		prefix, local = "default_", false
	case "TRANSACTION SNAPSHOT":
		b.setting(Setting{Name: "transaction_snapshot", Local: true})
		return
	default:
		b.hides("setting", s.Name, whyNode)
	}
	for _, n := range s.Args {
		d := n.GetDefElem()
		b.setting(Setting{Name: prefix + d.GetDefname(), Value: optionText(d.GetArg()), Local: local})
	}
}

// optionText is a literal option as text, nil where it is none.
func optionText(n *pg_query.Node) *string {
	text := func(s string) *string { return &s }
	switch v := n.GetNode().(type) {
	case *pg_query.Node_String_:
		return text(v.String_.GetSval())
	case *pg_query.Node_Integer:
		return text(itoa(v.Integer.GetIval()))
	case *pg_query.Node_Float:
		return text(v.Float.GetFval())
	case *pg_query.Node_Boolean:
		if v.Boolean.GetBoolval() {
			return text("true")
		}
		return text("false")
	case *pg_query.Node_TypeCast:
		return optionText(v.TypeCast.Arg)
	case *pg_query.Node_TypeName:
		return text(joinNames(v.TypeName.Names))
	case *pg_query.Node_AConst:
		switch c := v.AConst.Val.(type) {
		case *pg_query.A_Const_Sval:
			return text(c.Sval.GetSval())
		case *pg_query.A_Const_Ival:
			return text(itoa(c.Ival.GetIval()))
		case *pg_query.A_Const_Fval:
			return text(c.Fval.GetFval())
		case *pg_query.A_Const_Boolval:
			if c.Boolval.GetBoolval() {
				return text("true")
			}
			return text("false")
		}
	}
	return nil
}

func (b *builder) discard(s *pg_query.DiscardStmt) {
	b.simple("discard")
	switch s.Target {
	case pg_query.DiscardMode_DISCARD_ALL:
		b.effects.Discard = "all"
		b.effects.DropsTemp = true
		b.setting(Setting{Name: "*", Reset: true})
	case pg_query.DiscardMode_DISCARD_PLANS:
		b.effects.Discard = "plans"
	case pg_query.DiscardMode_DISCARD_SEQUENCES:
		b.effects.Discard = "sequences"
	case pg_query.DiscardMode_DISCARD_TEMP:
		b.effects.Discard = "temp"
		b.effects.DropsTemp = true
	}
}
