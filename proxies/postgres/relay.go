package postgres

import (
	"errors"
	"os"
	"strings"
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
		s.targetEnded(m)
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
		if s.carried && s.betrays(s.expect.first(), m) {
			return nil // its value may be one that a mask hides
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
		s.targetEnded(m)
		return errTargetEnded
	case 'A':
		return s.notification(m)
	default:
		return violation("message " + quoteByte(m[0]) + " while nothing was asked")
	}
	s.out = append(s.out, m...)
	return nil
}

// targetEnded logs why the target ended the session. What else than the end of
// the server or of the connection it speaks of may hold a value of a table,
// which does not belong into a log.
func (s *session) targetEnded(m []byte) {
	code := wire.ReportField(m, 'C')
	log := s.log.WithField("code", code)
	if strings.HasPrefix(code, "57P") || strings.HasPrefix(code, "25P") || strings.HasPrefix(code, "08") {
		log = log.WithField("message", wire.ReportField(m, 'M'))
	}
	log.Warn("the target ended the session")
}
