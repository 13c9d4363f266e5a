package postgres

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// truth is what decides how names in this session's statements resolve, as the
// target itself tells it. It is asked again whenever a statement may have
// changed it.
type truth struct {
	settings analyze.Settings
	user     string // that the session began as
	acting   string // the role now, "" while it is that
	version  uint64 // counts the answers that differed
	dirty    bool   // a statement since the last answer may have changed it
	// uncommitted: the open transaction has changed the schema, which the
	// catalogue's own connection cannot see.
	uncommitted bool
	// created are temporary relations whose columns' origin is known.
	created     map[string][]analyze.Output
	changedInTx bool // settings changed since the last end of a transaction
	opaque      bool // a statement since the last answer may have done anything, unseen
}

// version is what the analysis of a statement is good for.
type version struct {
	snapshot *catalog.Snapshot
	truth    uint64
	mode     analyze.Mode
}

// probe asks for everything at once. Every name in it is qualified, so that
// nothing in the session's search path can answer instead.
const probe = `SELECT pg_catalog.json_build_object(
 'user', current_user,
 'path', pg_catalog.to_json(pg_catalog.current_schemas(true)),
 'strings', pg_catalog.current_setting('standard_conforming_strings'),
 'encoding', pg_catalog.current_setting('client_encoding'),
 'temp', (SELECT pg_catalog.json_agg(pg_catalog.json_build_object('name', c.relname,
    'more', c.relhassubclass OR c.relkind OPERATOR(pg_catalog.=) 'v', 'columns',
    (SELECT pg_catalog.json_agg(a.attname ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
      WHERE a.attrelid OPERATOR(pg_catalog.=) c.oid AND a.attnum OPERATOR(pg_catalog.>) 0 AND NOT a.attisdropped)))
   FROM pg_catalog.pg_class c WHERE c.relnamespace OPERATOR(pg_catalog.=) pg_catalog.pg_my_temp_schema()))::pg_catalog.text`

type probed struct {
	User     string   `json:"user"`
	Path     []string `json:"path"`
	Strings  string   `json:"strings"`
	Encoding string   `json:"encoding"`
	Temp     []struct {
		Name    string   `json:"name"`
		More    bool     `json:"more"`
		Columns []string `json:"columns"`
	} `json:"temp"`
}

// settings are what a statement's meaning depends on, but for what the session
// has prepared and made itself.
func (p *probed) settings() analyze.Settings {
	return analyze.Settings{SearchPath: p.Path, User: p.User}
}

// askTruth runs the probe on the agent's own connection. Nothing may be owed,
// and the transaction must be able to run a statement.
func (s *session) askTruth() error {
	question := probe
	if s.truth.opaque {
		question = probe + probePrepared
	}
	s.forward = wire.AppendQuery(s.forward[:0], question)
	if _, err := s.up.Write(s.forward); err != nil {
		return err
	}
	s.forward = s.forward[:0]
	var answer []byte
	var prepared map[string]string
	var failed string
	for {
		message, err := s.nextFromTarget()
		if err != nil {
			return err
		}
		switch message[0] {
		case 'D':
			b := wire.NewBody(message)
			columns := b.Int16()
			first := b.Bytes(int(b.Int32()))
			switch columns {
			case 1:
				answer = slices.Clone(first)
			case 2:
				if prepared == nil {
					prepared = map[string]string{}
				}
				prepared[string(first)] = string(b.Bytes(int(b.Int32())))
			}
		case 'E':
			failed = wire.ReportField(message, 'M')
		case 'Z':
			s.tx = message[wire.HeaderSize]
			if failed != "" {
				return fmt.Errorf("ask the target for the session's state: %s", failed)
			}
			if s.truth.opaque {
				s.reconcile(prepared)
			}
			return s.learn(answer)
		case 'N', 'A', 'S':
			if err := s.async(message); err != nil {
				return err
			}
		}
	}
}

// probePrepared asks, behind the probe, what the prepared statements are.
const probePrepared = `; SELECT name, statement FROM pg_catalog.pg_prepared_statements`

// reconcile forgets prepared statements that are not what they were: a
// function can prepare one by any name.
func (s *session) reconcile(prepared map[string]string) {
	for name, st := range s.statements {
		text := st.text
		if st.source != "" {
			text = st.source
		}
		if now, ok := prepared[name]; name != "" && (!ok || now != text) {
			delete(s.statements, name)
		}
	}
	s.truth.opaque = false
}

func (s *session) learn(answer []byte) error {
	var p probed
	if err := json.Unmarshal(answer, &p); err != nil {
		return fmt.Errorf("read the session's state: %w", err)
	}
	t := &s.truth
	if t.user == "" {
		t.user = p.User
	}
	if p.User != t.user && !slices.Contains(s.target.Role.Allowed, p.User) || p.Strings != "on" || p.Encoding != "UTF8" {
		return &fatal{wire.Report{Severity: "FATAL", Code: "42501",
			Message: "the session's role or string settings were changed behind regate's back",
			Detail:  "reason: " + ReasonSessionChanged, Hint: "Connect again and do not change role, client_encoding or standard_conforming_strings."}}
	}
	t.acting = ""
	if p.User != t.user {
		t.acting = p.User
	}
	next := p.settings()
	next.Prepared, next.Cursor = s.preparedStatement, s.cursorStatement
	if len(p.Temp) > 0 {
		next.Temp = &analyze.TempRelations{}
		for _, r := range p.Temp {
			next.Temp.Relations = append(next.Temp.Relations, &analyze.TempRelation{Name: r.Name, Columns: t.columns(r.Name, r.Columns), More: r.More})
		}
	} else {
		t.created = nil
	}
	if len(p.Temp) > 0 || t.settings.Temp != nil || !slices.Equal(p.Path, t.settings.SearchPath) {
		t.version++
	}
	next.AST = t.settings.AST
	t.settings = next
	t.dirty = false
	return nil
}

// columns returns the origin of a temporary relation's columns: known when the
// session was seen to make it so, otherwise anything.
func (t *truth) columns(relation string, names []string) []analyze.Output {
	known := t.created[relation]
	out := make([]analyze.Output, len(names))
	for i, n := range names {
		out[i] = analyze.Output{Name: n, Derivation: input.Opaque}
		if len(known) == len(names) && known[i].Name == n {
			out[i] = known[i]
			if out[i].Derivation == input.Exact {
				out[i].Derivation = input.Derived
			}
		}
	}
	return out
}

// made notes a temporary relation. An earlier one by its name may come back,
// when a transaction is rolled back: then it may be either.
func (t *truth) made(name string, columns []analyze.Output) {
	if t.created == nil {
		t.created = map[string][]analyze.Output{}
	}
	if before, twice := t.created[name]; twice {
		columns = analyze.Either(before, columns)
	}
	t.created[name] = columns
}

// filled notes what a statement put into temporary relations. After one that
// may have put anything into any, nothing is known of what they hold.
func (t *truth) filled(by *turn, relations []string) {
	st := by.statement
	if by.tainted || !st.Complete || st.Facts.Action.Opaque || setsTrap(st) {
		for name := range t.created {
			t.created[name] = nil
		}
		return
	}
	for _, name := range relations {
		if columns := t.created[name]; columns != nil {
			t.created[name] = st.Filled(name, columns)
		}
	}
}

// setsTrap reports whether st may make later writes to a temporary relation do
// more than they say: a trigger or a rule, which the catalogue does not tell
// of.
func setsTrap(st *analyze.Statement) bool {
	if !st.Facts.Action.DDL || st.Effects.Creates != nil || st.Effects.DropsTemp {
		return false
	}
	for name := range st.Facts.Resource.Tables {
		if strings.HasPrefix(name, "pg_temp.") {
			return true
		}
	}
	return false
}

// currentCatalog returns what is known of the target's schema. The error is a
// *engine.Denial.
func (s *session) currentCatalog() (*catalog.Snapshot, error) {
	snapshot, err := s.catalog.Get(s.ctx)
	if err != nil {
		s.log.WithError(err).Error("the target's catalogue cannot be read: statements are denied")
		return nil, &engine.Denial{Reasons: []string{ReasonNoCatalog}, Message: "the target's catalogue cannot be read at present", Hint: "Try again in a few seconds; tell the gateway's operator if it lasts."}
	}
	return snapshot, nil
}

// analysis analyses text as the target would read it now.
func (s *session) analysis(text string, mode analyze.Mode) (*analyze.Batch, error) {
	snapshot, err := s.currentCatalog()
	if err != nil {
		return nil, err
	}
	if s.opaque && mode != analyze.FunctionCall && !plainText(text) {
		// Whatever ran before may have changed how strings are read; the
		// target tells of that only when it is ready for the next query.
		return nil, &engine.Denial{Reasons: []string{ReasonSessionChanged}, Message: "this statement cannot follow, before a Sync, one of which it is not known what it does", Hint: "Send Sync first."}
	}
	s.snapshot = snapshot
	dirty, opaque := s.truth.dirty, s.truth.opaque // the analysis of EXECUTE may ask, too
	settings := s.truth.settings
	settings.Mode = mode
	settings.AST = s.srv.readsAST()
	batch, err := s.srv.analyzer.Analyze(text, snapshot, settings)
	settled := err == nil && nameless(batch) && !opaque && len(s.target.Role.Allowed) == 0
	if err != nil || !dirty || settled || s.tx == 'E' || s.open || s.expect.len() > 0 {
		return batch, err
	}
	if s.truth.dirty {
		if err := s.askTruth(); err != nil {
			return nil, err
		}
	}
	settings = s.truth.settings
	settings.Mode = mode
	settings.AST = s.srv.readsAST()
	return s.srv.analyzer.Analyze(text, snapshot, settings)
}

// plainText reports whether text reads the same whatever the encoding and the
// rules for strings.
func plainText(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] >= 0x80 || text[i] == '\\' {
			return false
		}
	}
	return true
}

// nameless reports whether no name in the batch needs to be resolved, so that
// the session's state does not matter.
func nameless(b *analyze.Batch) bool {
	for _, st := range b.Statements {
		f := &st.Facts
		if len(f.Resource.TableNames) > 0 || len(f.Resource.FunctionNames) > 0 || !st.Complete || f.Action.Opaque {
			return false
		}
	}
	return true
}

// unsettled reports whether names may mean something else than the analysis
// thinks.
func (s *session) unsettled() bool { return s.truth.dirty || s.truth.uncommitted }

func (s *session) preparedStatement(name string) *analyze.Statement {
	st := s.lookupStatement(name)
	if st == nil || s.refreshStatement(st) != nil {
		return nil
	}
	return st.parsed
}

func (s *session) cursorStatement(name string) *analyze.Statement {
	if p := s.lookupPortal(name); p != nil && !p.doubt {
		return p.bound
	}
	return nil
}
