package postgres

import (
	"errors"
	"fmt"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// answer handles one message of the target.
func (s *session) answer(m []byte) error {
	switch m[0] {
	case 'N', 'A', 'S':
		return s.async(m)
	}
	o := s.expect.first()
	if o == nil {
		return violation("an answer that nobody asked for, " + quoteByte(m[0]))
	}
	switch m[0] {
	case 'D':
		return s.dataRow(m, o)
	case 'C':
		return s.commandComplete(m, o)
	case 'Z':
		return s.ready(m, o)
	case 'E':
		return s.errorResponse(m, o)
	case 'T':
		return s.rowDescription(m, o)
	case '1':
		if o.kind != 'P' {
			return violation("ParseComplete")
		}
		s.statements[o.named.name] = o.named
	case '2':
		if o.kind != 'B' {
			return violation("BindComplete")
		}
		s.portals[o.portal.name] = o.portal
	case '3':
		if o.kind != 'C' {
			return violation("CloseComplete")
		}
		if o.closes == 'S' {
			delete(s.statements, o.name)
		} else {
			delete(s.portals, o.name)
		}
	case 'n':
		if o.kind != 'D' {
			return violation("NoData")
		}
		if o.hidden {
			s.expect.pop()
			return nil
		}
	case 't':
		if o.kind != 'D' || o.named == nil {
			return violation("ParameterDescription")
		}
		b := wire.NewBody(m)
		types := make([]uint32, int(uint16(b.Int16())))
		for i := range types {
			types[i] = b.Uint32()
		}
		if b.Done() != nil {
			return violation("ParameterDescription")
		}
		o.named.types, o.named.told = types, true
		if !o.hidden {
			s.emit(m)
		}
		return nil // RowDescription or NoData follows
	case 's':
		if o.kind != 'E' {
			return violation("PortalSuspended")
		}
		if t := o.turn; t != nil && t.over != nil && !s.swallow {
			s.out = wire.AppendError(s.out, denialReport(t.over, false))
			t.told, s.swallow = true, true
		}
		s.emit(m)
		s.recordTurn(o.turn)
		if o.turn != nil {
			o.turn.stopClock()
		}
		s.expect.pop()
		return nil
	case 'I':
		if o.kind != 'E' && o.kind != 'Q' {
			return violation("EmptyQueryResponse")
		}
		if o.kind == 'Q' {
			s.emit(m)
			return nil
		}
	case 'G', 'H', 'W', 'd', 'c':
		return s.copyMessage(m, o)
	case 'V':
		return s.functionResult(m, o)
	default:
		return violation("message " + quoteByte(m[0]))
	}
	s.emit(m)
	s.expect.pop()
	return nil
}

// emit shows a message to the agent, unless it was told already that what it
// belongs to failed.
func (s *session) emit(m []byte) {
	if !s.swallow {
		s.out = append(s.out, m...)
	}
}

// current returns the turn that o's answers belong to, nil when there is none.
func (o *owed) current() *turn {
	if o.kind == 'Q' {
		if o.at < len(o.turns) {
			return o.turns[o.at]
		}
		return nil
	}
	return o.turn
}

func (s *session) rowDescription(m []byte, o *owed) error {
	switch o.kind {
	case 'D':
		if o.portal != nil {
			o.portal.fields = append(o.portal.fields[:0], m...)
		}
		if !o.hidden {
			s.emit(m)
		} else if o.portal != nil && o.portal.turn != nil {
			// The agent knows its columns already; the recording does not.
			o.portal.record = true
		}
		s.expect.pop()
		return nil
	case 'Q':
		t := o.current()
		if t == nil {
			return violation("more results than statements")
		}
		if err := s.planTurn(t, m); err != nil {
			return s.withhold(t, err)
		}
		s.emit(m)
		return nil
	}
	return violation("RowDescription")
}

func (s *session) dataRow(m []byte, o *owed) error {
	t := o.current()
	if t == nil || o.kind != 'E' && o.kind != 'Q' {
		return violation("DataRow")
	}
	if t.over != nil || s.swallow {
		return nil
	}
	if !t.planned {
		if o.kind == 'Q' {
			return violation("DataRow before RowDescription")
		}
		if err := s.planTurn(t, o.portal.fields); err != nil {
			return s.withhold(t, err)
		}
		if o.portal.record {
			s.recordFields(t, o.portal.fields)
		}
	}
	if !s.admit(t) {
		return nil
	}
	mark := len(s.out)
	if t.plan != nil {
		var err error
		if s.out, err = t.plan.DataRow(s.out, m[wire.HeaderSize:]); err != nil {
			return fmt.Errorf("mask a row: %w", err)
		}
	} else {
		s.emit(m)
	}
	return s.streamed(t, mark)
}

// admit counts a row that is to be shown. It returns false for the first that
// the policy's limit does not allow: the statement is stopped.
func (s *session) admit(t *turn) bool {
	if limit := t.Limit.Rows; limit > 0 && t.rows >= limit {
		s.exceed(t, ReasonRowLimit, "the policy's limit of "+counted(limit, "row")+" is exceeded", "Ask for fewer rows with WHERE or LIMIT.")
		return false
	}
	t.rows++
	s.outRows++
	return true
}

// streamed looks at what a row has added to the output behind mark: it is taken
// back where the policy's limit does not allow it. What has piled up of a long
// result is released.
func (s *session) streamed(t *turn, mark int) error {
	if limit := t.Limit.Bytes; limit > 0 && t.bytes+int64(len(s.out)-s.recorded) > limit {
		s.out = s.out[:mark]
		t.rows--
		s.outRows--
		s.exceed(t, ReasonByteLimit, "the policy's limit of "+counted(limit, "byte")+" is exceeded", "Ask for fewer rows or columns.")
		return nil
	}
	if len(s.out) >= releaseSize {
		s.recordTurn(t)
		return s.launch()
	}
	return nil
}

// exceed stops a statement that has gone over a limit. What comes of it from
// here on is swallowed; the agent gets the error in place of its end.
func (s *session) exceed(t *turn, reason, message, hint string) {
	t.over = &engine.Denial{Reasons: []string{reason}, Message: message, Hint: hint, DecisionID: t.ID()}
	go s.cancelTurn(t)
}

// withhold is exceed for a result that may not be shown at all.
func (s *session) withhold(t *turn, err error) error {
	var denial *engine.Denial
	if !errors.As(err, &denial) || denial.Fatal {
		return err
	}
	t.over, t.planned = denial, true
	go s.cancelTurn(t)
	return nil
}

func (s *session) commandComplete(m []byte, o *owed) error {
	t := o.current()
	if t == nil || o.kind != 'E' && o.kind != 'Q' {
		return violation("CommandComplete")
	}
	b := wire.NewBody(m)
	tag := string(b.Text())
	outcome := engine.Outcome{Rows: t.rows, Tag: tag}
	if t.over != nil && !s.swallow {
		s.out = wire.AppendError(s.out, denialReport(t.over, false))
		outcome.Code, outcome.Message = sqlstate(t.over.Reason()), t.over.Message
		t.told = true
	} else {
		s.emit(m)
	}
	s.recordTurn(t)
	s.finish(t, outcome, true)
	if o.kind == 'E' {
		s.expect.pop()
		if t.told {
			s.swallow = true
		}
		return nil
	}
	o.at++
	if t.told {
		s.swallow = true
	}
	return nil
}
