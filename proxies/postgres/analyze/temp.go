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
		next.Relations = append(next.Relations, &TempRelation{Name: c.Name, Columns: c.Columns})
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

// with is r after values flowed into its columns.
func (r *TempRelation) with(flows []Flow) *TempRelation {
	changed := r
	for _, f := range flows {
		name, ok := strings.CutPrefix(f.Column, "pg_temp."+r.Name+".")
		if !ok {
			continue
		}
		if changed == r {
			changed = &TempRelation{Name: r.Name, Columns: slices.Clone(r.Columns)}
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
