package postgres

import (
	"errors"
	"reflect"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// message is one extended-protocol message of a batch: a part of the arena.
type message struct{ from, to int }

// overlay is what the batch at hand does to prepared statements and portals,
// as the target will see it while it works through the batch. A nil entry is
// one that was closed. It becomes real with the target's own answers.
type overlay struct {
	statements map[string]*statement
	portals    map[string]*portal
}

// maxBatch bounds what an agent may send without a Sync or Flush, in bytes, as
// a multiple of the largest message.
const maxBatch = 4

// collect keeps an extended message until its batch is complete.
func (s *session) collect(m []byte) error {
	if len(s.arena)+len(m) > maxBatch*s.srv.maxMessage {
		return &fatal{wire.Report{Severity: "FATAL", Code: "54000", Message: "too much was sent without a Sync", Detail: "reason: " + ReasonBatchTooLarge, Hint: "Send Sync or Flush more often."}}
	}
	from := len(s.arena)
	s.arena = append(s.arena, m...)
	s.batch = append(s.batch, message{from, len(s.arena)})
	return nil
}

// runBatch decides the collected messages, forwards them and relays the
// answers. end is the message that completes the batch, S or H; implied means
// that the agent sent neither.
func (s *session) runBatch(end byte, implied bool) error {
	if implied && len(s.batch) == 0 {
		return nil
	}
	defer func() {
		s.batch, s.arena = s.batch[:0], s.arena[:0]
		if cap(s.arena) > 256<<10 {
			s.arena = nil
		}
		s.overlay = overlay{}
	}()
	if s.skip {
		if end != 'S' {
			return nil
		}
		s.skip = false
		s.forward = wire.AppendSync(s.forward)
		s.expect.push(owed{kind: 'S'})
		return s.exchange()
	}
	s.changing, s.ending = false, false
	for i := range s.batch {
		err := s.step(i)
		if err == nil {
			continue
		}
		if errors.Is(err, errSkipped) {
			if end != 'S' {
				return nil
			}
			s.skip = false
			break
		}
		var denial *engine.Denial
		if !errors.As(err, &denial) || denial.Fatal {
			return err
		}
		if s.expect.len() == 0 && !s.open && s.tx != 'T' {
			// The target has seen nothing of this batch: the answer needs no
			// round trip.
			s.out = wire.AppendError(s.out, denialReport(denial, false))
			if end == 'S' {
				return s.readyAgain()
			}
			s.skip = true
			return s.flush()
		}
		s.forward = wire.AppendBindUnknown(s.forward, s.failName)
		s.expect.push(owed{kind: 'x', report: denialReport(denial, false)})
		break
	}
	if end == 'S' {
		s.forward = wire.AppendSync(s.forward)
		s.expect.push(owed{kind: 'S'})
	} else if s.expect.len() > 0 {
		s.forward = wire.AppendFlush(s.forward)
	}
	s.open = end != 'S'
	return s.exchange()
}

// step takes one message of the batch.
func (s *session) step(i int) error {
	m := s.arena[s.batch[i].from:s.batch[i].to]
	switch m[0] {
	case 'P':
		return s.parse(m)
	case 'B':
		return s.bind(m)
	case 'D':
		return s.describe(m)
	case 'E':
		return s.execute(m)
	default:
		return s.closeObject(m)
	}
}

func (s *session) lookupStatement(name string) *statement {
	if st, ok := s.overlay.statements[name]; ok {
		return st
	}
	return s.statements[name]
}

func (s *session) lookupPortal(name string) *portal {
	if p, ok := s.overlay.portals[name]; ok {
		return p
	}
	return s.portals[name]
}

func (s *session) layStatement(name string, st *statement) {
	if s.overlay.statements == nil {
		s.overlay.statements = map[string]*statement{}
	}
	s.overlay.statements[name] = st
}

func (s *session) layPortal(name string, p *portal) {
	if s.overlay.portals == nil {
		s.overlay.portals = map[string]*portal{}
	}
	s.overlay.portals[name] = p
}

func malformed(what string) error {
	return &engine.Denial{Reasons: []string{ReasonProtocol}, Message: "malformed " + what + " message", Hint: "Use a driver that speaks the PostgreSQL protocol, version 3."}
}

func noStatement(name string) error {
	return &engine.Denial{Reasons: []string{ReasonUnknownStatement}, Message: "prepared statement \"" + name + "\" does not exist", Hint: "Prepare it in this session first."}
}

func noPortal(name string) error {
	return &engine.Denial{Reasons: []string{ReasonUnknownPortal}, Message: "portal \"" + name + "\" does not exist", Hint: "Bind it in this transaction first."}
}

func (s *session) parse(m []byte) error {
	b := wire.NewBody(m)
	name, text := string(b.Text()), string(b.Text())
	n := int(b.Int16())
	types := make([]uint32, 0, max(0, min(n, 1<<16)))
	for range n {
		types = append(types, b.Uint32())
	}
	if b.Done() != nil {
		return malformed("Parse")
	}
	st := &statement{name: name, text: text, types: types}
	if err := s.refreshStatement(st); err != nil {
		return err
	}
	if st.parsed == nil {
		// An empty query: what is forwarded is empty too, whatever comments
		// the agent sent.
		var at int
		s.forward, at = wire.Begin(s.forward, 'P')
		s.forward = append(wire.AppendText(s.forward, name), 0, 0, 0)
		s.forward = wire.End(s.forward, at)
	} else {
		s.forward = append(s.forward, m...)
	}
	s.layStatement(name, st)
	s.expect.push(owed{kind: 'P', named: st})
	return nil
}

// refreshStatement analyses a prepared statement as the target would read it
// now: the target, too, reads it again when names have changed their meaning.
func (s *session) refreshStatement(st *statement) error {
	if st.fixed {
		return nil
	}
	snapshot, err := s.currentCatalog()
	if err != nil {
		return err
	}
	now := version{snapshot, s.truth.version, analyze.Extended}
	if st.at == now && !s.truth.dirty && !byName(st.parsed) {
		s.snapshot = now.snapshot
		return nil
	}
	batch, err := s.analysis(st.text, analyze.Extended)
	if err != nil {
		return s.refuseText(st.text, analyze.Extended, err)
	}
	switch len(batch.Statements) {
	case 0:
		st.parsed = nil
	case 1:
		st.parsed = batch.Statements[0]
	default:
		return severalCommands()
	}
	st.at = version{s.snapshot, s.truth.version, analyze.Extended}
	return nil
}

func severalCommands() *engine.Denial {
	return &engine.Denial{Reasons: []string{string(analyze.ReasonParse)}, Message: "cannot insert multiple commands into a prepared statement", Hint: "Send one command in each Parse message."}
}

// byName reports whether st names a prepared statement or a cursor, which may
// be another one each time.
func byName(st *analyze.Statement) bool {
	return st != nil && (st.Facts.Statement.Prepared != "" || st.Facts.Statement.Cursor != "")
}

func (s *session) bind(m []byte) error {
	b := wire.NewBody(m)
	name, of := string(b.Text()), string(b.Text())
	st := s.lookupStatement(of)
	if b.Err() != nil {
		return malformed("Bind")
	}
	if st == nil {
		return noStatement(of)
	}
	// The target settles at Bind what the portal's names mean.
	if err := s.refreshStatement(st); err != nil {
		return err
	}
	if s.lookupStatement(of) != st {
		return noStatement(of) // the target has just told that it is another one
	}
	p := &portal{name: name, statement: st, bound: st.parsed, values: append([]byte(nil), m...)}
	p.doubt = st.parsed != nil && (s.doubtful(st.parsed) || of != "" && (s.opaque || s.truth.opaque))
	s.layPortal(name, p)
	if st.parsed != nil && st.parsed.Facts.Action.Opaque {
		// Planning may run functions: such a statement is decided before even
		// its Bind is forwarded.
		if err := s.decidePortal(p); err != nil {
			return err
		}
	}
	s.forward = append(s.forward, m...)
	s.expect.push(owed{kind: 'B', portal: p})
	return nil
}

func (s *session) describe(m []byte) error {
	b := wire.NewBody(m)
	kind, name := b.Byte(), string(b.Text())
	if b.Done() != nil {
		return malformed("Describe")
	}
	o := owed{kind: 'D'}
	switch kind {
	case 'S':
		if o.named = s.lookupStatement(name); o.named == nil {
			return noStatement(name)
		}
	case 'P':
		if o.portal = s.lookupPortal(name); o.portal == nil {
			return noPortal(name)
		}
		o.portal.described = true
	default:
		return malformed("Describe")
	}
	s.forward = append(s.forward, m...)
	s.expect.push(o)
	return nil
}

func (s *session) execute(m []byte) error {
	b := wire.NewBody(m)
	name := string(b.Text())
	b.Int32()
	if b.Done() != nil {
		return malformed("Execute")
	}
	p := s.lookupPortal(name)
	if p == nil {
		return noPortal(name)
	}
	if p.turn == nil && p.statement.parsed != nil {
		if err := s.decidePortal(p); err != nil {
			return err
		}
	}
	if t := p.turn; t != nil && t.statement.Facts.Action.Writes && s.bounded() {
		if err := s.runSoFar(); err != nil {
			if errors.Is(err, errSkipped) {
				s.finish(t, engine.Outcome{Code: "25P02", Message: "not run: an earlier statement failed"}, false)
			}
			return err
		}
	}
	if !p.described {
		// Only the portal's own description says what Execute will send.
		p.described = true
		s.forward = wire.AppendDescribePortal(s.forward, name)
		s.expect.push(owed{kind: 'D', portal: p, hidden: true})
	}
	s.forward = append(s.forward, m...)
	s.expect.push(owed{kind: 'E', portal: p, turn: p.turn})
	return nil
}

// bounded reports whether a statement of the batch at hand that has not been
// forwarded may go over a limit.
func (s *session) bounded() bool {
	for _, o := range s.expect.items[s.expect.head:] {
		t := o.turn
		if t == nil || !t.statement.ReturnsRows || t.Limit.Rows == 0 && t.Limit.Bytes == 0 {
			continue
		}
		if most := t.statement.Facts.Action.Limit; most == nil || *most > t.Limit.Rows || t.Limit.Bytes > 0 {
			return true
		}
	}
	return false
}

// runSoFar forwards the batch up to here and waits for its answers, so that
// what follows does not run if a statement goes over a limit.
func (s *session) runSoFar() error {
	s.forward = wire.AppendFlush(s.forward)
	s.open = true
	if err := s.exchange(); err != nil {
		return err
	}
	if s.swallow && !s.skip {
		// The target has completed what the agent was told failed.
		s.forward = wire.AppendFlush(wire.AppendBindUnknown(s.forward, s.failName))
		s.expect.push(owed{kind: 'x', hidden: true})
		if err := s.exchange(); err != nil {
			return err
		}
	}
	if s.skip {
		return errSkipped
	}
	return nil
}

func (s *session) decidePortal(p *portal) error {
	if err := s.refreshStatement(p.statement); err != nil {
		return err
	}
	if p.statement.parsed == nil {
		return nil
	}
	if !sameReading(p.bound, p.statement.parsed) {
		return &engine.Denial{Reasons: []string{ReasonRebind}, Message: "what names mean has changed since portal \"" + p.name + "\" was bound", Hint: "Bind it again."}
	}
	values, err := s.parameters(p)
	if errors.Is(err, errUntyped) {
		if err = s.askTypes(p.statement); err == nil {
			values, err = s.parameters(p)
		}
	}
	if err != nil {
		return err
	}
	s.source = p.statement.text
	t, err := s.decideAs(p.statement.parsed, values, p.doubt)
	if err != nil {
		return err
	}
	p.turn = t
	return nil
}

// errSkipped says that the target has refused a message of the batch at hand
// before the batch was complete: the rest of it is dropped.
var errSkipped = errors.New("skipped to the next Sync")

// askTypes has the target tell the types of a statement's parameters, which
// binary values cannot be read without. What came before in the batch runs
// first.
func (s *session) askTypes(st *statement) error {
	s.forward = wire.AppendDescribeStatement(s.forward, st.name)
	s.expect.push(owed{kind: 'D', named: st, hidden: true})
	s.forward = wire.AppendFlush(s.forward)
	s.open, st.told = true, true
	if err := s.exchange(); err != nil {
		return err
	}
	if s.skip {
		return errSkipped
	}
	return nil
}

// sameReading reports whether two analyses of the same text found the same.
func sameReading(a, b *analyze.Statement) bool {
	return a == b || a != nil && b != nil && reflect.DeepEqual(a.Facts, b.Facts) && reflect.DeepEqual(a.Outputs, b.Outputs)
}

func (s *session) closeObject(m []byte) error {
	b := wire.NewBody(m)
	kind, name := b.Byte(), string(b.Text())
	if b.Done() != nil || kind != 'S' && kind != 'P' {
		return malformed("Close")
	}
	o := owed{kind: 'C', closes: kind, name: name}
	if kind == 'S' {
		s.layStatement(name, nil)
	} else {
		s.layPortal(name, nil)
	}
	s.forward = append(s.forward, m...)
	s.expect.push(o)
	return nil
}
