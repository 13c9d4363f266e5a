package analyze

import (
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/input"
)

// After returns the session's temporary relations after st ran. t may be nil.
// It is conservative: where a statement may have made or changed some that are
// not seen, the result is Uncertain. A rolled-back transaction undoes what was
// done in it: the caller then goes back to the value from before.
func (t *TempRelations) After(st *Statement) *TempRelations {
	e := &st.Effects
	c := e.Creates
	made := c != nil && c.Temp
	var flows []Flow
	for _, f := range e.Flows {
		if strings.HasPrefix(f.Column, "pg_temp.") {
			flows = append(flows, f)
		}
	}
	if !made && !e.MayCreateTemp && !e.DropsTemp && len(flows) == 0 {
		return t
	}
	next := &TempRelations{}
	if t != nil {
		next.Relations = slices.Clone(t.Relations)
		next.Uncertain = t.Uncertain
	}
	if e.Discard == "all" || e.Discard == "temp" {
		return &TempRelations{}
	}
	if e.DropsTemp {
		// DROP, RENAME and their like: what they name is not what it was.
		next.Relations = slices.DeleteFunc(next.Relations, func(r *TempRelation) bool {
			return slices.Contains(st.Facts.Statement.Objects, "pg_temp."+r.Name)
		})
	}
	if e.MayCreateTemp || made && !c.ColumnsKnown {
		next.Uncertain = true
	}
	if made && c.ColumnsKnown {
		next.Relations = slices.DeleteFunc(next.Relations, func(r *TempRelation) bool { return r.Name == c.Name })
		next.Relations = append(next.Relations, &TempRelation{Name: c.Name, Columns: c.Columns, More: c.View})
	}
	for i, r := range next.Relations {
		next.Relations[i] = r.with(flows)
	}
	return next
}

// TempProbe is a query whose rows, the name of a temporary relation and of one
// of its columns, tell what the session really has. It runs in the session.
const TempProbe = `SELECT c.relname, a.attname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_attribute a ON a.attrelid OPERATOR(pg_catalog.=) c.oid
WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()
AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped
AND c.relkind OPERATOR(pg_catalog.=) ANY (ARRAY['r','v','m','p','f','S']::pg_catalog."char"[])
ORDER BY c.relname, a.attnum`

// Probed is what the rows of TempProbe say, with the lineage that t knows of
// the relations that are still as they were. Where the values of others came
// from is not known.
func (t *TempRelations) Probed(rows [][2]string) *TempRelations {
	next := &TempRelations{}
	for _, row := range rows {
		n := len(next.Relations)
		if n == 0 || next.Relations[n-1].Name != row[0] {
			next.Relations = append(next.Relations, &TempRelation{Name: row[0]})
			n++
		}
		r := next.Relations[n-1]
		r.Columns = append(r.Columns, Output{Name: row[1], Derivation: input.Opaque})
	}
	if t == nil {
		return next
	}
	for i, r := range next.Relations {
		for _, known := range t.Relations {
			if known.Name == r.Name && slices.EqualFunc(known.Columns, r.Columns, func(a, b Output) bool { return a.Name == b.Name }) {
				next.Relations[i] = known
			}
		}
	}
	return next
}

// flows are the columns that st gives values of others, also by a statement
// inside it.
func (s *Statement) flows() []Flow {
	if s.Effects.Execute == nil {
		return s.Effects.Flows
	}
	var all []Flow
	for _, f := range s.Facts.Statement.Flows {
		flow := Flow{Column: f.To, Derivation: input.Derived}
		for _, from := range f.From {
			if from == "*" {
				flow.Derivation = input.Opaque
			} else {
				flow.Sources = append(flow.Sources, from)
			}
		}
		all = append(all, flow)
	}
	return all
}

// temporary is the temporary relation that a column "pg_temp.relation.column"
// is of. Such names may have dots in them; those of relations that matter are
// looked up, so the first part is tried.
func temporary(column string) (relation string, ok bool) {
	rest, ok := strings.CutPrefix(column, "pg_temp.")
	if !ok {
		return "", false
	}
	if dot := strings.LastIndexByte(rest, '.'); dot >= 0 {
		rest = rest[:dot]
	}
	return rest, true
}

// Fills are the temporary relations that st gives values of other columns.
func (s *Statement) Fills() []string {
	var names []string
	for _, f := range s.flows() {
		if name, ok := temporary(f.Column); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Filled is what columns of the temporary relation hold after st.
func (s *Statement) Filled(relation string, columns []Output) []Output {
	return (&TempRelation{Name: relation, Columns: columns}).with(s.flows()).Columns
}

// Either is where values come from that are of one relation or of another by
// the same name; nil when their columns are not the same.
func Either(a, b []Output) []Output {
	if !slices.EqualFunc(a, b, func(x, y Output) bool { return x.Name == y.Name }) {
		return nil
	}
	both := slices.Clone(a)
	for i := range both {
		o := &both[i]
		o.Sources = slices.Compact(slices.Sorted(slices.Values(slices.Concat(a[i].Sources, b[i].Sources))))
		switch {
		case a[i].Derivation == input.Opaque || b[i].Derivation == input.Opaque:
			o.Derivation = input.Opaque
		case len(o.Sources) > 0:
			o.Derivation = input.Derived
		}
	}
	return both
}

// with is r after values flowed into its columns.
func (r *TempRelation) with(flows []Flow) *TempRelation {
	changed := r
	for _, f := range flows {
		name, ok := strings.CutPrefix(f.Column, "pg_temp."+r.Name+".")
		if !ok {
			continue
		}
		if changed == r {
			changed = &TempRelation{Name: r.Name, Columns: slices.Clone(r.Columns), More: r.More}
		}
		for i := range changed.Columns {
			c := &changed.Columns[i]
			if name != "*" && name != c.Name {
				continue
			}
			c.Sources = slices.Compact(slices.Sorted(slices.Values(slices.Concat(c.Sources, f.Sources))))
			switch {
			case f.Derivation == input.Opaque || c.Derivation == input.Opaque:
				c.Derivation = input.Opaque
			case f.Derivation != input.Exact || c.Derivation == input.Derived || len(c.Sources) > len(f.Sources):
				c.Derivation = input.Derived
			default:
				c.Derivation = f.Derivation
			}
		}
	}
	return changed
}
