package postgres

// foresee takes into account, for the rest of the batch or query at hand, what
// a statement that was allowed will do once the target runs it.
func (s *session) foresee(t *turn) {
	st := t.statement
	e := &st.Effects
	if e.CatalogChange || e.SettingsChange || e.MayCreateTemp || e.DropsTemp || st.Facts.Action.Opaque || len(st.Fills()) > 0 {
		s.changing = true
	}
	switch e.Transaction {
	case "commit", "rollback", "rollback to", "prepare transaction":
		// SET LOCAL ends, and every SET of what is rolled back.
		s.ending = s.ending || s.truth.changedInTx
	}
	t.carried = s.carried
	s.carried = s.carried || st.Facts.Action.Opaque
	if st.Facts.Action.Opaque {
		// It may close a cursor and open another one by the same name.
		s.opaque = true
		for _, portals := range []map[string]*portal{s.portals, s.overlay.portals} {
			for _, p := range portals {
				if p != nil {
					p.doubt, p.turn, p.described = true, nil, false
				}
			}
		}
	}
	s.rename(t, s.layStatement, s.layPortal)
}

// apply follows what a statement did to the session, after the target said
// that it ran. A statement that failed or did not run may have changed
// something all the same (a function it called): only names are left alone.
func (s *session) apply(t *turn, ran bool) {
	st := t.statement
	e := &st.Effects
	fills := st.Fills()
	if e.SettingsChange || e.MayCreateTemp || e.DropsTemp || e.Discard != "" || st.Facts.Action.Opaque || e.Creates != nil && e.Creates.Temp || len(fills) > 0 {
		s.truth.dirty, s.truth.changedInTx = true, true
	}
	s.truth.opaque = s.truth.opaque || st.Facts.Action.Opaque
	if e.Transaction == "rollback to" && s.truth.changedInTx {
		s.truth.dirty = true
	}
	// A temporary relation is none of the catalogue's: the session itself is
	// asked for those.
	onlyTemp := e.Creates != nil && e.Creates.Temp && !st.Facts.Action.Opaque
	if e.CatalogChange && !onlyTemp || e.Do || e.Call {
		s.truth.uncommitted = true // until the transaction ends, see ready
	}
	if e.Listen != "" || st.Facts.Action.Opaque && s.listens == nil {
		s.listens = t
	}
	s.truth.filled(t, fills)
	if !ran {
		return
	}
	if c := e.Creates; c != nil && c.Temp && c.ColumnsKnown && !t.tainted {
		s.truth.made(c.Name, c.Columns)
	}
	s.rename(t, func(name string, st *statement) {
		if delete(s.statements, name); st != nil {
			s.statements[name] = st
		}
	}, func(name string, p *portal) {
		if delete(s.portals, name); p != nil {
			s.portals[name] = p
		}
	})
}

// rename tells what a statement does to the names of prepared statements and
// cursors; nil is one that is gone.
func (s *session) rename(t *turn, statementIs func(string, *statement), portalIs func(string, *portal)) {
	e := &t.statement.Effects
	forget := func() {
		for _, known := range []map[string]*statement{s.statements, s.overlay.statements} {
			for name := range known {
				statementIs(name, nil)
			}
		}
	}
	closeAll := func() {
		for _, known := range []map[string]*portal{s.portals, s.overlay.portals} {
			for name := range known {
				portalIs(name, nil)
			}
		}
	}
	if p := e.Prepare; p != nil {
		statementIs(p.Name, nil)
		if p.Inner != nil {
			statementIs(p.Name, &statement{name: p.Name, text: p.Inner.Text, source: t.source})
		}
	}
	if d := e.Deallocate; d != nil && d.Name != "" {
		statementIs(d.Name, nil)
	} else if d != nil {
		forget()
	}
	if d := e.Declare; d != nil {
		portalIs(d.Name, nil)
		if d.Inner != nil {
			portalIs(d.Name, &portal{
				name: d.Name, bound: d.Inner, doubt: t.tainted, cursor: true, hold: d.Hold,
				statement: &statement{parsed: d.Inner, fixed: true},
			})
		}
	}
	if c := e.Close; c != nil && c.Name != "" {
		portalIs(c.Name, nil)
	} else if c != nil {
		closeAll()
	}
	if e.Discard == "all" {
		forget()
		closeAll()
	}
}
