package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/rows"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// copyMessage handles the messages of COPY on the way to the agent.
func (s *session) copyMessage(m []byte, o *owed) error {
	t := o.current()
	if t == nil || o.kind != 'E' && o.kind != 'Q' {
		return violation("COPY")
	}
	switch m[0] {
	case 'G':
		return s.copyIn(m, o, t)
	case 'H':
		if err := s.planCopy(t, m); err != nil {
			return s.withhold(t, err)
		}
		s.emit(m)
	case 'd':
		if t.over != nil || s.swallow {
			return nil
		}
		if !t.copyOut {
			return violation("CopyData")
		}
		if !s.admit(t) {
			return nil
		}
		mark := len(s.out)
		if t.copying == nil {
			s.emit(m)
			return s.streamed(t, mark)
		}
		var err error
		if s.out, err = t.copying.Message(s.out, m[wire.HeaderSize:]); err != nil {
			return fmt.Errorf("mask a row of COPY: %w", err)
		}
		return s.streamed(t, mark)
	case 'c':
		if t.over != nil || s.swallow {
			return nil
		}
		if t.copying != nil {
			if err := s.copyRow(t, t.copying.Finish); err != nil {
				return fmt.Errorf("mask the end of a COPY: %w", err)
			}
		}
		s.emit(m)
	default:
		return violation("CopyBoth") // replication: nothing that regate forwards asks for it
	}
	return nil
}

// copyRow adds one CopyData message whose payload make appends.
func (s *session) copyRow(t *turn, payload func([]byte) ([]byte, error)) error {
	mark := len(s.out)
	out, start := wire.Begin(s.out, 'd')
	out, err := payload(out)
	if err != nil {
		return err
	}
	if len(out) == mark+wire.HeaderSize {
		s.out = out[:mark] // nothing is complete yet
		return nil
	}
	s.out = wire.End(out, start)
	return nil
}

// planCopy decides how the rows of COPY … TO STDOUT are shown. There is no
// RowDescription: only the analysis says what they hold.
func (s *session) planCopy(t *turn, m []byte) error {
	b := wire.NewBody(m)
	binary := b.Byte() == 1
	n := int(uint16(b.Int16()))
	if b.Err() != nil {
		return violation("CopyOutResponse")
	}
	c := t.statement.Effects.Copy
	described := make([]input.Field, n)
	columns := make([]rows.Column, n)
	for i := range n {
		described[i] = fieldOf(t, i, n, rows.FieldDescription{})
		if i < len(t.statement.Outputs) && len(t.statement.Outputs) == n {
			described[i].Name = t.statement.Outputs[i].Name
		}
		columns[i] = rows.Column{Binary: binary, Rule: rows.Rule{}, TypeOID: s.copyType(t, described[i])}
	}
	if err := s.fillRules(t, described, columns); err != nil {
		return err
	}
	t.copyOut, t.planned = true, true
	plan := rows.NewPlan(s.srv.keyring, columns)
	if plan == nil {
		return nil
	}
	if c == nil || len(c.Other) > 0 && !onlyHarmless(c.Other) || c.Encoding != "" {
		return &engine.Denial{Reasons: []string{ReasonUnmaskable}, Message: "COPY with these options cannot be masked", Hint: "Use COPY … TO STDOUT with FORMAT text, csv or binary only."}
	}
	options, err := copyOptions(c, binary)
	if err == nil {
		t.copying, err = rows.NewCopy(plan, options)
	}
	if err != nil {
		return &engine.Denial{Reasons: []string{ReasonUnmaskable}, Message: "this COPY cannot be masked: " + err.Error(), Hint: "Use the format's default options."}
	}
	return nil
}

// copyType is the type of a COPY column where its one exact source tells it,
// 0 otherwise: then a masked value becomes NULL.
func (s *session) copyType(t *turn, f input.Field) uint32 {
	if f.Derivation != input.Exact {
		return 0
	}
	for _, source := range f.Sources {
		if oid := columnType(t.snapshot, source); oid != 0 {
			return oid
		}
	}
	return 0
}

func onlyHarmless(options []string) bool {
	for _, o := range options {
		if o != "force_quote" && o != "freeze" {
			return false
		}
	}
	return true
}

func copyOptions(c *analyze.Copy, binary bool) (rows.CopyOptions, error) {
	o := rows.CopyOptions{Format: c.Format, Header: c.Header != ""}
	if o.Format == "" {
		o.Format = "text"
	}
	if binary != (o.Format == "binary") {
		return o, errors.New("the target answers in another format than was asked for")
	}
	for _, single := range []struct {
		text string
		to   *byte
	}{{c.Delimiter, &o.Delimiter}, {c.Quote, &o.Quote}, {c.Escape, &o.Escape}} {
		if len(single.text) > 1 {
			return o, fmt.Errorf("option %q is not one character", single.text)
		}
		if single.text != "" {
			*single.to = single.text[0]
		}
	}
	if c.Null != nil {
		o.Null, o.NullSet = *c.Null, true
	}
	return o, nil
}

// copyIn relays what the agent sends for COPY … FROM STDIN, while the target's
// answers go on being read.
func (s *session) copyIn(m []byte, o *owed, t *turn) error {
	extended := o.kind == 'E'
	if extended {
		// The target ignores the Sync that was sent behind the Execute; what
		// else was sent is an error there.
		if s.expect.only('S') {
			s.expect.items = s.expect.items[:s.expect.head+1]
		}
		s.open = true
	}
	s.emit(m)
	if err := s.flush(); err != nil {
		return err
	}
	s.stopWatch()
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	_ = s.client.SetReadDeadline(zeroTime)
	s.clientDeadline = zeroTime
	go func() { done <- s.pumpCopy(ctx, t, extended) }()
	err := s.relayUntilCopyEnds(o, done)
	cancel()
	_ = s.client.SetReadDeadline(longAgo)
	if pumped := <-done; pumped != nil {
		err = pumped // why the target was lost, too
	}
	s.clientDeadline = zeroTime
	return err
}

// relayUntilCopyEnds reads the target's answers until the COPY has ended.
func (s *session) relayUntilCopyEnds(o *owed, done chan error) error {
	at, head := o.at, s.expect.head
	for {
		if err := s.armTarget(patience); err != nil {
			return s.targetError(err)
		}
		message, err := s.ur.Next()
		switch {
		case isTimeout(err):
			s.upstreamDeadline = zeroTime
			if s.ctx.Err() != nil {
				return s.ctx.Err()
			}
			select {
			case pumped := <-done:
				done <- pumped
				if pumped != nil {
					return pumped
				}
			default:
			}
			if err := s.flush(); err != nil {
				return err
			}
			continue
		case err != nil:
			return s.targetError(err)
		}
		if err := s.answer(message); err != nil {
			return err
		}
		if s.expect.head != head || s.expect.len() == 0 || s.expect.first().at != at {
			return nil
		}
	}
}

// pumpCopy forwards CopyData until the agent ends it. What it sends is in the
// journal before it is forwarded.
func (s *session) pumpCopy(ctx context.Context, t *turn, extended bool) error {
	var last engine.Release
	ahead := 0 // bytes that may not be recorded yet
	for ctx.Err() == nil {
		m, err := s.early, error(nil)
		if s.early = nil; m == nil {
			m, err = s.cr.Next()
		}
		if err != nil {
			if isTimeout(err) {
				return nil
			}
			if errors.Is(err, io.EOF) {
				// As a real disconnect would, take the target out of its COPY.
				_ = s.up.Close()
			}
			return err
		}
		switch m[0] {
		case 'd':
			data := m[wire.HeaderSize:]
			for len(data) > 0 {
				piece := data[:min(len(data), engine.MaxOutput)]
				data = data[len(piece):]
				last = t.Input(formatFrontend, piece)
			}
			if ahead += len(m); ahead > maxUnrecorded {
				if err := last.Wait(ctx); err != nil {
					return s.copyFails(ctx, err)
				}
				ahead = 0
			}
		case 'c':
			// What is not recorded is not committed.
			if err := last.Wait(ctx); err != nil {
				return s.copyFails(ctx, err)
			}
		case 'f':
		case 'H', 'S':
			continue // the target ignores them here
		case 'X':
			_ = s.up.Close()
			return errTerminated
		default:
			_ = s.up.Close()
			return &fatal{wire.Report{Severity: "FATAL", Code: "08P01", Message: "unexpected message type " + quoteByte(m[0]) + " during COPY from stdin", Detail: "reason: " + ReasonProtocol}}
		}
		if _, err := s.up.Write(m); err != nil {
			return s.targetError(err)
		}
		if m[0] != 'd' {
			if extended {
				// Otherwise the target tells how it went only at the Sync,
				// which is read after that.
				_, err = s.up.Write(wire.AppendFlush(nil))
			}
			return err
		}
	}
	return nil
}

// maxUnrecorded is how much of a COPY may be on its way to the target before
// the journal has it, in bytes.
const maxUnrecorded = 4 << 20

// copyFails takes the target out of its COPY without a commit, unless it has
// ended by itself.
func (s *session) copyFails(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	_ = s.up.Close()
	return err
}

// columnType returns the type of "schema.table.column", 0 when it is not
// known.
func columnType(snapshot *catalog.Snapshot, source string) uint32 {
	dot := strings.LastIndexByte(source, '.')
	schema, relation, ok := strings.Cut(source[:max(dot, 0)], ".")
	if !ok || snapshot == nil {
		return 0
	}
	r := snapshot.Relation(schema, relation)
	if r == nil {
		return 0
	}
	if c := r.Column(source[dot+1:]); c != nil {
		return c.Type
	}
	return 0
}
