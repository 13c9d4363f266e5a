package mcp

import (
	"context"
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
		x.events(in, resp)
	case media == "application/json":
		x.whole(in, resp)
	default:
		// No content that a client would read.
		x.keepSession(resp)
		for _, c := range x.all() {
			c.end(engine.Outcome{Tag: strconv.Itoa(resp.StatusCode)})
		}
		if !x.begun {
			x.w.WriteHeader(resp.StatusCode)
		}
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

// keepSession tells the agent the id of its session: sealed, so that it is good
// for nobody else.
func (x *exchange) keepSession(resp *http.Response) {
	id := resp.Header.Get("Mcp-Session-Id")
	if id == "" || len(id) > 512 || x.begun {
		return
	}
	told := x.given
	if x.first.m.Method == "initialize" || id != x.id {
		version := x.agreed
		if version == "" {
			version = x.revision()
		}
		var err error
		if told, err = x.s.seal.seal(sealedSession{ID: id, Version: version}, "session", x.t.Name, x.owner); err != nil {
			return
		}
	}
	x.w.Header().Set("Mcp-Session-Id", told)
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
func (x *exchange) events(in io.Reader, resp *http.Response) {
	control := http.NewResponseController(x.w)
	begin := func() error {
		x.keepSession(resp)
		return x.begin()
	}
	if x.first.m.Method != "initialize" { // its answer says the revision that the session's id holds
		if err := begin(); err != nil {
			x.broken(err, true)
			return
		}
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
			err = begin()
		}
		if err == nil {
			_, err = x.w.Write(raw)
		}
		if err == nil {
			err = control.Flush()
		}
		if err != nil {
			x.broken(err, x.begun)
			return
		}
	}
	if err := begin(); err != nil {
		x.broken(err, true)
		return
	}
	for _, c := range x.all() {
		c.end(engine.Outcome{Tag: strconv.Itoa(resp.StatusCode)})
	}
}
