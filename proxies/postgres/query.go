package postgres

import (
	"bytes"
	"errors"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// query serves a simple Query message: every statement in it is decided, and
// nothing runs unless all may.
func (s *session) query(m []byte) error {
	if s.skip {
		return nil
	}
	// A Query ends the unnamed statement and the unnamed portal.
	delete(s.statements, "")
	delete(s.portals, "")
	defer func() { s.overlay = overlay{} }()
	// The text is copied, and the copy is what is decided and forwarded: m is
	// the read buffer's, which fills again while the agent waits for approval.
	b := wire.NewBody(m)
	text := string(b.Text())
	if b.Done() != nil {
		return s.refuseQuery(malformed("Query"))
	}
	batch, err := s.analysis(text, analyze.Simple)
	if err != nil {
		return s.refuseQuery(s.refuseText(text, analyze.Simple, err))
	}
	if len(batch.Statements) == 0 {
		if s.open {
			// It ends the implicit transaction all the same.
			s.forward = wire.AppendQuery(s.forward, "")
			s.expect.push(owed{kind: 'Q'})
			s.open = false
			return s.exchange()
		}
		s.out = append(s.out, 'I', 0, 0, 0, 4)
		return s.readyAgain()
	}
	turns := make([]*turn, 0, len(batch.Statements))
	s.ending, s.source = false, text
	defer func() { s.later = nil }()
	for i, st := range batch.Statements {
		s.changing = false // the analysis itself follows a query's own statements
		s.later = batch.Statements[i+1:]
		t, err := s.decide(st, nil)
		if err != nil {
			for _, earlier := range turns {
				s.finish(earlier, engine.Outcome{Code: "42501", Message: "not run: another statement of the same query was refused"}, false)
			}
			return s.refuseQuery(err)
		}
		turns = append(turns, t)
	}
	s.forward = wire.AppendQuery(s.forward, text)
	s.expect.push(owed{kind: 'Q', turns: turns})
	s.open = false
	return s.exchange()
}

// refuseQuery answers a Query that is not forwarded, and leaves the
// transaction as any error would.
func (s *session) refuseQuery(err error) error {
	var denial *engine.Denial
	if !errors.As(err, &denial) || denial.Fatal {
		return err
	}
	report := denialReport(denial, false)
	if s.tx != 'T' && !s.open {
		s.out = wire.AppendError(s.out, report)
		return s.readyAgain()
	}
	s.forward = wire.AppendQuery(s.forward, `EXECUTE "`+s.failName+`"`)
	s.expect.push(owed{kind: 'Q', report: report})
	s.open = false
	return s.exchange()
}

// readyAgain says, in the target's place, that the next query may come: it was
// not asked anything.
func (s *session) readyAgain() error {
	s.opaque = false
	s.out = wire.AppendReady(s.out, s.tx)
	return s.flush()
}

// functionCall serves a FunctionCall message, which calls any function by its
// OID.
func (s *session) functionCall(m []byte) error {
	if s.skip {
		return nil
	}
	m = bytes.Clone(m) // see query
	b := wire.NewBody(m)
	oid := b.Uint32()
	if b.Err() != nil {
		return s.refuseQuery(malformed("FunctionCall"))
	}
	if _, err := s.analysis("", analyze.FunctionCall); err != nil {
		return s.refuseQuery(err)
	}
	st := functionStatement(s.snapshot, oid, s.truth.settings.SearchPath)
	s.changing, s.ending = false, false
	values, err := s.functionArguments(m)
	if err != nil {
		return s.refuseQuery(err)
	}
	t, err := s.decide(st, values)
	if err != nil {
		return s.refuseQuery(err)
	}
	s.forward = append(s.forward, m...)
	s.expect.push(owed{kind: 'F', turn: t})
	s.open = false
	return s.exchange()
}

// largeWrite is how much may be written to the target before its answers must
// be read at the same time, in bytes: less than any socket buffer holds.
const largeWrite = 8 << 10

// exchange sends what is to be forwarded and relays the answers that are owed.
func (s *session) exchange() error {
	s.setDoing(running)
	defer s.setDoing(idle)
	if len(s.forward) == 0 && s.expect.len() == 0 {
		return s.flush()
	}
	if why := s.gate.Ended(); why != nil {
		return why // before it could see that the target is at work
	}
	// A cancel for an earlier statement must not hit this one.
	s.late.Store(false)
	s.cancels.Lock()
	//lint:ignore SA2001 waiting is all
	s.cancels.Unlock()
	var written chan error
	if len(s.forward) > largeWrite {
		written = make(chan error, 1)
		data := s.forward
		go func() {
			_, err := s.up.Write(data)
			written <- err
		}()
	} else if _, err := s.up.Write(s.forward); err != nil {
		return s.targetError(err)
	}
	err := s.relay()
	if written != nil {
		if err != nil {
			_ = s.up.SetWriteDeadline(longAgo)
		}
		if failed := <-written; err == nil && failed != nil {
			err = s.targetError(failed)
		}
	}
	s.forward = s.forward[:0]
	if err != nil {
		return err
	}
	return s.flush()
}
