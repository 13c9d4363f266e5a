package record

import (
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// maxIndexText bounds a statement's text in the index, in bytes. The recording
// has all of it.
const maxIndexText = 2048

// SessionRow is what the index knows of one session.
type SessionRow struct {
	ID          string    `json:"id"`
	Started     time.Time `json:"started"`
	Ended       time.Time `json:"ended,omitzero"` // zero while it lives
	Gateway     string    `json:"gateway"`
	Subject     string    `json:"subject"`
	Issuer      string    `json:"issuer"`
	ClientID    string    `json:"client_id"`
	Actor       string    `json:"actor"`
	Client      string    `json:"client"`
	Application string    `json:"application"`
	Target      string    `json:"target"`
	Protocol    string    `json:"protocol"`
	Database    string    `json:"database"`
	Role        string    `json:"role"`
	Requests    int64     `json:"requests"`
	Denials     int64     `json:"denials"`
	Holds       int64     `json:"holds"`
	Rows        int64     `json:"rows"`
	Bytes       int64     `json:"bytes"`
	Errors      int64     `json:"errors"`
	Lost        int64     `json:"lost"` // events declared lost or refused
	Events      uint64    `json:"events"`
	State       string    `json:"state"` // "live", "closed" or "archived"
	Reason      string    `json:"reason"`
	Object      string    `json:"object"` // in the archive, "" before it is there
	Size        int64     `json:"size"`   // of the object, in bytes
	FinalHash   string    `json:"final_hash"`
}

// The states of a session in the index.
const (
	StateLive     = "live"
	StateClosed   = "closed" // ended, on its way to the archive
	StateArchived = "archived"
)

// DecisionRow is what the index knows of one decision.
type DecisionRow struct {
	ID      string    `json:"id"`
	Session string    `json:"session"`
	Turn    uint64    `json:"turn"`
	Stage   string    `json:"stage"`
	Time    time.Time `json:"time"`
	Effect  string    `json:"effect"`
	Verb    string    `json:"verb"`
	Reasons []string  `json:"reasons"`
	Tables  []string  `json:"tables"`
	Text    string    `json:"text"`
}

// facts is what the index wants of one part.
type facts struct {
	verb    string
	tables  []string
	text    string
	reasons []string
}

func readFacts(raw []byte) (f facts, useful bool) {
	var w struct {
		Verb       any `json:"verb"`
		TableNames any `json:"table_names"`
		Names      any `json:"names"`
		Text       any `json:"text"`
		Reasons    any `json:"reasons"`
	}
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &w) != nil {
		return f, false
	}
	f.verb, _ = w.Verb.(string)
	f.text, _ = w.Text.(string)
	f.text = clip(f.text, maxIndexText)
	f.tables = stringList(w.TableNames)
	if f.tables == nil {
		f.tables = stringList(w.Names)
	}
	if list, ok := w.Reasons.([]any); ok {
		for _, r := range list {
			switch r := r.(type) {
			case string:
				f.reasons = append(f.reasons, r)
			case map[string]any:
				if id, ok := r["id"].(string); ok {
					f.reasons = append(f.reasons, id)
				}
			}
		}
	}
	return f, f.verb != "" || f.text != "" || f.tables != nil || f.reasons != nil
}

func stringList(v any) []string {
	list, ok := v.([]any)
	if !ok {
		return nil
	}
	out := []string{}
	for _, e := range list {
		if s, ok := e.(string); ok && len(out) < 256 {
			out = append(out, s)
		}
	}
	return out
}

// clip cuts s to at most n bytes at a rune's boundary.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// tally derives a session's rows for the index from its events, in order. It
// holds a bounded number of facts: those of the parts that a Writer may still
// refer to.
type tally struct {
	row    SessionRow
	parts  map[uint32]facts
	turns  map[uint64]facts // of the requests last seen
	latest uint64           // turn of a request
}

// tallyTurns is how many turns may be under way at once and still find their
// decisions.
const tallyTurns = 1024

func newTally(id string) *tally {
	return &tally{row: SessionRow{ID: id, State: StateLive}, parts: map[uint32]facts{}, turns: map[uint64]facts{}}
}

// add takes one event. For a decision it returns the row. A body that does not
// decode counts for nothing here: it is for Verify to say so.
func (t *tally) add(e Event) (decision DecisionRow, is bool) {
	t.row.Events = e.Seq
	if t.row.Started.IsZero() {
		t.row.Started = e.At()
	}
	switch e.Kind {
	case KindOpen:
		if o, err := DecodeOpen(e.Body); err == nil {
			r := &t.row
			r.Gateway, r.Subject, r.Issuer, r.ClientID, r.Actor = o.Gateway, o.Subject, o.Issuer, o.ClientID, o.Actor
			r.Client, r.Application, r.Target, r.Protocol = o.Client, o.Application, o.Target, o.Protocol
			r.Database, r.Role = o.Database, o.Role
		}
	case KindPart:
		if p, err := DecodePart(e.Body); err == nil {
			if f, useful := readFacts(p.JSON); useful {
				t.parts[p.Index] = f
			}
			delete(t.parts, p.Index-2*maxParts)
		}
	case KindRequest:
		if r, err := DecodeRequest(e.Body); err == nil {
			t.request(r)
		}
	case KindDecision:
		if d, err := DecodeDecision(e.Body); err == nil {
			return t.decision(d), true
		}
	case KindHold:
		t.row.Holds++
	case KindOutcome:
		if o, err := DecodeOutcome(e.Body); err == nil {
			t.row.Rows += o.Rows
			t.row.Bytes += o.Bytes
			if o.ErrorCode != "" {
				t.row.Errors++
			}
		}
	case KindLoss:
		if l, err := DecodeLoss(e.Body); err == nil {
			t.row.Lost += int64(l.Count + l.Refused)
		}
	case KindClose:
		if c, err := DecodeClose(e.Body); err == nil {
			t.row.State, t.row.Reason, t.row.Ended = StateClosed, c.Reason, e.At()
			if t.row.Gateway == "" {
				t.row.Gateway = c.Gateway
			}
		}
	}
	return DecisionRow{}, false
}

func (t *tally) request(r Request) {
	if r.Stage == "request" && r.Turn > t.latest {
		t.row.Requests++
		t.latest = r.Turn
	}
	var turn facts
	for _, in := range r.Input {
		f, ok := t.parts[in.Part]
		if in.Part == 0 {
			f, ok = readFacts(in.JSON)
		}
		if !ok {
			continue
		}
		switch in.Key {
		case "action":
			turn.verb = f.verb
		case "resource":
			turn.tables = f.tables
		default:
			if f.text != "" {
				turn.text = f.text
			}
		}
	}
	t.turns[r.Turn] = turn
	if r.Turn >= tallyTurns {
		delete(t.turns, r.Turn-tallyTurns)
	}
}

func (t *tally) decision(d Decision) DecisionRow {
	row := DecisionRow{
		ID: d.ID, Session: t.row.ID, Turn: d.Turn, Stage: d.Stage, Time: time.Unix(0, d.Time).UTC(), Effect: d.Effect,
		Reasons: slices.Clone(t.parts[d.Ruling].reasons),
	}
	if turn, ok := t.turns[d.Turn]; ok {
		row.Verb, row.Tables, row.Text = turn.verb, turn.tables, strings.TrimSpace(turn.text)
	}
	if d.Effect == "deny" {
		t.row.Denials++
	}
	return row
}
