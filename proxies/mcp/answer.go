package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"

	"github.com/regate-dev/regate/engine"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/http/body"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// formatMessage is what is recorded of an answer: one JSON-RPC message as the
// agent gets it.
const formatMessage = "mcp/message"

// Reason ids of answers. They are API.
const (
	ReasonAnswer = "mcp/malformed-answer"
	ReasonLimit  = "limit/bytes"
)

var errLimit = errors.New("more bytes than the policy lets through")

// send takes what was allowed to the server, and its answer to the agent.
func (x *exchange) send(raw []byte) {
	ctx := x.ctx
	if seconds := x.first.turn.Limit.Seconds; seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
		defer cancel()
	}
	out, err := x.request(ctx, raw)
	if err != nil {
		x.s.log.WithError(err).WithField("target", x.t.Name).Error("the gateway has no credential for the server")
		x.fail(&engine.Denial{Reasons: []string{httpproxy.ReasonCredential}, Message: "the gateway cannot show the server who it is at present", Hint: "Tell the gateway's operator."})
		return
	}
	resp, err := x.t.round.RoundTrip(out)
	if err != nil {
		if x.ctx.Err() == nil {
			x.s.log.WithError(err).WithField("target", x.t.Name).Warn("the server does not answer")
		}
		x.fail(&engine.Denial{Reasons: []string{httpproxy.ReasonUpstream}, Message: "the server does not answer", Hint: "Try again in a few seconds."})
		return
	}
	defer resp.Body.Close()
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	in := x.scrub(resp.Body)
	switch {
	case resp.StatusCode >= 300 && resp.StatusCode < 400, resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden && media != "application/json":
		// A server that wants another login, or is elsewhere, is the operator's to mend.
		x.s.log.WithField("target", x.t.Name).WithField("status", resp.StatusCode).Error("the server refuses the gateway")
		x.fail(&engine.Denial{Reasons: []string{httpproxy.ReasonUpstream}, Message: "the server refuses the gateway", Hint: "Tell the gateway's operator."})
	case media == "text/event-stream" && resp.StatusCode == http.StatusOK:
		x.keepSession(resp)
		x.events(in, resp.StatusCode)
	case media == "application/json":
		x.whole(in, resp)
	default:
		// No content that a client would read.
		x.keepSession(resp)
		for _, c := range x.all() {
			c.end(engine.Outcome{Tag: strconv.Itoa(resp.StatusCode)})
		}
		x.w.WriteHeader(resp.StatusCode)
	}
}

// all are the calls that have not ended.
func (x *exchange) all() []*call {
	out := []*call{x.first}
	for _, c := range x.calls {
		if c != x.first {
			out = append(out, c)
		}
	}
	return out
}

// fail answers every call with a denial, before anything else was.
func (x *exchange) fail(d *engine.Denial) {
	cancelled := x.ctx.Err() != nil
	for _, c := range x.all() {
		c.end(engine.Outcome{Code: d.Reason(), Message: d.Message, Cancelled: cancelled})
	}
	d.DecisionID = x.first.turn.ID()
	if x.first.m.Kind != message.Request {
		httpproxy.Deny(x.w, d)
		return
	}
	x.write(http.StatusOK, denied(x.first.m, d, x.first.d.Detail.Era == "modern"))
}

// keepSession notes whose session of the server it is, and tells the agent its
// id.
func (x *exchange) keepSession(resp *http.Response) {
	id := resp.Header.Get("Mcp-Session-Id")
	if id == "" || len(id) > 512 {
		return
	}
	if x.first.m.Method == "initialize" {
		o := x.owner
		o.version = x.first.d.Detail.Version
		x.t.claim(id, o)
	}
	x.w.Header().Set("Mcp-Session-Id", id)
}

// whole is an answer that is one JSON text.
func (x *exchange) whole(in io.Reader, resp *http.Response) {
	raw, err := io.ReadAll(io.LimitReader(in, maxAnswer+1))
	if err == nil && len(raw) > maxAnswer {
		err = errors.New("the answer is larger than can be read")
	}
	var out []byte
	if err == nil {
		out, err = x.messages(raw)
	}
	if err == nil && out == nil {
		err = errors.New("it answers nothing that was asked")
	}
	if err != nil {
		x.broken(err, false)
		return
	}
	x.keepSession(resp)
	for _, c := range x.all() {
		c.end(engine.Outcome{Tag: strconv.Itoa(resp.StatusCode)})
	}
	x.write(resp.StatusCode, out)
}

// broken ends an answer that cannot be carried to its end.
func (x *exchange) broken(err error, begun bool) {
	d := &engine.Denial{Reasons: []string{ReasonAnswer}, Message: "the server's answer cannot be read", Hint: "Tell the gateway's operator."}
	var denial *engine.Denial
	switch why := x.session.Ended(); {
	case errors.As(err, &denial):
		d = denial
	case why != nil:
		copied := *why
		d = &copied
	case x.ctx.Err() != nil:
		d = &engine.Denial{Reasons: []string{engine.ReasonCancelled}, Message: "the agent went away"}
	case errors.Is(err, errLimit):
		d = &engine.Denial{Reasons: []string{ReasonLimit}, Message: "the answer is longer than the policy lets it be", Hint: "Ask for less."}
	default:
		if x.ctx.Err() == nil {
			x.s.log.WithError(err).WithField("target", x.t.Name).Warn("a server's answer cannot be read")
		}
	}
	if !begun {
		x.fail(d)
		return
	}
	for _, c := range x.all() {
		c.end(engine.Outcome{Code: d.Reason(), Message: d.Message, Cancelled: x.ctx.Err() != nil, Limited: errors.Is(err, errLimit)})
	}
	panic(http.ErrAbortHandler)
}

// events is an answer that is a stream of messages.
func (x *exchange) events(in io.Reader, status int) {
	control := http.NewResponseController(x.w)
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	x.w.WriteHeader(status)
	if err := control.Flush(); err != nil {
		x.broken(err, true)
		return
	}
	events := body.NewEventReader(in)
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		raw := e.Raw
		if err == nil && len(e.Data) > 0 {
			var out []byte
			if out, err = x.messages(e.Data); err == nil {
				if out == nil {
					continue
				}
				raw = body.Rewrite(e, out)
			}
		}
		if err == nil {
			_, err = x.w.Write(raw)
		}
		if err == nil {
			err = control.Flush()
		}
		if err != nil {
			x.broken(err, true)
			return
		}
	}
	for _, c := range x.all() {
		c.end(engine.Outcome{Tag: strconv.Itoa(status)})
	}
}

// messages reads what a server says, and returns what the agent gets of it: nil
// where that is nothing.
func (x *exchange) messages(raw []byte) ([]byte, error) {
	list, batch, err := message.Parse(raw)
	if err != nil {
		return nil, err
	}
	var outs []json.RawMessage
	for _, m := range list {
		out, err := x.message(m)
		if err != nil {
			return nil, err
		}
		if out != nil {
			outs = append(outs, out)
		}
	}
	switch {
	case len(outs) == 0:
		return nil, nil
	case batch:
		return json.Marshal(outs)
	}
	return outs[0], nil
}

// message decides what the agent gets of one message, and records it.
func (x *exchange) message(m *message.Message) ([]byte, error) {
	c := x.first
	var out []byte
	var err error
	switch m.Kind {
	case message.Response:
		if c = x.calls[m.ID]; c == nil {
			if m.ID != "" || len(m.Error) == 0 {
				return nil, nil // it answers nothing that was asked
			}
			c = x.first
		}
		out, err = x.response(c, m)
	case message.Request:
		ask, reply, _ := x.decide(m, x.version, true, true)
		if reply != nil {
			x.answerServer(m)
			return nil, nil
		}
		defer ask.end(engine.Outcome{Tag: "sent"})
		c = ask
		out, err = replaced(m.Raw, "params", ask.rules)
	default:
		out, err = replaced(m.Raw, "params", c.rules)
	}
	if err != nil {
		return nil, err
	}
	c.bytes += int64(len(out))
	if limit := c.turn.Limit.Bytes; limit > 0 && c.bytes > limit {
		return nil, errLimit
	}
	for rest := out; len(rest) > 0; {
		n := min(len(rest), engine.MaxOutput)
		if err := c.turn.Output(formatMessage, rest[:n], 0).Wait(x.ctx); err != nil {
			return nil, err
		}
		rest = rest[n:]
	}
	if m.Kind == message.Response && c != x.first {
		c.end(engine.Outcome{Tag: "200"})
	}
	return out, nil
}

// replaced masks one member of a message.
func replaced(raw []byte, member string, r *rules) ([]byte, error) {
	if r == nil {
		return raw, nil
	}
	parts, err := message.Members(raw)
	if err != nil || parts[member] == nil {
		return raw, err
	}
	if parts[member], err = r.result(parts[member]); err != nil {
		return nil, err
	}
	return joined(parts)
}

func joined(parts map[string][]byte) ([]byte, error) {
	out := make(map[string]json.RawMessage, len(parts))
	for name, raw := range parts {
		out[name] = raw
	}
	return marshal(out)
}

// response filters and masks the answer to a call.
func (x *exchange) response(c *call, m *message.Message) ([]byte, error) {
	if len(m.Error) > 0 {
		return replaced(m.Raw, "error", c.rules)
	}
	raw := m.Raw
	if list, ok := message.Lists[c.m.Method]; ok {
		parts, err := message.Members(m.Raw)
		if err != nil {
			return nil, err
		}
		if parts["result"], err = x.filter(c, parts["result"], list.Items, list.Name); err != nil {
			return nil, err
		}
		if raw, err = joined(parts); err != nil {
			return nil, err
		}
		return raw, nil // what tools are is not masked: a model has to know
	}
	if c.m.Method == "initialize" || c.m.Method == "server/discover" {
		return private(raw)
	}
	return replaced(raw, "result", c.rules)
}

// private makes a result one that no shared cache keeps: it is for one agent.
func private(raw []byte) ([]byte, error) {
	parts, err := message.Members(raw)
	if err != nil {
		return nil, err
	}
	result, err := message.Members(parts["result"])
	if err != nil || result["cacheScope"] == nil {
		return raw, nil
	}
	result["cacheScope"] = []byte(`"private"`)
	if parts["result"], err = joined(result); err != nil {
		return nil, err
	}
	return joined(parts)
}

// filter leaves of a list what the agent may know of.
func (x *exchange) filter(c *call, result []byte, items, name string) ([]byte, error) {
	parts, err := message.Members(result)
	if err != nil {
		return nil, err
	}
	if parts["cacheScope"] != nil {
		parts["cacheScope"] = []byte(`"private"`)
	}
	if parts[items] == nil {
		return joined(parts)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(parts[items], &list); err != nil {
		return nil, err
	}
	shown, seen := []json.RawMessage{}, map[string]bool{}
	for _, raw := range list {
		members, err := message.Members(raw)
		if err != nil {
			return nil, err
		}
		var id string
		if json.Unmarshal(members[name], &id) != nil || id == "" || seen[id] {
			continue // it could not be asked for, or is another by the same name
		}
		seen[id] = true
		item := c.d.Item(id, nil)
		if items == "tools" {
			tool, err := message.ReadTool(raw)
			if err != nil {
				return nil, err
			}
			known := x.t.pins.note(tool, time.Now())
			if x.t.pins.refuses(id, known) != nil {
				x.s.log.WithField("target", x.t.Name).WithField("tool", id).WithField("pin", known.Pin).WithField("changed", known.Changed).Warn("a tool is kept back: its definition is not approved")
				continue
			}
			item = c.d.Item(id, known)
		}
		if x.session.Would(x.ctx, gateRequest(item)) == nil {
			shown = append(shown, raw)
		}
	}
	if parts[items], err = json.Marshal(shown); err != nil {
		return nil, err
	}
	return joined(parts)
}

// answerServer tells a server that what it asked of the agent is denied.
func (x *exchange) answerServer(m *message.Message) {
	go func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(x.ctx), 10*time.Second)
		defer cancel()
		reply := failure(m.ID, codeDenied, "denied by policy", nil)
		out, err := x.request(ctx, reply)
		if err != nil {
			return
		}
		out.Method = http.MethodPost
		out.Header.Set("Content-Type", "application/json")
		out.Header.Set("Accept", "application/json, text/event-stream")
		out.Header.Del("Mcp-Method")
		out.Header.Del("Mcp-Name")
		if resp, err := x.t.round.RoundTrip(out); err == nil {
			_ = resp.Body.Close()
		}
	}()
}
