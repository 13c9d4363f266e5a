package mcp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	httpproxy "github.com/regate-dev/regate/proxies/http"
	"github.com/regate-dev/regate/proxies/mcp/message"
	"github.com/regate-dev/regate/proxies/mcp/stdio"
)

// exchange is one HTTP request of an agent: a POST with a message, a GET for
// what a server says on its own, or a DELETE.
type exchange struct {
	s        *Server
	t        *target
	w        http.ResponseWriter
	r        *http.Request
	secure   bool
	resource string // URL of the resource's metadata

	session *engine.Pooled[sessionKey, struct{}]
	owner   owner
	ctx     context.Context
	given   string // the session's id as the agent has it
	id      string // of the server's session, "" where there is none
	version string // the session's revision
	agreed  string // the revision that the server answers initialize with
	calls   map[string]*call
	first   *call // whose turn records what belongs to no other
	scrub   func(io.Reader) io.Reader
	begun   bool // the answer is a stream, and has begun
	notices int  // that told of a hold

	state    *sealedState // what the request carries of an earlier round
	declined bool         // the agent does not want to wait for an approval
}

// call is a message that was allowed and has not been answered.
type call struct {
	m     *message.Message
	d     *message.Decoded
	turn  *engine.Turn
	tree  *engine.Tree
	task  *taskRecord // of a message on a task
	rules *rules
	bytes int64
	ended bool
}

func (x *exchange) serve() {
	token, err := httpproxy.Token(x.r.Header)
	if err != nil {
		httpproxy.Deny(x.w, asDenial(err))
		return
	}
	session, err := x.open(token)
	if err != nil {
		d := asDenial(err)
		if strings.HasPrefix(d.Reason(), "identity/") {
			x.w.Header().Set("WWW-Authenticate", `Bearer realm="regate", resource_metadata="`+x.resource+`"`)
		}
		httpproxy.Deny(x.w, d)
		return
	}
	x.session = session
	defer session.Release()
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	go func() {
		select {
		case <-session.Done(): // revoked, expired: what runs ends
			cancel()
		case <-ctx.Done():
		}
	}()
	x.ctx, x.calls = ctx, map[string]*call{}
	x.owner = ownerOf(session.Identity().Subject, session.Identity().Actor)
	if x.given = x.r.Header.Get("Mcp-Session-Id"); x.given != "" {
		var known sealedSession
		if err := x.s.seal.open(x.given, &known, "session", x.t.Name, x.owner); err != nil {
			x.write(http.StatusNotFound, failure("", message.CodeInvalidRequest, "there is no such session", nil))
			return
		}
		x.id, x.version = known.ID, known.Version
	}
	switch x.r.Method {
	case http.MethodPost:
		x.post()
	case http.MethodGet, http.MethodDelete:
		x.bare()
	default:
		x.w.Header().Set("Allow", "GET, POST, DELETE")
		x.write(http.StatusMethodNotAllowed, failure("", message.CodeInvalidRequest, "the method is none of MCP's", nil))
	}
}

func (x *exchange) open(token string) (*engine.Pooled[sessionKey, struct{}], error) {
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		host = x.r.RemoteAddr
	}
	client := Client{Address: x.r.RemoteAddr, Application: shorten(x.r.UserAgent()), TLS: x.secure}
	key := sessionKey{token: sha256.Sum256([]byte(token)), target: x.t.Name, host: host}
	ctx := context.WithoutCancel(x.r.Context())
	return x.s.sessions.Acquire(x.r.Context(), key, func() (*engine.Session, error) {
		id, err := x.s.gate.Authenticate(ctx, token, x.t.Name)
		if err != nil {
			return nil, err
		}
		return x.s.gate.Open(ctx, hello(x.t.Name, x.t.Labels, id, client, "http"))
	})
}

// post takes the messages of a POST to the gate, and those that may go to the
// server.
func (x *exchange) post() {
	media, _, err := mime.ParseMediaType(x.r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		x.write(http.StatusUnsupportedMediaType, failure("", message.CodeParse, "the content type is not application/json", nil))
		return
	}
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	raw, err := io.ReadAll(io.LimitReader(x.r.Body, message.MaxMessage+1))
	_ = control.SetReadDeadline(time.Time{})
	if err != nil {
		return // the agent is gone
	}
	if len(raw) > message.MaxMessage {
		x.refuse(&message.Refusal{Reason: message.ReasonTooLarge, Code: message.CodeInvalidRequest, Message: "the message is larger than 4 MiB"}, "")
		return
	}
	list, batch, err := message.Parse(raw)
	version := x.r.Header.Get("Mcp-Protocol-Version")
	if version == "" {
		version = x.version
	}
	if err == nil && batch && version != message.Version2025a {
		err = message.NoBatch(version)
	}
	if err != nil {
		x.refuse(err, "")
		return
	}
	if !batch {
		m, err := x.unseal(list[0])
		if err != nil {
			x.refuse(err, list[0].ID)
			return
		}
		list[0], raw = m, m.Raw
	}
	for _, m := range list {
		c, reply, status := x.decide(m, version, batch)
		if reply != nil {
			for _, before := range x.calls { // a batch goes as a whole or not at all
				before.end(engine.Outcome{Code: "mcp/batch-denied", Message: "another message of the batch was denied", Cancelled: true})
			}
			x.write(status, reply)
			return
		}
		if x.first == nil {
			x.first = c
		}
		if m.Kind == message.Request {
			if x.calls[m.ID] != nil {
				x.refuse(&message.Refusal{Reason: message.ReasonMalformed, Code: message.CodeInvalidRequest, Message: "two requests of a batch have one id"}, m.ID)
				return
			}
			x.calls[m.ID] = c
		}
	}
	x.send(raw)
}

// bare is a GET or a DELETE: the server's session by itself.
func (x *exchange) bare() {
	d := message.Session(x.t.Name, x.version, x.r.Method)
	m := &message.Message{Kind: message.Notification, Method: x.r.Method}
	turn, err := x.session.Request(x.ctx, gateRequest(d))
	if err != nil {
		httpproxy.Deny(x.w, asDenial(err))
		return
	}
	x.first = &call{m: m, d: d, turn: turn}
	tree, err := turn.Tree(x.ctx, []input.Field{{Name: x.r.Method, Type: "application/json", Sources: []string{}, Derivation: input.Opaque}})
	if err != nil {
		x.first.end(engine.Outcome{Code: asDenial(err).Reason(), Message: asDenial(err).Message})
		httpproxy.Deny(x.w, asDenial(err))
		return
	}
	x.first.tree, x.first.rules = tree, newRules(x.s.keyring, tree)
	x.send(nil)
}

// refuse answers and records what is refused whatever policies say.
func (x *exchange) refuse(err error, id string) {
	body, status := x.refused(err, id)
	x.write(status, body)
}

func (x *exchange) refused(err error, id string) (body []byte, status int) {
	d := x.unreadable(err)
	var refusal *message.Refusal
	if !errors.As(err, &refusal) {
		return failure(id, codeDenied, d.Message, toldOf(d)), http.StatusForbidden
	}
	return failure(id, refusal.Code, refusal.Message, toldOf(d)), http.StatusBadRequest
}

// unreadable records what is refused before policies are asked.
func (x *exchange) unreadable(err error) *engine.Denial {
	var refusal *message.Refusal
	if !errors.As(err, &refusal) {
		return asDenial(err)
	}
	d := denialOf(refusal)
	p := message.Unreadable(x.t.Name, x.transport(), refusal)
	x.session.Refuse(&engine.Request{Action: p.Action, Resource: p.Resource, Detail: p.Detail, Unknown: p.Unknown, Writes: true, Summary: "unreadable message"}, d)
	return d
}

// passed are headers of an agent that the server gets.
var passed = []string{"Mcp-Protocol-Version", "Mcp-Method", "Mcp-Name", "User-Agent"}

// request is one to the server, with the gateway's credential and without the
// agent's.
func (x *exchange) request(ctx context.Context, body []byte) (*http.Request, error) {
	if len(x.t.Command) > 0 {
		ctx = stdio.WithOwner(ctx, string(bound("process", x.t.Name, x.owner)))
	}
	out, err := http.NewRequestWithContext(ctx, x.r.Method, x.t.Upstream, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, values := range x.r.Header {
		if strings.HasPrefix(name, "Mcp-Param-") {
			out.Header[name] = values
		}
	}
	for _, name := range passed {
		if v := x.r.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	if x.id != "" {
		out.Header.Set("Mcp-Session-Id", x.id)
	}
	if x.r.Method == http.MethodPost {
		out.Header.Set("Content-Type", "application/json")
		out.Header.Set("Accept", "application/json, text/event-stream")
	} else {
		out.Header.Set("Accept", "text/event-stream")
	}
	out.Header.Set("Accept-Encoding", "identity")
	x.scrub = func(r io.Reader) io.Reader { return r }
	if x.t.Credential != nil {
		if x.scrub, err = x.t.Credential.Add(out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// end records how a call ended, once.
func (c *call) end(o engine.Outcome) {
	if !c.ended {
		c.ended = true
		o.Bytes = c.bytes
		c.turn.Done(o)
	}
}

func shorten(s string) string {
	const most = 300
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}
