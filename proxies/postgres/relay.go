package postgres

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/rows"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// relay reads the target's answers until none is owed.
func (s *session) relay() error {
	defer s.stopWatch()
	waits := 0
	for s.expect.len() > 0 {
		s.startClock(s.expect.turn())
		if !s.ur.Ready() {
			wait := patience
			if s.outRows > 0 {
				wait = lull // rows wait to be released
			}
			if err := s.armTarget(wait); err != nil {
				return s.targetError(err)
			}
		}
		message, err := s.ur.Next()
		if err == nil {
			if err := s.answer(message); err != nil {
				return err
			}
			if len(s.out) >= 2*releaseSize { // many notices, or many small results
				if o := s.expect.first(); o != nil {
					s.recordTurn(o.current())
				}
				if err := s.launch(); err != nil {
					return err
				}
			}
			continue
		}
		if !isTimeout(err) {
			return s.targetError(err)
		}
		s.upstreamDeadline = time.Time{}
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		if err := s.flush(); err != nil {
			return err
		}
		// The target takes its time: look whether the agent is still there.
		if waits++; waits > 2 && s.watch == nil {
			s.watch = s.watchClient(s.cancelTarget)
		}
	}
	return nil
}

// stopWatch ends the reading ahead, so that somebody else may read from the
// agent.
func (s *session) stopWatch() {
	if s.watch != nil {
		_ = s.watch.stop()
		s.watch = nil
	}
}

// nextFromTarget reads one message, however long it takes.
func (s *session) nextFromTarget() ([]byte, error) {
	for {
		message, err := s.ur.Next()
		if err == nil || !isTimeout(err) {
			return message, err
		}
		if s.ctx.Err() != nil {
			return nil, s.ctx.Err()
		}
		if err := s.armTarget(patience); err != nil {
			return nil, err
		}
	}
}

// armTarget gives reads of the target at least d from now. A deadline that
// does is left alone: setting one costs as much as a short read.
func (s *session) armTarget(d time.Duration) error {
	now := time.Now()
	if left := s.upstreamDeadline.Sub(now); left >= d/2 && left <= 2*d {
		return nil
	}
	s.upstreamDeadline = now.Add(d)
	return s.up.SetReadDeadline(s.upstreamDeadline)
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// targetError is what an agent is told when the target's connection fails.
func (s *session) targetError(err error) error {
	if why := s.gate.Ended(); why != nil {
		return why
	}
	var large *wire.TooLargeError
	if errors.As(err, &large) {
		return &fatal{wire.Report{Severity: "FATAL", Code: "54000", Message: "the target's answer has a part that is too large: " + large.Error(),
			Detail: "reason: " + ReasonMessageTooLarge, Hint: "Ask for smaller values, or raise postgres.max_answer_bytes."}}
	}
	s.log.WithError(err).Warn("the connection to the target was lost")
	return &fatal{wire.Report{Severity: "FATAL", Code: "08006", Message: "the connection to the target was lost", Detail: "reason: " + ReasonTargetLost, Hint: "Connect again."}}
}

// violation is an answer that the target must not give here.
func violation(what string) error {
	return &fatal{wire.Report{Severity: "FATAL", Code: "08P01", Message: "the target broke the protocol: " + what, Detail: "reason: " + ReasonProtocol}}
}

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

func (s *session) errorResponse(m []byte, o *owed) error {
	severity := wire.ReportField(m, 'V')
	t, veiled := o.current(), s.betrays(o, m)
	switch {
	case o.report.Code != "":
		if !s.swallow {
			s.out = wire.AppendError(s.out, o.report)
		}
	case o.hidden && (o.kind == 'Q' || o.kind == 'x'): // see abort
	case t != nil && t.told:
	case t != nil && t.over != nil:
		s.out = wire.AppendError(s.out, denialReport(t.over, false))
	case t != nil && s.late.Load() && wire.ReportField(m, 'C') == "57014":
		s.out = wire.AppendError(s.out, denialReport(&engine.Denial{Reasons: []string{ReasonTimeLimit}, DecisionID: t.ID(),
			Message: "the policy's limit of " + seconds(t.Limit.Seconds) + " is exceeded", Hint: "Ask for less in one statement."}, false))
	case s.swallow:
	case veiled:
		var ok bool
		if s.out, ok = rows.ScrubError(s.out, m[wire.HeaderSize:], 'E'); !ok {
			return violation("ErrorResponse")
		}
	default:
		s.emit(m)
	}
	if t != nil {
		message := wire.ReportField(m, 'M')
		if veiled {
			message = "withheld: masks are in force"
		}
		s.recordTurn(t)
		s.finish(t, engine.Outcome{Rows: t.rows, Code: wire.ReportField(m, 'C'), Message: message, Cancelled: wire.ReportField(m, 'C') == "57014"}, false)
	}
	if severity == "FATAL" || severity == "PANIC" {
		if err := s.flush(); err != nil {
			return err
		}
		s.log.WithField("message", wire.ReportField(m, 'M')).Warn("the target ended the session")
		return errTargetEnded
	}
	drop := func(d *owed) {
		if d.kind == 'D' && d.portal != nil && len(d.portal.fields) == 0 {
			d.portal.described = false // see execute
		}
		for _, rest := range append(d.turns, d.turn) {
			if rest != nil {
				s.finish(rest, engine.Outcome{Code: "25P02", Message: "not run: an earlier statement failed"}, false)
			}
		}
	}
	switch o.kind {
	case 'Q':
		for _, rest := range o.turns[min(o.at, len(o.turns)):] {
			s.finish(rest, engine.Outcome{Code: "25P02", Message: "not run: an earlier statement failed"}, false)
		}
		o.at = len(o.turns)
	case 'F', 'S':
	default:
		if !s.expect.failed(drop) {
			s.skip = true
		}
	}
	return nil
}

func (s *session) ready(m []byte, o *owed) error {
	b := wire.NewBody(m)
	tx := b.Byte()
	if b.Done() != nil || o.kind != 'Q' && o.kind != 'S' && o.kind != 'F' {
		return violation("ReadyForQuery")
	}
	for _, rest := range o.turns[min(o.at, len(o.turns)):] {
		s.finish(rest, engine.Outcome{Message: "the target did not answer for it"}, false)
	}
	s.tx = tx
	if s.swallow && tx == 'T' && s.expect.len() == 1 {
		// The agent was told of a failure that the target knows nothing of: its
		// transaction fails as any error would make it.
		s.swallow = false
		s.expect.pop()
		return s.abort()
	}
	s.open, s.swallow, s.opaque = false, false, false
	if tx == 'I' {
		s.veiled = nil
		if s.truth.changedInTx {
			// The end of a transaction takes back SET LOCAL, and every SET of
			// one that failed.
			s.truth.dirty, s.truth.changedInTx = true, false
		}
		for name, p := range s.portals {
			if !p.hold {
				delete(s.portals, name)
			}
		}
		if s.truth.uncommitted {
			s.truth.uncommitted = false
			s.catalog.Stale()
		}
	}
	s.emit(m)
	s.expect.pop()
	return nil
}

// abort makes the open transaction of the target fail. ReadyForQuery, which
// the agent waits for, is the one that comes of it.
func (s *session) abort() error {
	s.expect.push(owed{kind: 'Q', hidden: true})
	if _, err := s.up.Write(wire.AppendQuery(nil, `EXECUTE "`+s.failName+`"`)); err != nil {
		return s.targetError(err)
	}
	return nil
}

// async relays a message that may come at any time.
func (s *session) async(m []byte) error {
	switch m[0] {
	case 'S':
		b := wire.NewBody(m)
		name, value := string(b.Text()), string(b.Text())
		if b.Done() != nil {
			return violation("ParameterStatus")
		}
		// A tripwire: these change how a statement is read, whoever changed
		// them.
		if name == "standard_conforming_strings" && value != "on" || name == "client_encoding" && value != "UTF8" {
			return &fatal{wire.Report{Severity: "FATAL", Code: "42501",
				Message: "parameter " + name + " was changed behind regate's back", Detail: "reason: " + ReasonSessionChanged,
				Hint: "Connect again and leave it as it is."}}
		}
		if name == "search_path" || name == "session_authorization" || name == "is_superuser" {
			s.truth.dirty = true
		}
	case 'N':
		if s.betrays(s.expect.first(), m) {
			var ok bool
			if s.out, ok = rows.ScrubError(s.out, m[wire.HeaderSize:], 'N'); !ok {
				return violation("NoticeResponse")
			}
			return nil
		}
	case 'E':
		s.out = append(s.out, m...)
		if err := s.flush(); err != nil {
			return err
		}
		s.log.WithField("message", wire.ReportField(m, 'M')).Warn("the target ended the session")
		return errTargetEnded
	case 'A':
		return s.notification(m)
	default:
		return violation("message " + quoteByte(m[0]) + " while nothing was asked")
	}
	s.out = append(s.out, m...)
	return nil
}
