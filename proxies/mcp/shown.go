package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

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
		if out, err = x.response(c, m); err != nil {
			out, err = withheld(c, err)
		}
	case message.Request:
		ask, denial := x.asks(m)
		if denial != nil {
			x.answerServer(m)
			return nil, nil
		}
		defer ask.end(engine.Outcome{Tag: "sent"})
		c = ask
		out, err = replaced(m.Raw, "params", ask.rules)
	default:
		shown, e := x.notice(m)
		if e != nil || !shown {
			return nil, e
		}
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

// withheld is what the agent gets in the place of an answer that policies do
// not let through.
func withheld(c *call, err error) ([]byte, error) {
	var denial *engine.Denial
	if !errors.As(err, &denial) || denial.Fatal {
		return nil, err
	}
	c.end(engine.Outcome{Code: denial.Reason(), Message: denial.Message})
	return denied(c.m, denial, c.d.Detail.Era == "modern"), nil
}

// response filters and masks the answer to a call. The error is a
// *engine.Denial where policies do not let it through.
func (x *exchange) response(c *call, m *message.Message) ([]byte, error) {
	if x.s.reads("mcp", "findings") {
		if found := message.HiddenIn(m.Answer); len(found) > 0 {
			c.turn.Found(c.d.Answered(found))
			if err := x.setRules(c, c.task); err != nil {
				return nil, err
			}
		}
	}
	if len(m.Error) > 0 {
		return replaced(m.Raw, "error", c.rules)
	}
	parts, err := message.Members(m.Raw)
	if err != nil {
		return nil, err
	}
	if list, ok := message.Lists[c.m.Method]; ok {
		if parts["result"], err = x.filter(c, parts["result"], list.Items, list.Name); err != nil {
			return nil, err
		}
		if list.Items == "tasks" { // what the others list is not masked: a model has to know
			parts["result"], err = c.rules.result(parts["result"])
		}
		if err != nil {
			return nil, err
		}
		return joined(parts)
	}
	result, err := message.Members(parts["result"])
	if err != nil {
		return nil, err
	}
	changed := false
	switch c.m.Method {
	case "initialize":
		_ = json.Unmarshal(result["protocolVersion"], &x.agreed)
		changed = private(result)
	case "server/discover":
		changed = private(result)
	default:
		if changed, err = x.reshape(c, result); err != nil {
			return nil, err
		}
	}
	if !changed && c.rules == nil {
		return m.Raw, nil
	}
	state := result["requestState"] // sealed: masks do not apply
	if c.m.Method != "initialize" && c.m.Method != "server/discover" {
		var shown []byte
		if shown, err = joined(result); err == nil {
			shown, err = c.rules.result(shown)
		}
		if err == nil {
			result, err = message.Members(shown)
		}
		if err != nil {
			return nil, err
		}
		if state != nil {
			result["requestState"] = state
		}
	}
	if parts["result"], err = joined(result); err != nil {
		return nil, err
	}
	return joined(parts)
}

// reshape decides on what a result asks of the agent, seals its state, and keeps
// whose the task is that it tells of.
func (x *exchange) reshape(c *call, result map[string][]byte) (changed bool, err error) {
	modern := c.d.Detail.Era == "modern"
	if result["inputRequests"] != nil {
		changed = true
		if err := x.questions(result); err != nil {
			return false, err
		}
	}
	if modern && result["requestState"] != nil {
		changed = true
		if err := x.sealState(c, result); err != nil {
			return false, err
		}
	}
	if result["cacheScope"] != nil {
		changed = private(result) || changed
	}
	if id := taskOf(result); id != "" && c.d.Resource.Kind != "task" {
		r := taskRecord{Owner: x.owner, Masks: c.tree.Masks()}
		if c.d.Resource.Tool != nil {
			r.Tool = *c.d.Resource.Tool
		}
		if err := x.t.tasks.note(x.ctx, id, r); err != nil {
			return false, err
		}
	}
	return changed, nil
}

// private makes a result one that no shared cache keeps: it is for one agent.
func private(result map[string][]byte) bool {
	if result["cacheScope"] == nil {
		return false
	}
	result["cacheScope"] = []byte(`"private"`)
	return true
}

// filter leaves of a list what the agent may know of.
func (x *exchange) filter(c *call, result []byte, items, name string) ([]byte, error) {
	parts, err := message.Members(result)
	if err != nil {
		return nil, err
	}
	private(parts)
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
			known := x.t.pins.note(x.ctx, tool, x.s.log)
			if x.t.pins.refuses(id, known) != nil {
				continue
			}
			item = c.d.Item(id, known)
		}
		if items == "tasks" {
			if _, err := x.t.tasks.of(x.ctx, id, x.owner); err != nil {
				continue
			}
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
