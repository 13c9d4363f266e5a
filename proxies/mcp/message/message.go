package message

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/http/request"
)

// Bounds of what is read.
const (
	MaxMessage = 4 << 20 // bytes of one message that a client sends
	maxBatch   = 50
	maxMethod  = 100
)

// The kinds of message.
const (
	Request      = "request"
	Notification = "notification"
	Response     = "response" // a result or an error
)

// Message is one JSON-RPC message.
type Message struct {
	Raw    []byte // as it came, without what is around it
	Kind   string
	ID     string // as JSON text: 7, or "a"; "" for a notification
	Method string // "" for a response
	Params any    // the value of params, nil where there is none
	Result []byte // of a response, as it came
	Error  []byte // of a response that is an error, as it came
	Answer any    // the value of Result or Error
	// Unknown are numbers in Params that a double cannot hold.
	Unknown []input.Unknown
}

// members are the names that a message may have.
var members = []string{"jsonrpc", "id", "method", "params", "result", "error"}

// Parse reads what one POST, one line or one event holds: one message, or a
// batch of them. The error is a *Refusal.
func Parse(raw []byte) (list []*Message, batch bool, err error) {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return nil, false, malformed(errors.New("it is empty"))
	}
	if raw[0] != '[' {
		m, err := one(raw)
		if err != nil {
			return nil, false, err
		}
		return []*Message{m}, false, nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	if _, err := d.ReadToken(); err != nil {
		return nil, true, malformed(errors.New("it is no JSON"))
	}
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return nil, true, malformed(errors.New("it is no JSON"))
		}
		if len(list) == maxBatch {
			return nil, true, refuse(ReasonBatch, "the batch has more than %d messages", maxBatch)
		}
		m, err := one(bytes.Clone(v))
		if err != nil {
			return nil, true, err
		}
		list = append(list, m)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, true, malformed(errors.New("it is no JSON"))
	}
	if _, err := d.ReadToken(); err == nil || len(list) == 0 {
		return nil, true, malformed(errors.New("it is an empty batch, or something comes after it"))
	}
	return list, true, nil
}

func malformed(err error) *Refusal {
	r := refuse(ReasonMalformed, "the message cannot be read: %v", err)
	r.Code = CodeParse
	return r
}

func one(raw []byte) (*Message, error) {
	if len(raw) > 0 && raw[0] != '{' {
		return nil, refuse(ReasonMalformed, "the message is no object")
	}
	m := &Message{Raw: raw}
	parts, err := Members(raw)
	if err != nil {
		return nil, malformed(err)
	}
	for name := range parts {
		for _, known := range members {
			if name != known && strings.EqualFold(name, known) {
				return nil, refuse(ReasonName, "the message has the member %q, which some readers take for %q", clip(name), known)
			}
		}
	}
	if string(parts["jsonrpc"]) != `"2.0"` {
		return nil, refuse(ReasonMalformed, `the message is not of "jsonrpc": "2.0"`)
	}
	if id, ok := parts["id"]; ok {
		if m.ID, err = readID(id); err != nil {
			return nil, err
		}
	}
	_, asks := parts["method"]
	result, answers := parts["result"]
	failure, fails := parts["error"]
	switch {
	case asks && !answers && !fails:
		if err := m.ask(parts); err != nil {
			return nil, err
		}
	case !asks && answers != fails && (m.ID != "" || fails):
		m.Kind, m.Result, m.Error = Response, result, failure
		for _, part := range [][]byte{result, failure} {
			if len(part) > 0 && part[0] != '{' {
				return nil, refuse(ReasonMalformed, "the result or error of the message is no object")
			}
		}
		v, inexact, err := request.ReadJSON(append(result, failure...), "mcp.responses")
		if err != nil {
			return nil, malformed(err)
		}
		m.Answer, m.Unknown = v, inexact
	default:
		return nil, refuse(ReasonMalformed, "the message is neither a request, nor a notification, nor a response")
	}
	return m, nil
}

func (m *Message) ask(parts map[string][]byte) error {
	if err := json.Unmarshal(parts["method"], &m.Method); err != nil || m.Method == "" || len(m.Method) > maxMethod {
		return refuse(ReasonMalformed, "the method of the message is no name")
	}
	m.Kind = Request
	if m.ID == "" {
		m.Kind = Notification
		if _, null := parts["id"]; null {
			return refuse(ReasonMalformed, "the id of the request is null")
		}
	}
	params, ok := parts["params"]
	if !ok {
		return nil
	}
	if params[0] != '{' {
		return refuse(ReasonParams, "the params of the message are no object")
	}
	v, inexact, err := request.ReadJSON(params, "mcp.params")
	if err != nil {
		return malformed(err)
	}
	m.Params, m.Unknown = v, inexact
	return nil
}

// readID returns an id as JSON text: a string or a whole number.
func readID(raw []byte) (string, error) {
	text := string(raw)
	switch {
	case text == "null":
		return "", nil
	case raw[0] == '"' && len(raw) <= 300:
		return text, nil
	case len(raw) <= 17 && strings.Trim(text, "0123456789") == "", len(raw) <= 17 && text[0] == '-' && strings.Trim(text[1:], "0123456789") == "" && len(text) > 1:
		return text, nil
	}
	return "", refuse(ReasonMalformed, "the id of the message is neither a string nor a whole number")
}

// Members returns the members of an object as they are in its text. The error
// says what is wrong with it; what is within the members is not looked at
// further.
func Members(object []byte) (map[string][]byte, error) {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	token, err := d.ReadToken()
	if err != nil || token.Kind() != '{' {
		return nil, errors.New("it is no JSON object")
	}
	out := map[string][]byte{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, objectError(err)
		}
		key := name.String()
		v, err := d.ReadValue()
		if err != nil {
			return nil, objectError(err)
		}
		out[key] = bytes.Clone(v)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, objectError(err)
	}
	if _, err := d.ReadToken(); err == nil || len(bytes.TrimSpace(object[d.InputOffset():])) > 0 {
		return nil, errors.New("something comes after it")
	}
	return out, nil
}

func objectError(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errors.New("an object has a name twice")
	}
	return errors.New("it is no JSON")
}

func clip(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
