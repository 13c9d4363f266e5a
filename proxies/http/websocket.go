package httpproxy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/coder/websocket"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/proxies/http/body"
	"github.com/regate-dev/regate/proxies/http/request"
)

// A WebSocket ends at the gateway on both sides: messages go through, never
// frames. The handshake is a request like any other. Each message of the agent is
// a request of its own, with the handshake's URL and headers and the message as
// its body; each of the upstream's is masked as the handshake's ruling says, and
// recorded before the agent sees it. Neither side is offered compression.

// formatMessage is the format of what is recorded of a message.
const formatMessage = "http/message"

// dialogue is an open WebSocket.
type dialogue struct {
	x               *exchange
	agent, upstream *websocket.Conn
	rules           *body.Rules
	bytes           int64 // of messages that the agent has seen
}

// websocket takes the handshake to the upstream and serves what follows. out is
// the handshake as it was decided.
func (x *exchange) websocket(ctx context.Context, out *http.Request) {
	tree, err := x.turn.Tree(ctx, []input.Field{{Name: "body", Type: "websocket", Sources: []string{}, Derivation: input.Opaque}})
	if err != nil {
		x.stop(asDenial(err), false)
		return
	}
	d := &dialogue{x: x}
	if tree != nil {
		d.rules = body.NewRules(x.s.keyring, tree)
	}
	dialling, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	conn, resp, err := websocket.Dial(dialling, out.URL.String(), &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: exactly{x.t.round(x.origin), out.URL}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		HTTPHeader: out.Header, Host: out.Host, Subprotocols: x.protocols, CompressionMode: websocket.CompressionDisabled,
	})
	switch {
	case err != nil && resp != nil && resp.StatusCode != http.StatusSwitchingProtocols && resp.StatusCode != 0:
		x.stop(&engine.Denial{Reasons: []string{ReasonNoUpgrade}, Message: "the upstream does not open a WebSocket there: it answers " + resp.Status}, false)
		return
	case err != nil && resp != nil:
		x.s.log.WithError(err).WithField("target", x.t.name).Warn("the upstream's handshake is not one of WebSocket")
		x.stop(&engine.Denial{Reasons: []string{ReasonProtocolError}, Message: "the upstream's handshake is not one of WebSocket"}, false)
		return
	case err != nil:
		x.stop(x.failed(ctx, err))
		return
	}
	d.upstream = conn
	defer func() { _ = conn.CloseNow() }()
	head, err := json.Marshal(map[string]any{"status": http.StatusSwitchingProtocols, "headers": map[string][]string{"Sec-Websocket-Protocol": {conn.Subprotocol()}}})
	if err == nil {
		err = x.turn.Output(formatHead, head, 0).Wait(ctx)
	}
	if err != nil {
		x.stop(asDenial(err), false)
		return
	}
	accept := &websocket.AcceptOptions{InsecureSkipVerify: true, CompressionMode: websocket.CompressionDisabled} // the upstream judges Origin
	if p := conn.Subprotocol(); p != "" {
		accept.Subprotocols = []string{p}
	}
	d.agent, err = websocket.Accept(&agentWriter{ResponseWriter: x.w}, x.r, accept)
	if err != nil { // and it was answered
		x.turn.Done(engine.Outcome{Code: request.ReasonUpgrade, Message: "the agent's handshake is not one of WebSocket"})
		return
	}
	defer func() { _ = d.agent.CloseNow() }()
	d.agent.SetReadLimit(x.t.decoder.MaxBody())
	d.upstream.SetReadLimit(engine.MaxOutput)
	d.serve(ctx)
}

// handshake takes out of the headers what belongs to the handshake with the agent,
// and remembers which protocols it offers.
func (x *exchange) handshake(h http.Header) {
	for _, line := range h["Sec-Websocket-Protocol"] {
		for p := range strings.SplitSeq(line, ",") {
			x.protocols = append(x.protocols, strings.TrimSpace(p))
		}
	}
	for _, name := range []string{"Sec-Websocket-Protocol", "Sec-Websocket-Extensions", "Sec-Websocket-Key", "Sec-Websocket-Version"} {
		h.Del(name)
	}
}

// exactly sends a request to the URL that was decided, byte for byte.
type exactly struct {
	next http.RoundTripper
	url  *url.URL
}

// RoundTrip implements http.RoundTripper.
func (e exactly) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL = e.url
	return e.next.RoundTrip(r)
}

// serve carries messages both ways until either side ends, or parent.
func (d *dialogue) serve(parent context.Context) {
	// The connections outlive parent: what was decided about them is said on them.
	ctx, cancel := context.WithCancel(context.WithoutCancel(parent))
	defer cancel()
	ended := make(chan error, 2)
	var pumps sync.WaitGroup
	pumps.Go(func() { ended <- d.guarded(func() error { return d.send(parent, ctx) }) })
	pumps.Go(func() { ended <- d.guarded(func() error { return d.receive(parent, ctx) }) })
	var outcome engine.Outcome
	select {
	case err := <-ended:
		outcome = d.end(parent, err)
	case <-parent.Done():
		outcome = d.end(parent, parent.Err())
	}
	cancel()
	pumps.Wait() // the turn is receive's until then
	outcome.Bytes = d.bytes
	d.x.turn.Done(outcome)
}

// guarded makes an error of a panic: a defect ends the dialogue, not the gateway.
func (d *dialogue) guarded(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			d.x.s.log.Errorf("panic while serving a WebSocket: %v", p)
			err = &engine.Denial{Reasons: []string{engine.ReasonInternal}, Message: "regate failed"}
		}
	}()
	return f()
}

// closing is the end of a dialogue that one side has asked for, or caused.
type closing struct {
	agent bool // it was the agent
	err   error
}

func (c *closing) Error() string { return c.err.Error() }

func (c *closing) Unwrap() error { return c.err }

// send decides and passes on what the agent sends.
func (d *dialogue) send(parent, ctx context.Context) error {
	x := d.x
	for {
		kind, content, err := d.agent.Read(ctx)
		if err != nil {
			return &closing{agent: true, err: err}
		}
		msg, err := x.req.Message(kind == websocket.MessageBinary, content)
		var refusal *request.Refusal
		if errors.As(err, &refusal) {
			p := msg.Parts()
			denial := denialOf(refusal)
			x.session.Refuse(&engine.Request{Action: p.Action, Resource: p.Resource, Detail: p.Detail, Unknown: p.Unknown, Writes: true, Summary: shorten("message to " + x.origin.String() + x.path)}, denial)
			return denial
		}
		if x.s.reads("http", "findings") || x.s.reads("action", "secrets") {
			msg.Find()
		}
		turn, err := x.session.Request(parent, gateRequest(msg))
		if err != nil {
			return err
		}
		if !covers(x.turn, turn) {
			denial := &engine.Denial{Reasons: []string{policy.ReasonUnsupported}, Message: "the policy masks or limits more for this message than for the connection", Hint: "Tell the policy's owner: it has to say so of the handshake.", DecisionID: turn.ID()}
			turn.Done(engine.Outcome{Code: denial.Reason(), Message: denial.Message})
			return denial
		}
		if kind == websocket.MessageBinary {
			turn.Input(formatMessage, content)
		}
		if err := d.upstream.Write(ctx, kind, content); err != nil {
			turn.Done(engine.Outcome{Code: ReasonUpstream, Message: "the message did not reach the upstream", Cancelled: ctx.Err() != nil})
			return &closing{err: err}
		}
		turn.Done(engine.Outcome{Tag: "SENT"})
	}
}

// covers reports whether what the connection's ruling asks for is all that a
// message's does: what comes back is not of one message.
func covers(connection, message *engine.Turn) bool {
	for _, m := range message.Ruling.Masks {
		if !slices.ContainsFunc(connection.Ruling.Masks, func(c policy.Mask) bool {
			return c.Field == m.Field && c.Detect == m.Detect && c.Method == m.Method && c.Keep == m.Keep && c.KeepFirst == m.KeepFirst && c.KeepDomain == m.KeepDomain
		}) {
			return false
		}
	}
	return connection.Limit.Join(message.Limit) == connection.Limit
}

// receive masks, records and passes on what the upstream sends.
func (d *dialogue) receive(parent, ctx context.Context) error {
	x := d.x
	for {
		kind, content, err := d.upstream.Read(ctx)
		if err != nil {
			return &closing{err: err}
		}
		scrub(content, x.words)
		if d.rules != nil {
			if content, err = d.masked(kind, content); err != nil {
				return err
			}
		}
		if limit := x.turn.Limit.Bytes; limit > 0 && d.bytes+int64(len(content)) > limit {
			return &engine.Denial{Reasons: []string{ReasonByteLimit}, Message: "the answer is longer than the policy lets it be"}
		}
		if err := x.turn.Output(formatMessage, content, 0).Wait(parent); err != nil {
			return err
		}
		if err := d.agent.Write(ctx, kind, content); err != nil {
			return &closing{agent: true, err: err}
		}
		d.bytes += int64(len(content))
	}
}

// masked is a message of the upstream as the agent may see it.
func (d *dialogue) masked(kind websocket.MessageType, content []byte) ([]byte, error) {
	var out bytes.Buffer
	write := func(p []byte) error { _, err := out.Write(p); return err }
	done := func() error { return nil }
	apply := d.rules.Text
	switch {
	case kind == websocket.MessageText && json.Valid(content):
		apply = d.rules.JSON
	case kind == websocket.MessageBinary || d.rules.Fields():
		return nil, &engine.Denial{Reasons: []string{ReasonUnmaskable}, Message: "the upstream has sent a message that cannot be masked as policy says", Hint: "Tell the policy's owner."}
	}
	if err := apply(bytes.NewReader(content), write, done); err != nil {
		return nil, &engine.Denial{Reasons: []string{ReasonUnmaskable}, Message: "the upstream has sent a message that cannot be masked as policy says"}
	}
	if out.Len() > engine.MaxOutput {
		return nil, &engine.Denial{Reasons: []string{ReasonUnmaskable}, Message: "the upstream has sent a message that is too long to be recorded"}
	}
	return out.Bytes(), nil
}

// end tells both sides how the dialogue has ended, and returns what the record is
// told.
func (d *dialogue) end(parent context.Context, why error) engine.Outcome {
	x := d.x
	outcome := engine.Outcome{Tag: "CLOSED"}
	toAgent, toUpstream := websocket.StatusGoingAway, websocket.StatusGoingAway
	text := ""
	var denial *engine.Denial
	var closed *closing
	ended := x.session.Ended()
	switch {
	case ended != nil:
		denial = ended
	case errors.As(why, &denial):
	case x.ctx.Err() != nil:
		outcome.Code, outcome.Message, outcome.Cancelled = engine.ReasonCancelled, "the agent went away", true
	case parent.Err() != nil:
		denial = &engine.Denial{Reasons: []string{ReasonTimeLimit}, Message: "the connection lasted longer than the policy lets it"}
	case errors.As(why, &closed):
		var said websocket.CloseError
		switch {
		case errors.As(why, &said) && said.Code != websocket.StatusNoStatusRcvd:
			toAgent, toUpstream, text = said.Code, said.Code, said.Reason
		case errors.As(why, &said):
			toAgent, toUpstream = websocket.StatusNormalClosure, websocket.StatusNormalClosure
		case errors.Is(why, websocket.ErrMessageTooBig):
			toAgent, outcome.Code, outcome.Message = websocket.StatusMessageTooBig, request.ReasonBodyTooLarge, "a message is larger than the gateway takes"
		case closed.agent:
			outcome.Code, outcome.Message, outcome.Cancelled = engine.ReasonCancelled, "the agent went away", true
		default:
			toAgent, outcome.Code, outcome.Message = websocket.StatusInternalError, ReasonTruncated, "the upstream's connection broke"
		}
	default:
		x.s.log.WithError(why).WithField("decision", x.turn.ID()).Warn("a WebSocket could not be carried on")
		toAgent, outcome.Code, outcome.Message = websocket.StatusInternalError, ReasonTruncated, "the connection ended early"
	}
	if denial != nil {
		outcome.Code, outcome.Message = denial.Reason(), denial.Message
		outcome.Limited = denial.Reason() == ReasonByteLimit || denial.Reason() == ReasonTimeLimit
		toAgent, text = websocket.StatusPolicyViolation, closeText(denial)
	}
	// Each waits for the other side's word, for a while.
	var both sync.WaitGroup
	both.Go(func() { _ = d.agent.Close(toAgent, text) })
	both.Go(func() { _ = d.upstream.Close(toUpstream, "") })
	both.Wait()
	return outcome
}

// closeText tells an agent in a close frame why, in the 123 bytes that it has.
func closeText(d *engine.Denial) string {
	text := d.Reason()
	if d.ApprovalID != "" {
		text = fmt.Sprintf("%s approval=%s", text, d.ApprovalID)
	}
	if len(text)+len(d.DecisionID) < 110 && d.DecisionID != "" {
		text += " decision=" + d.DecisionID
	}
	return text[:min(len(text), 123)]
}
