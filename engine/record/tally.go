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
	// Count is how often the same was decided for the same request: repeats
	// within 1,024 turns are one row, that of the first.
	Count int64     `json:"count"`
	Last  time.Time `json:"last"` // of the last repeat
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

// request is what a request event says of its turn.
type request struct {
	facts
	// The parts that hold it; 0 where one stands in the event itself.
	action, resource, detail uint32
}

// sameness is when two decisions are one row of the index.
type sameness struct {
	stage, effect                    string
	ruling, action, resource, detail uint32
}

// tally derives a session's rows for the index from its events, in order. It
// holds a bounded number of facts: those of the parts that a Writer may still
// refer to.
type tally struct {
	row    SessionRow
	parts  map[uint32]facts
	turns  map[uint64]request // of the requests last seen
	latest uint64             // turn of a request

	repeats map[sameness]*seqDecision
	window  uint64 // of the turns that repeats is for
}

// tallyTurns is how many turns may be under way at once and still find their
// decisions.
const tallyTurns = 1024

func newTally(id string) *tally {
	return &tally{row: SessionRow{ID: id, State: StateLive}, parts: map[uint32]facts{}, turns: map[uint64]request{}, repeats: map[sameness]*seqDecision{}}
}

// add takes one event. For a decision it returns the row to be indexed, which
// may be that of an earlier event. A body that does not decode counts for
// nothing here: it is for Verify to say so.
func (t *tally) add(e Event) *seqDecision {
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
		t.request(e.Body)
	case KindDecision:
		if d, ok := scanDecision(e.Body); ok {
			return t.decision(e.Seq, d)
		}
	case KindHold:
		t.row.Holds++
	case KindOutcome:
		if rows, bytes, failed, ok := scanOutcome(e.Body); ok {
			t.row.Rows += rows
			t.row.Bytes += bytes
			if failed {
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
	return nil
}

func (t *tally) request(body []byte) {
	var turn request
	n, stage, ok := scanRequest(body, func(key []byte, part uint32, inline []byte) {
		switch string(key) {
		case "actor", "approvals", "asserted", "complete", "enforcer", "parameters", "protocol", "request", "response", "schema", "session", "stage", "subject", "target", "time", "unknown", "usage":
			return
		}
		f, ok := t.parts[part]
		if part == 0 {
			f, ok = readFacts(inline)
		}
		if !ok {
			return
		}
		switch string(key) {
		case "action":
			turn.verb, turn.action = f.verb, part
		case "resource":
			turn.tables, turn.resource = f.tables, part
		default:
			if f.text != "" {
				turn.text, turn.detail = f.text, part
			}
		}
	})
	if !ok {
		return
	}
	if string(stage) == "request" && n > t.latest {
		t.row.Requests++
		t.latest = n
	}
	t.turns[n] = turn
	if n >= tallyTurns {
		delete(t.turns, n-tallyTurns)
	}
}

func (t *tally) decision(seq uint64, d scannedDecision) *seqDecision {
	if string(d.effect) == "deny" {
		t.row.Denials++
	}
	at := time.Unix(0, d.at).UTC()
	turn := t.turns[d.turn]
	if window := d.turn / tallyTurns; window != t.window || len(t.repeats) >= tallyTurns {
		clear(t.repeats)
		t.window = window
	}
	if known := t.repeats[sameness{string(d.stage), string(d.effect), d.ruling, turn.action, turn.resource, turn.detail}]; known != nil {
		known.Count++
		known.Last = at
		return known
	}
	key := sameness{string(d.stage), string(d.effect), d.ruling, turn.action, turn.resource, turn.detail}
	row := &seqDecision{seq: seq, DecisionRow: DecisionRow{
		ID: string(d.id), Session: t.row.ID, Turn: d.turn, Stage: key.stage, Time: at, Effect: key.effect,
		Reasons: slices.Clone(t.parts[d.ruling].reasons),
		Verb:    turn.verb, Tables: turn.tables, Text: strings.TrimSpace(turn.text), Count: 1, Last: at,
	}}
	if key.ruling != 0 && key.action != 0 && key.resource != 0 && key.detail != 0 {
		t.repeats[key] = row
	}
	return row
}
