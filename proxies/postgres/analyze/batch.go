package analyze

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strconv"
	"strings"

	pg_query "github.com/pganalyze/pg_query_go/v5"
	"github.com/pganalyze/pg_query_go/v5/parser"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
)

// batchState is what earlier statements of a batch change for later ones.
type batchState struct {
	temps    map[string]*TempRelation
	dropped  map[string]bool
	prepared map[string]*Statement // nil for one that is gone
	cursors  map[string]*Statement
	// shadows counts the temporary relations made so far. A statement that was
	// prepared before one of them is read again by the server, and may then mean
	// that one.
	shadows        int
	preparedAt     map[string]int
	forgotPrepared bool
	forgotCursors  bool
	// changed: names may mean something else than the snapshot and the search
	// path say.
	changed bool
}

func (s *batchState) temp(name string) *TempRelation { return s.temps[name] }

// after takes over what a statement changes.
func (s *batchState) after(b *builder, st *Statement) {
	e := st.Effects
	if st.Facts.Action.Opaque {
		s.changed = true
	}
	if p := e.Prepare; p != nil {
		s.prepared[p.Name], s.preparedAt[p.Name] = p.Inner, s.shadows
	}
	if d := e.Deallocate; d != nil {
		if d.Name == "" {
			s.prepared, s.forgotPrepared = map[string]*Statement{}, true
		} else {
			s.prepared[d.Name] = nil
		}
	}
	if d := e.Declare; d != nil {
		s.cursors[d.Name] = d.Inner
	}
	if c := e.Close; c != nil {
		if c.Name == "" {
			s.cursors, s.forgotCursors = map[string]*Statement{}, true
		} else {
			s.cursors[c.Name] = nil
		}
	}
	if e.Discard == "all" {
		s.prepared, s.forgotPrepared = map[string]*Statement{}, true
		s.cursors, s.forgotCursors = map[string]*Statement{}, true
	}
	for _, set := range e.Settings {
		switch set.Name {
		case "search_path", "role", "session_authorization", "*", "row_security":
			s.changed = s.changed || !set.Persistent
		}
	}
	switch e.Transaction {
	case "rollback", "rollback to", "rollback prepared":
		// What was set or created in the transaction is undone.
		s.changed = true
	case "commit":
		s.cursors = map[string]*Statement{}
	}
	for _, f := range st.flows() {
		if name, temp := temporary(f.Column); temp {
			if t := b.temp(name); t != nil {
				s.temps[name] = t.with([]Flow{f})
			}
		}
	}
	c := e.Creates
	if c != nil && c.Temp {
		s.shadows++
	}
	if c != nil && c.Temp && c.ColumnsKnown && !e.MayCreateTemp {
		s.temps[c.Name] = &TempRelation{Name: c.Name, Columns: c.Columns, More: c.View}
		delete(s.dropped, c.Name)
		return
	}
	if e.CatalogChange || e.MayCreateTemp || e.DropsTemp {
		s.changed = true
	}
}

// analyzeBatch parses and analyses text that prescan let pass. The second
// result says whether the batch depends on nothing but the cache key.
func analyzeBatch(sql string, snap *catalog.Snapshot, set Settings) (*Batch, bool, error) {
	tree, err := pg_query.Parse(sql)
	if err != nil {
		return nil, false, parseError(err)
	}
	batch := &Batch{Text: sql}
	state := &batchState{
		temps: map[string]*TempRelation{}, dropped: map[string]bool{},
		prepared: map[string]*Statement{}, preparedAt: map[string]int{}, cursors: map[string]*Statement{},
	}
	cacheable := true
	steps := budget(len(sql))
	for i, raw := range tree.Stmts {
		text := statementText(sql, raw)
		b := newBuilder(snap, &set, state, steps)
		b.top(raw.Stmt, text)
		b.leftOver(raw.Stmt)
		if state.changed && b.unsafe {
			b.dontKnow("session", "", whyEarlier)
			b.outputKnown = false // what a name reaches may be another thing
		}
		st := b.finish(text, input.SQLBatch{Index: i, Size: len(tree.Stmts)})
		batch.Statements = append(batch.Statements, st)
		cacheable = cacheable && b.cacheable
		state.after(b, st)
	}
	return batch, cacheable, nil
}

// statementText is a statement's own part of the text.
func statementText(sql string, raw *pg_query.RawStmt) string {
	start := min(int(raw.StmtLocation), len(sql))
	end := len(sql)
	if raw.StmtLen > 0 {
		end = min(start+int(raw.StmtLen), len(sql))
	}
	return strings.Trim(sql[start:end], " \t\r\n\f\v;")
}

func parseError(err error) error {
	pe := &ParseError{Reason: ReasonParse, Message: err.Error()}
	var located *parser.Error
	if errors.As(err, &located) {
		pe.Message, pe.Position = located.Message, located.Cursorpos
	}
	return pe
}

// fingerprint is a digest of all that is in t.
func (t *TempRelations) fingerprint() string {
	h := sha256.New()
	write := func(s string) { fmt.Fprintf(h, "%d:%s", len(s), s) }
	write(strconv.FormatBool(t.Uncertain))
	for _, r := range t.Relations {
		write(r.Name)
		write(strconv.FormatBool(r.More))
		for _, c := range r.Columns {
			write(c.Name)
			write(string(c.Derivation))
			write(strconv.Itoa(len(c.Sources)))
			for _, s := range c.Sources {
				write(s)
			}
		}
		write("")
	}
	return string(h.Sum(nil))
}
