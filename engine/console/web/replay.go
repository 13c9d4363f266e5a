package web

import (
	"context"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/regate-dev/regate/engine/console"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/record"
)

const (
	// pageTurns is how many requests of a session one page has.
	pageTurns = 50
	// readWait is how long somebody waits for others who read recordings.
	readWait = 5 * time.Second
)

// played is a session on its page.
type played struct {
	Session   sessionLine
	Asserted  input.Asserted
	Turns     []*playedTurn
	Events    []playedEvent // of the session as a whole
	Problems  []string
	Checked   bool   // receipts were
	After     uint64 // the page begins after this request
	Next      uint64 // the last request of the page where more follow, else 0
	Length    int64  // of the page in ms
	Denials   int
	Terminals bool
}

// Live reports whether the session goes on.
func (s *played) Live() bool { return s.Session.State == record.StateLive && s.Session.Ended.IsZero() }

// playedTurn is one request. Times are in ms since the page's first event.
type playedTurn struct {
	*record.TurnView
	At, Decided, Answered, Ended int64
	Statement                    template.HTML
	Results                      []result
	Note                         string // why results are not all there
	Terminal                     bool

	results resultBytes
}

// playedEvent is something that belongs to no request.
type playedEvent struct {
	At   int64
	Text template.HTML
	Bad  bool
}

// reading takes one of the places of those who read recordings.
func (p *Pages) reading(ctx context.Context) (done func(), err error) {
	wait := time.NewTimer(readWait)
	defer wait.Stop()
	select {
	case p.readers <- struct{}{}:
		return func() { <-p.readers }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-wait.C:
		return nil, &console.Problem{Status: http.StatusServiceUnavailable, Reason: console.ReasonBusy, Title: "Busy", Detail: "Others are reading recordings.", Hint: "Try again."}
	}
}

func (p *Pages) session(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	switch {
	case !v.May.Recordings:
		return forbidden("auditor or operator")
	case p.cfg.Recordings == nil:
		return noRecordings()
	}
	id, err := ulid.ParseStrict(strings.ToUpper(r.PathValue("id")))
	if err != nil {
		return notFound("There is no such session.")
	}
	after, _ := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64) // none: from the start
	done, err := p.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	if r.Header.Get("HX-Request") == "" {
		p.cfg.API.Viewed(ctx, v.who, id.String())
	}
	s, err := p.play(ctx, id, after)
	if errors.Is(err, record.ErrNoSession) {
		return notFound("There is no such session in the recordings of this gateway.")
	}
	if err != nil {
		return err
	}
	p.render(w, http.StatusOK, "session", v, page{Title: "Session " + shortID(s.Session.ID), Nav: "sessions", Terminal: s.Terminals, Content: s})
	return nil
}

// play reads a session and keeps the requests after one.
func (p *Pages) play(ctx context.Context, id ulid.ULID, after uint64) (*played, error) {
	rec := p.cfg.Recordings
	transcript := record.NewTranscript(id.String())
	s := &played{After: after, Problems: []string{}, Checked: rec.Key != nil}
	byTurn := map[uint64]*playedTurn{}
	var start int64
	budget := resultBudget
	full := false
	problems, err := rec.Archive.Read(ctx, id, rec.Key, func(e record.Event) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		view := transcript.Add(e)
		if view == nil {
			s.event(e, &start, full)
			return nil
		}
		if view.Turn <= after || full && byTurn[view.Turn] == nil {
			if view.Turn > after {
				s.Next = s.Turns[len(s.Turns)-1].Turn
			}
			return nil
		}
		if start == 0 {
			start = e.Time
		}
		at := max(0, (e.Time-start)/int64(time.Millisecond))
		turn := byTurn[view.Turn]
		if turn == nil {
			turn = &playedTurn{TurnView: view, At: at}
			byTurn[view.Turn] = turn
			s.Turns = append(s.Turns, turn)
			full = len(s.Turns) == pageTurns
		}
		s.Length = max(s.Length, at)
		switch e.Kind {
		case record.KindRequest:
			if turn.Decided == 0 {
				turn.At = min(turn.At, at)
			}
		case record.KindDecision:
			turn.Decided = max(turn.At, at)
		case record.KindChunk:
			chunk, err := record.DecodeChunk(e.Body)
			if err != nil {
				return nil // the reading reports what does not decode
			}
			if turn.Answered == 0 {
				turn.Answered = at
			}
			turn.results.add(chunk, &budget)
			turn.Terminal = turn.Terminal || slices.Contains(rec.Terminal.Formats, chunk.Format)
		case record.KindOutcome:
			turn.Ended = at
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, problem := range problems {
		s.Problems = append(s.Problems, problem.String())
	}
	s.Session = sessionLine{transcript.Session}
	if len(transcript.Asserted) > 0 {
		_ = json.Unmarshal(transcript.Asserted, &s.Asserted) // nothing was said
	}
	if row, err := rec.Index.Session(ctx, id.String()); err == nil {
		s.Session = sessionLine{row}
	} else if !errors.Is(err, record.ErrNoSession) {
		return nil, err
	}
	shown := shownText
	for _, turn := range s.Turns {
		turn.finish(rec.Tables, s.Session.Protocol, &shown)
		s.Terminals = s.Terminals || turn.Terminal
		if turn.Effect == "deny" {
			s.Denials++
		}
	}
	return s, nil
}

// event keeps what concerns the session as a whole.
func (s *played) event(e record.Event, start *int64, full bool) {
	if *start == 0 && s.After == 0 {
		*start = e.Time
	}
	at := max(0, (e.Time-*start)/int64(time.Millisecond))
	var out playedEvent
	switch e.Kind {
	case record.KindLoss:
		if l, err := record.DecodeLoss(e.Body); err == nil {
			out = playedEvent{Text: visible(counted(l.Count, "event") + " lost, " + number(l.Refused) + " refused: " + l.Reason), Bad: true}
		}
	case record.KindNote:
		if n, err := record.DecodeNote(e.Body); err == nil {
			out = playedEvent{Text: oneLine(strings.TrimSpace(n.Code+" "+n.Text), 600)}
		}
	case record.KindClose:
		if c, err := record.DecodeClose(e.Body); err == nil {
			out = playedEvent{Text: visible("closed: " + c.Reason)}
		}
	}
	if out.Text == "" || full && s.Next != 0 || len(s.Events) >= 500 {
		return
	}
	out.At = at
	s.Length = max(s.Length, at)
	s.Events = append(s.Events, out)
}

func (t *playedTurn) finish(tables map[string]func([]byte) ([]Table, error), protocol string, budget *int) {
	text := strings.TrimSpace(t.Text)
	switch {
	case text == "":
		t.Statement = "<em>connects</em>"
	case protocol == "postgres":
		t.Statement = highlight("sql", text)
	default:
		t.Statement = visible(clip(text, maxHighlight))
	}
	if t.Decided == 0 {
		t.Decided = t.At
	}
	if t.Answered == 0 {
		t.Answered = max(t.Decided, t.Ended)
	}
	if t.Ended == 0 {
		t.Ended = t.Answered
	}
	if !t.Terminal {
		t.Results = t.results.show(tables, budget)
	}
	if t.results.cut {
		t.Note = "The answer is too large for this page; regate sessions replay shows all of it."
	}
	t.results = resultBytes{}
}

// terminal sends a turn's streams as an asciicast.
func (p *Pages) terminal(ctx context.Context, v *visit, w http.ResponseWriter, r *http.Request) error {
	switch {
	case !v.May.Recordings:
		return forbidden("auditor or operator")
	case p.cfg.Recordings == nil || p.cfg.Recordings.Terminal.Cast == nil:
		return notFound("There is no terminal.")
	}
	id, err := ulid.ParseStrict(strings.ToUpper(r.PathValue("id")))
	n, err2 := strconv.ParseUint(r.PathValue("turn"), 10, 64)
	if err != nil || err2 != nil {
		return notFound("There is no such session.")
	}
	done, err := p.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	rec := p.cfg.Recordings
	w.Header().Set("Content-Type", "application/x-asciicast")
	cast := rec.Terminal.Cast(w)
	var start int64
	_, err = rec.Archive.Read(ctx, id, rec.Key, func(e record.Event) error {
		if e.Kind != record.KindChunk {
			return ctx.Err()
		}
		chunk, err := record.DecodeChunk(e.Body)
		if err != nil || chunk.Turn != n || !slices.Contains(rec.Terminal.Formats, chunk.Format) {
			return nil
		}
		if start == 0 {
			start = e.Time
		}
		return cast.Add(time.Duration(e.Time-start), chunk.Format, chunk.Data)
	})
	if err = errors.Join(err, cast.Close()); err != nil {
		p.log.WithError(err).Warn("console: a terminal was not sent to its end")
	}
	return nil // what was sent cannot be taken back
}
