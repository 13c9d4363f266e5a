package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/postgres/analyze"
	"github.com/regate-dev/regate/proxies/postgres/catalog"
	"github.com/regate-dev/regate/proxies/postgres/rows"
	"github.com/regate-dev/regate/proxies/postgres/wire"
)

// turn is one statement that may run, with what the proxy needs to show its
// result.
type turn struct {
	*engine.Turn
	statement *analyze.Statement
	source    string // the whole text that it is part of
	snapshot  *catalog.Snapshot
	tainted   bool
	carried   bool // settings of the session may hold values of any column
	// scrub: errors and notices may carry values that a mask hides.
	scrub bool

	plan    *rows.Plan
	planned bool
	copying *rows.Copy
	copyOut bool

	rows, bytes int64
	over        *engine.Denial // a limit was exceeded: the rest is swallowed
	told        bool           // the agent was told of it
	timer       *time.Timer
	active      atomic.Bool // the target is at work on it
	finished    bool
}

var tainted = input.NewPart([]input.Unknown{{What: "statement", Why: "an earlier statement, not committed or sent together with this one, changes what names mean"}})

// decide takes one analysed statement to the gate. The error is a
// *engine.Denial, or what ended the connection while the statement was held.
func (s *session) decide(st *analyze.Statement, values *input.Part) (*turn, error) {
	return s.decideAs(st, values, false)
}

// decideAs is decide for a statement whose reading may be in doubt for a
// reason of its own.
func (s *session) decideAs(st *analyze.Statement, values *input.Part, doubt bool) (*turn, error) {
	req := request(st, values)
	req.Role = s.actingRole()
	t := &turn{statement: st, snapshot: s.snapshot, source: s.source}
	if doubt || s.doubtful(st) {
		t.tainted = true
		req.Unknown, req.Complete = tainted, false
	}
	if denial := s.guard(st); denial != nil {
		s.gate.Refuse(req, denial)
		return nil, denial
	}
	s.foresee(t)
	if len(s.later) > 0 {
		req.BeforeHold = s.refusesLater
	}
	// One context serves all decisions until one of them is held.
	if s.holdCtx == nil {
		s.holdCtx, s.holdCancel = context.WithCancel(s.ctx)
	}
	ctx, cancel := s.holdCtx, s.holdCancel
	var watch *clientWatch
	req.OnHold = func(h engine.Held) error {
		if watch == nil {
			s.mu.Lock()
			s.doing, s.cancelHold = holding, cancel
			s.mu.Unlock()
			watch = s.watchClient(cancel)
		}
		return s.tellHeld(h)
	}
	decided, err := s.gate.Request(ctx, req)
	if watch != nil {
		// It was given away: it must not cancel a later decision.
		cancel()
		s.holdCtx = nil
		s.setDoing(idle)
		if gone := watch.stop(); gone != nil {
			if decided != nil {
				decided.Done(engine.Outcome{Code: "57014", Message: "the agent disconnected before the statement ran", Cancelled: true})
			}
			return nil, gone
		}
	}
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, err
		}
		var denial *engine.Denial
		if !errors.As(err, &denial) {
			denial = &engine.Denial{Reasons: []string{engine.ReasonInternal}, Message: fmt.Sprintf("regate failed: %v", err), Fatal: true}
		}
		return nil, denial
	}
	t.Turn = decided
	t.scrub = masksMayShow(t)
	return t, nil
}

// actingRole is the role that the target runs the next statement as, where the
// agent may have changed it: "" where it is the one that the session began with.
func (s *session) actingRole() string {
	switch {
	case len(s.target.Role.Allowed) == 0:
		return ""
	case s.truth.dirty:
		return "unknown"
	default:
		return s.truth.acting
	}
}

func request(st *analyze.Statement, values *input.Part) *engine.Request {
	return &engine.Request{
		Action: st.Action, Resource: st.Resource, Detail: st.Detail, Unknown: st.Unknown, Complete: st.Complete,
		Parameters: values, Writes: st.Facts.Action.Writes, Summary: summary(st.Text),
	}
}

// refusesLater looks whether a later statement of the query at hand is denied
// anyhow, so that nobody is asked about one that will not run.
func (s *session) refusesLater(ctx context.Context) *engine.Denial {
	for _, st := range s.later {
		req := request(st, nil)
		req.Role = s.actingRole()
		if denial := s.guard(st); denial != nil {
			s.gate.Refuse(req, denial)
			return denial
		}
		if denial := s.gate.Peek(ctx, req); denial != nil {
			return denial
		}
	}
	return nil
}

// startClock begins the time limit of a turn that runs.
func (s *session) startClock(t *turn) {
	if t == nil || t.finished || t.active.Load() {
		return
	}
	t.active.Store(true)
	if seconds := t.Limit.Seconds; seconds > 0 {
		t.timer = time.AfterFunc(time.Duration(seconds*float64(time.Second)), func() {
			s.late.Store(true)
			s.cancelTurn(t)
		})
	}
}

// stopClock ends what startClock began: the turn has ended, or waits for the
// agent to ask for more rows.
func (t *turn) stopClock() {
	t.active.Store(false)
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

// cancelTurn has the target cancel what it does for t, and nothing else:
// exchange waits until no cancel request is on its way.
func (s *session) cancelTurn(t *turn) {
	s.cancels.Lock()
	defer s.cancels.Unlock()
	if t.active.Load() {
		s.cancelTarget()
	}
}

// doubtful reports whether names in st may mean something else than the
// analysis thinks.
func (s *session) doubtful(st *analyze.Statement) bool {
	if byName(st) && (s.opaque || s.truth.opaque) {
		return true
	}
	return (s.changing || s.ending || s.unsettled()) && !nameFree(st)
}

func nameFree(st *analyze.Statement) bool {
	f := &st.Facts
	return st.Complete && !f.Action.Opaque && len(f.Resource.TableNames) == 0 && len(f.Resource.FunctionNames) == 0
}

// masksMayShow reports whether a masked field may be within the statement's
// reach, so that even its errors could show it.
func masksMayShow(t *turn) bool {
	for _, m := range t.Ruling.Masks {
		if m.Field == "" {
			continue
		}
		if t.tainted || !t.statement.Complete || t.statement.Facts.Action.Opaque {
			return true
		}
		for _, table := range t.statement.Facts.Touched {
			if strings.HasPrefix(m.Field, table+".") {
				return true
			}
		}
	}
	return false
}

const maxSummary = 500

func summary(text string) string {
	if len(text) > maxSummary {
		return strings.ToValidUTF8(text[:maxSummary], "") + "…"
	}
	return text
}

// textDenial is what an agent is told whose text could not be analysed; nil
// where err says something else.
func textDenial(err error) *engine.Denial {
	var denial *engine.Denial
	var bad *analyze.ParseError
	switch {
	case errors.As(err, &denial):
	case errors.As(err, &bad):
		denial = &engine.Denial{Reasons: []string{string(bad.Reason)}, Message: bad.Message, Hint: "regate only forwards what it can read; it reads the SQL of PostgreSQL 16."}
		switch bad.Reason {
		case analyze.ReasonTooLong, analyze.ReasonTooDeep:
			denial.Hint = "Send smaller or simpler statements."
		case analyze.ReasonInvalidUTF8:
			denial.Hint = "Send the statement in UTF-8."
		}
	}
	return denial
}

// refuseText records and returns the denial of text that could not be
// analysed.
func (s *session) refuseText(text string, mode analyze.Mode, err error) error {
	denial := textDenial(err)
	if denial == nil {
		return err
	}
	s.gate.Refuse(&engine.Request{
		Role:     s.actingRole(),
		Action:   input.NewPart(input.SQLAction{Verb: "unknown", Verbs: []string{}, Writes: true, Opaque: true}),
		Resource: input.NewPart(emptyResource("unknown")),
		Detail: input.NewPart(input.SQL{
			Text: strings.ToValidUTF8(summaryOf(text, 64<<10), "\uFFFD"), Command: "unknown", Batch: input.SQLBatch{Size: 1}, Mode: string(mode),
			SearchPath: nonNil(s.truth.settings.SearchPath), Statement: emptyStatement(),
		}),
		Unknown: input.NewPart([]input.Unknown{{What: "statement", Why: denial.Reason()}}),
	}, denial)
	return denial
}

func summaryOf(text string, limit int) string {
	if len(text) > limit {
		return text[:limit]
	}
	return text
}

func emptyResource(kind string) input.SQLResource {
	return input.SQLResource{Kind: kind, Names: []string{}, Tables: map[string]input.SQLTable{}, TableNames: []string{}, ColumnNames: []string{}, FunctionNames: []string{}, SchemaNames: []string{}, SettingNames: []string{}}
}

func emptyStatement() input.SQLStatement {
	return input.SQLStatement{PredicateColumns: []string{}, WrittenColumns: []string{}, Flows: []input.SQLFlow{}, Objects: []string{}}
}

func nonNil(v []string) []string {
	if v == nil {
		return []string{}
	}
	return v
}

// tellHeld tells the agent that its statement waits for a person.
func (s *session) tellHeld(h engine.Held) error {
	message := fmt.Sprintf("statement held for approval %s", h.ApprovalID)
	if h.Repeat {
		message = fmt.Sprintf("statement still held for approval %s", h.ApprovalID)
	}
	notice := wire.AppendNotice(nil, wire.Report{
		Severity: "NOTICE", Code: "00000", Message: message,
		Detail: fmt.Sprintf("reason: %s; may be approved by %s", strings.Join(h.Reasons, ", "), strings.Join(h.From, " or ")),
		Hint:   fmt.Sprintf("This connection waits %s. After that, send the same statement again once it is approved (until %s).", h.Wait, h.ExpiresAt.UTC().Format(time.RFC3339)),
	})
	if err := s.client.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	_, err := s.client.Write(notice)
	_ = s.client.SetWriteDeadline(zeroTime)
	return err
}

// clientWatch reads ahead from an agent that waits, to learn when it is gone.
type clientWatch struct {
	s    *session
	done chan error
}

// maxAhead bounds what is read ahead, in bytes.
const maxAhead = 1 << 20

// watchClient calls gone when the agent disconnects. Nothing else may read
// from the agent until stop has returned.
func (s *session) watchClient(gone func()) *clientWatch {
	w := &clientWatch{s: s, done: make(chan error, 1)}
	_ = s.client.SetReadDeadline(zeroTime)
	s.clientDeadline = time.Time{}
	go func() {
		for s.cr.Buffered() < maxAhead {
			if err := s.cr.Fill(s.cr.Buffered() + 1); err != nil {
				if !isTimeout(err) {
					gone()
					w.done <- err
					return
				}
				break
			}
		}
		w.done <- nil
	}()
	return w
}

// stop ends the watch and returns why the agent is gone, nil when it is not.
func (w *clientWatch) stop() error {
	_ = w.s.client.SetReadDeadline(longAgo)
	err := <-w.done
	w.s.clientDeadline = time.Time{}
	return err
}
