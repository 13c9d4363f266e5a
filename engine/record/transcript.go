package record

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"
)

// TurnView is one request of a session, put together from its events for
// people to read.
type TurnView struct {
	Turn     uint64       `json:"turn"`
	Time     time.Time    `json:"time"`
	Request  string       `json:"request_id"`
	Verb     string       `json:"verb"`
	Tables   []string     `json:"tables"`
	Text     string       `json:"text"` // all of it
	Decision string       `json:"decision_id"`
	Effect   string       `json:"effect"`
	Reasons  []ReasonView `json:"reasons"`
	Cached   bool         `json:"cached"`
	Ticket   string       `json:"ticket"` // of an approval, "" for none
	Approved []string     `json:"approvals"`
	Chunks   int          `json:"chunks"`
	Outcome  *OutcomeView `json:"outcome"` // nil where it did not run, or has not ended
}

// ReasonView is one reason of a ruling.
type ReasonView struct {
	ID     string `json:"id"`
	Effect string `json:"effect"`
	Msg    string `json:"msg"`
}

// OutcomeView is how a request ended.
type OutcomeView struct {
	Rows      int64         `json:"rows"`
	Bytes     int64         `json:"bytes"`
	Tag       string        `json:"tag"`
	Code      string        `json:"error_code"`
	Message   string        `json:"error_message"`
	Cancelled bool          `json:"cancelled"`
	Limited   bool          `json:"limited"`
	Duration  time.Duration `json:"duration_ns"`
}

// Transcript follows a session's events and keeps what a reader needs to name
// the turn that an event belongs to. It holds the parts that a Writer may
// still refer to, and the turns that have not ended.
type Transcript struct {
	Session SessionRow // as far as it has been read
	// Asserted is what the agent said of itself, canonical JSON of
	// input.Asserted; nil where it is not recorded. It was never verified.
	Asserted json.RawMessage

	tally *tally
	parts map[uint32][]byte
	turns map[uint64]*TurnView
	order []uint64
}

// transcriptTurns bounds the turns that are kept for their next event.
const transcriptTurns = 1024

// NewTranscript starts before the first event of the session with that id.
func NewTranscript(id string) *Transcript {
	return &Transcript{tally: newTally(id), parts: map[uint32][]byte{}, turns: map[uint64]*TurnView{}}
}

// Add takes the next event and returns the turn it belongs to, nil for an
// event of the session as a whole. The turn is the same value each time.
func (t *Transcript) Add(e Event) *TurnView {
	t.tally.add(e)
	t.Session = t.tally.row
	switch e.Kind {
	case KindOpen:
		if o, err := DecodeOpen(e.Body); err == nil && json.Valid(o.Asserted) {
			t.Asserted = slices.Clone(o.Asserted)
		}
	case KindPart:
		if p, err := DecodePart(e.Body); err == nil {
			t.parts[p.Index] = p.JSON
			delete(t.parts, p.Index-2*maxParts)
		}
	case KindRequest:
		if r, err := DecodeRequest(e.Body); err == nil {
			return t.request(r)
		}
	case KindDecision:
		if d, err := DecodeDecision(e.Body); err == nil {
			turn := t.turn(d.Turn, e)
			turn.Decision, turn.Effect, turn.Cached = d.ID, d.Effect, d.Cached
			turn.Reasons = readReasons(t.parts[d.Ruling])
			return turn
		}
	case KindHold:
		if h, err := DecodeHold(e.Body); err == nil {
			turn := t.turn(h.Turn, e)
			turn.Ticket = h.Ticket
			return turn
		}
	case KindApproval:
		if a, err := DecodeApproval(e.Body); err == nil {
			turn := t.turn(a.Turn, e)
			line := a.Outcome
			if a.By != "" {
				line += " by " + a.By
			}
			if a.Reason != "" {
				line += ": " + a.Reason
			}
			turn.Ticket = a.Ticket
			turn.Approved = append(turn.Approved, line)
			return turn
		}
	case KindForward:
		if f, err := DecodeForward(e.Body); err == nil {
			return t.turn(f.Turn, e)
		}
	case KindChunk:
		if c, err := DecodeChunk(e.Body); err == nil {
			turn := t.turn(c.Turn, e)
			turn.Chunks++
			return turn
		}
	case KindOutcome:
		if o, err := DecodeOutcome(e.Body); err == nil {
			turn := t.turn(o.Turn, e)
			turn.Outcome = &OutcomeView{
				Rows: o.Rows, Bytes: o.Bytes, Tag: o.Tag, Code: o.ErrorCode, Message: o.ErrorMessage,
				Cancelled: o.Cancelled, Limited: o.Limited, Duration: time.Duration(o.DurationNS),
			}
			return turn
		}
	}
	return nil
}

// Document returns the exact input document of a request event that was just
// added, in canonical form. Its digest is checked.
func (t *Transcript) Document(r Request) ([]byte, error) {
	return r.Document(func(index uint32) []byte { return t.parts[index] })
}

func (t *Transcript) turn(n uint64, e Event) *TurnView {
	v := t.turns[n]
	if v == nil {
		v = &TurnView{Turn: n, Time: e.At()}
		t.turns[n] = v
		t.order = append(t.order, n)
		if len(t.order) > transcriptTurns {
			delete(t.turns, t.order[0])
			t.order = t.order[1:]
		}
	}
	return v
}

func (t *Transcript) request(r Request) *TurnView {
	v := t.turn(r.Turn, Event{Time: r.Time})
	if r.Stage != "request" && v.Text != "" {
		return v // the response stage of the same turn
	}
	v.Request = r.ID
	if r.Time != 0 { // a hold is recorded before the request that it holds
		v.Time = Event{Time: r.Time}.At()
	}
	for _, in := range r.Input {
		raw := in.JSON
		if in.Part != 0 {
			raw = t.parts[in.Part]
		}
		switch in.Key {
		case "http", "mcp":
			v.Text = requestLine(raw)
			continue
		}
		var w struct {
			Verb       string   `json:"verb"`
			TableNames []string `json:"table_names"`
			Names      []string `json:"names"`
			Text       string   `json:"text"`
		}
		if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &w) != nil {
			continue
		}
		switch in.Key {
		case "action":
			v.Verb = w.Verb
		case "resource":
			if v.Tables = w.TableNames; v.Tables == nil {
				v.Tables = w.Names
			}
		default:
			if w.Text != "" {
				v.Text = w.Text
			}
		}
	}
	return v
}

// requestLine is what a request over HTTP asked for, in one line.
func requestLine(raw []byte) string {
	var w struct {
		Method, Scheme, Host string
		Port                 int
		RawPath              string          `json:"raw_path"`
		RawQuery             string          `json:"raw_query"`
		Params               json.RawMessage `json:"params"`
	}
	if json.Unmarshal(raw, &w) != nil || w.Method == "" {
		return ""
	}
	if w.Host == "" { // MCP
		if len(w.Params) == 0 || string(w.Params) == "null" || string(w.Params) == "{}" {
			return w.Method
		}
		return w.Method + " " + string(w.Params)
	}
	line := w.Method + " " + w.Scheme + "://" + w.Host
	if w.Port != 80 && w.Scheme == "http" || w.Port != 443 && w.Scheme == "https" {
		line += ":" + strconv.Itoa(w.Port)
	}
	line += w.RawPath
	if w.RawQuery != "" {
		line += "?" + w.RawQuery
	}
	return line
}

func readReasons(raw []byte) []ReasonView {
	var w struct {
		Reasons []ReasonView `json:"reasons"`
	}
	if json.Unmarshal(raw, &w) != nil {
		return nil
	}
	return w.Reasons
}

// Renderer shows the chunks of one turn in one format to a person. Write takes
// each chunk's data in order; Flush is called once after the last.
type Renderer interface {
	Write(data []byte) error
	Flush() error
}
