package postgres

import (
	"bytes"

	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// betrays reports whether an ErrorResponse or NoticeResponse may carry what a
// mask hides. o is the answer that it came with, nil when none is owed.
func (s *session) betrays(o *owed, m []byte) bool {
	t := o.speaker()
	if t == nil || t.statement.Effects.Transaction != "" || t.statement.Command == "set constraints" {
		// What was put off to the end of the transaction speaks now:
		// constraints and triggers of statements that came before.
		if v := s.veiled; v != nil && (v.scrub || detects(v, m)) {
			return true
		}
	}
	return t != nil && (t.scrub || detects(t, m))
}

// speaker is the turn that an answer's errors and notices may speak of: at
// Bind, planning has run functions of the portal's statement already.
func (o *owed) speaker() *turn {
	if o == nil {
		return nil
	}
	if t := o.current(); t != nil {
		return t
	}
	if o.portal != nil {
		return o.portal.turn
	}
	return nil
}

// veil remembers, up to the end of the transaction, that masks were in reach.
// A mask on a field weighs more than one that detects.
func (s *session) veil(t *turn) {
	if len(t.Ruling.Masks) > 0 && (s.veiled == nil || !s.veiled.scrub) {
		s.veiled = t
	}
}

// detects reports whether a field of the message holds a value of a kind that
// a mask of the turn's ruling hides.
func detects(t *turn, m []byte) bool {
	for fields := m[wire.HeaderSize:]; len(fields) > 1; {
		end := bytes.IndexByte(fields, 0)
		if end < 1 {
			return false
		}
		if t.Detects(fields[1:end]) {
			return true
		}
		fields = fields[end+1:]
	}
	return false
}
