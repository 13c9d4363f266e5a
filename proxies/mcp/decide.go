package mcp

import (
	"errors"
	"net/http"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// decide asks the gate about a message of the agent. reply is set where it goes
// no further.
func (x *exchange) decide(m *message.Message, version string, batch bool) (c *call, reply []byte, status int) {
	c, d, err := x.judge(m, version, batch, false)
	if err == nil {
		return c, nil, 0
	}
	if d == nil { // it could not be read
		body, status := x.refused(err, m.ID)
		return nil, body, status
	}
	denial := asDenial(err)
	if m.Kind != message.Request {
		return nil, failure("", codeDenied, denial.Message, toldOf(denial)), http.StatusForbidden
	}
	if question := x.ask(m, d, denial); question != nil {
		return nil, question, http.StatusOK
	}
	return nil, denied(m, denial, d.Detail.Era == "modern"), http.StatusOK
}

// asks asks the gate about what a server asks of the agent.
func (x *exchange) asks(m *message.Message) (*call, *engine.Denial) {
	c, d, err := x.judge(m, x.revision(), true, true)
	if err == nil {
		return c, nil
	}
	if d == nil {
		return nil, x.unreadable(err)
	}
	return nil, asDenial(err)
}

// revision is that of the messages under way, "" where it is not known.
func (x *exchange) revision() string {
	if x.first != nil && message.Known(x.first.d.Detail.Version) {
		return x.first.d.Detail.Version
	}
	return x.version
}

// judge asks the gate about one message. The error is a *message.Refusal, with
// nothing decoded, or a *engine.Denial.
func (x *exchange) judge(m *message.Message, version string, alone, toClient bool) (*call, *message.Decoded, error) {
	known := message.Context{Server: x.t.Name, Transport: x.transport(), Version: version, ToClient: toClient}
	params, _ := m.Params.(map[string]any)
	name := ""
	var tool *message.Tool
	if m.Method == "tools/call" && !toClient {
		name, _ = params["name"].(string)
		if x.t.pins.stale() {
			x.learn(m, version)
		}
		tool, known.Tool = x.t.pins.of(name)
	}
	d, err := message.Decode(m, known)
	if err == nil && !alone && !toClient {
		err = message.CheckHeaders(x.r.Header, m, d)
	}
	if err == nil && tool != nil && !alone {
		err = message.CheckParamHeaders(x.r.Header, tool.Value["inputSchema"], d.Detail.Arguments)
	}
	var task *taskRecord
	if err == nil && !toClient && d.Resource.Task != nil {
		task, err = x.t.tasks.of(x.ctx, *d.Resource.Task, x.owner)
	}
	if err != nil {
		return nil, nil, err
	}
	if task != nil && task.Tool != "" {
		d.Of(task.Tool, x.t.pins.described(task.Tool))
	}
	if x.s.reads("action", "secrets") {
		d.Find(x.s.detect)
	}
	if x.s.reads("mcp", "findings") {
		d.Detail.Findings = message.HiddenIn(m.Params)
	}
	var refused, unfit *engine.Denial
	if m.Method == "tools/call" && !toClient {
		refused = x.t.pins.refuses(name, known.Tool)
		if tool != nil {
			unfit = fits(d, tool, m)
		}
	}
	if refused == nil && x.declined {
		refused = &engine.Denial{Reasons: []string{engine.ReasonCancelled}, Message: "the request needs approval, and the person at the agent does not want to wait", Hint: "Ask them."}
	}
	asked := gateRequest(d)
	if refused == nil && unfit != nil && x.session.Would(x.ctx, asked) == nil {
		refused = unfit // whoever may not call it hears that, and nothing of its schema
	}
	if refused != nil {
		x.session.Refuse(asked, refused)
		return nil, d, refused
	}
	switch {
	case toClient || alone:
	case !x.waits(m, d.Detail.Era):
		asked.NoWait = true
	default:
		asked.OnHold = x.tellHold(m)
	}
	turn, err := x.session.Request(x.ctx, asked)
	if err != nil {
		return nil, d, err
	}
	c := &call{m: m, d: d, turn: turn}
	fail := func(denial *engine.Denial) (*call, *message.Decoded, error) {
		c.end(engine.Outcome{Code: denial.Reason(), Message: denial.Message})
		return nil, d, denial
	}
	if turn.Limit.Rows > 0 {
		return fail(&engine.Denial{Reasons: []string{policy.ReasonUnsupported}, Message: "the policy limits rows, and a message has none", Hint: "Tell the policy's owner.", DecisionID: turn.ID()})
	}
	if err := x.setRules(c, task); err != nil {
		return fail(asDenial(err))
	}
	return c, d, nil
}

// setRules says how the answer to a call is masked. What a task began is masked
// by the rules of the call that began it, too.
func (x *exchange) setRules(c *call, task *taskRecord) error {
	tree, err := c.turn.Tree(x.ctx, []input.Field{{Name: c.d.Action.Method, Type: "application/json", Sources: []string{}, Derivation: input.Opaque}})
	if err == nil && task != nil && len(task.Masks) > 0 {
		tree, err = x.session.Tree(append(task.Masks, tree.Masks()...))
	}
	if err != nil {
		return err
	}
	c.task, c.tree, c.rules = task, tree, newRules(x.s.keyring, tree)
	return nil
}

// fits holds the arguments of a call against the tool's schema: a server may do
// anything with what it did not ask for.
func fits(d *message.Decoded, tool *message.Tool, m *message.Message) *engine.Denial {
	var arguments []byte
	if parts, err := message.Members(m.Raw); err == nil && parts["params"] != nil {
		if params, err := message.Members(parts["params"]); err == nil {
			arguments = params["arguments"]
		}
	}
	ok, why := tool.Fits(arguments)
	d.Detail.Tool.SchemaValid = ok
	if ok == nil || *ok {
		return nil
	}
	return &engine.Denial{Reasons: []string{message.ReasonArguments}, Message: "the arguments do not fit the input schema of " + tool.Name + ": " + why, Hint: "Look at the tool's inputSchema, and send it again."}
}

// notice reports whether the agent may get a notification of the server.
func (x *exchange) notice(m *message.Message) (bool, error) {
	d, err := message.Decode(m, message.Context{Server: x.t.Name, Transport: x.transport(), Version: x.revision(), ToClient: true})
	if err != nil {
		var refusal *message.Refusal
		if errors.As(err, &refusal) {
			return false, nil
		}
		return false, err
	}
	if m.Method == "notifications/tools/list_changed" {
		x.t.pins.forget()
	}
	if params, ok := m.Params.(map[string]any); ok && m.Method == "notifications/tasks/status" {
		id, _ := params["taskId"].(string)
		if _, err := x.t.tasks.of(x.ctx, id, x.owner); err != nil {
			return false, nil
		}
	}
	if x.s.reads("mcp", "findings") {
		d.Detail.Findings = message.HiddenIn(m.Params)
	}
	return x.session.Would(x.ctx, gateRequest(d)) == nil, nil
}

// transport is how the gateway reaches the server, as policies see it.
func (x *exchange) transport() string { return "http" }
