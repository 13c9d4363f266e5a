package postgres

import (
	"encoding/binary"
	"errors"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/postgres/rows"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// notification shows a NotificationResponse as part of the statement that
// listens: recorded before it is released, and its payload masked. Whoever
// sent it may have put anything there.
func (s *session) notification(m []byte) error {
	t := s.listens
	if t == nil {
		s.log.Warn("a notification came that no statement has asked for: it is not shown")
		return nil
	}
	b := wire.NewBody(m)
	pid, channel, payload := b.Uint32(), b.Text(), b.Text()
	if b.Done() != nil {
		return violation("NotificationResponse")
	}
	shown := append([]byte(nil), payload...)
	if len(payload) > 0 {
		rule, err := t.Aside(s.ctx, "payload")
		var denial *engine.Denial
		switch {
		case errors.As(err, &denial) && !denial.Fatal:
			return nil // not shown at all, and the recording says why
		case err != nil:
			return err
		case rule.Whole:
			shown = append(shown[:0], rows.Marker...)
		case rule.Detect != nil:
			shown, _ = s.srv.keyring.Text(shown[:0], payload, rule.Detect, rule.DetectSpec)
		}
	}
	s.recordTurn(s.expect.turn()) // what came before is not this statement's
	from := len(s.out)
	out, start := wire.Begin(s.out, 'A')
	out = binary.BigEndian.AppendUint32(out, pid)
	out = wire.AppendText(wire.AppendText(out, string(channel)), string(shown))
	s.out = wire.End(out, start)
	for data := s.out[from:]; len(data) > 0; {
		piece := data[:min(len(data), engine.MaxOutput)]
		data = data[len(piece):]
		s.releases = append(s.releases, t.Output(formatBackend, piece, 0))
	}
	s.recorded = len(s.out)
	return nil
}
