package postgres

import "github.com/regate-dev/regate/proxies/postgres/analyze"

// apply follows what a statement did to the session, after the target said
// that it ran. A statement that failed or did not run may have changed
// something all the same (a function it called): only names are left alone.
func (s *session) apply(t *turn, ran bool) {
	st := t.statement
	e := &st.Effects
	if e.SettingsChange || e.MayCreateTemp || e.DropsTemp || e.Discard != "" || st.Facts.Action.Opaque {
		s.truth.dirty, s.truth.changedInTx = true, true
	}
	if e.Transaction == "rollback to" && s.truth.changedInTx {
		s.truth.dirty = true
	}
	if e.CatalogChange || e.Do || e.Call {
		s.truth.uncommitted = true // until the transaction ends, see ready
	}
	if !ran {
		return
	}
	if c := e.Creates; c != nil && c.Temp && c.ColumnsKnown && !t.tainted {
		if s.truth.created == nil {
			s.truth.created = map[string][]analyze.Output{}
		}
		s.truth.created[c.Name] = c.Columns
	}
	if p := e.Prepare; p != nil && p.Inner != nil {
		s.statements[p.Name] = &statement{name: p.Name, text: p.Inner.Text}
	}
	if d := e.Deallocate; d != nil {
		if d.Name == "" {
			clear(s.statements)
		} else {
			delete(s.statements, d.Name)
		}
	}
	if d := e.Declare; d != nil && d.Inner != nil {
		s.portals[d.Name] = &portal{name: d.Name, statement: &statement{parsed: d.Inner, fixed: true}, cursor: true, hold: d.Hold}
	}
	if c := e.Close; c != nil {
		if c.Name == "" {
			clear(s.portals)
		} else {
			delete(s.portals, c.Name)
		}
	}
	if e.Discard == "all" {
		clear(s.statements)
		clear(s.portals)
	}
}
