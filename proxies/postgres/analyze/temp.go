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
	if !made && !e.MayCreateTemp && !e.DropsTemp && !st.Facts.Action.Opaque && len(flows) == 0 {
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
	if e.MayCreateTemp || st.Facts.Action.Opaque || made && !c.ColumnsKnown {
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
