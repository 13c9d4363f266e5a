package httpproxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/proxies/http/request"
)

// exchange is one request on its way from the agent to its answer.
type exchange struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	t       *target
	origin  request.Origin
	path    string // raw, as the upstream will see it
	query   string // raw
	token   string
	header  string // that the token came in
	proxied bool
	secure  bool // the agent's connection has TLS

	session *engine.Pooled[sessionKey, struct{}]
	turn    *engine.Turn
	ctx     context.Context
	req     *request.Request
	rest    io.Reader // what of the body was not read
	words   [][]byte  // secrets of the gateway that must not come back

	protocols []string // that a WebSocket's handshake offers
}

// serve takes the request from its token to its answer.
func (x *exchange) serve() {
	session, err := x.open()
	if err != nil {
		deny(x.w, asDenial(err), x.proxied)
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
	x.ctx = ctx
	if err := x.read(); err != nil {
		x.refuse(err)
		return
	}
	if !x.decide() {
		return
	}
	x.forward()
}

// open finds or opens the session. The error is a *engine.Denial.
func (x *exchange) open() (*engine.Pooled[sessionKey, struct{}], error) {
	host, _, err := net.SplitHostPort(x.r.RemoteAddr)
	if err != nil {
		host = x.r.RemoteAddr
	}
	h := x.r.Header
	client := Client{
		Address: x.r.RemoteAddr, Application: shorten(x.r.UserAgent()), TLS: x.secure,
		Asserted: input.Asserted{
			Purpose: shorten(h.Get("Regate-Purpose")), Ticket: shorten(h.Get("Regate-Ticket")),
			Task: shorten(h.Get("Regate-Task")), Step: shorten(h.Get("Regate-Step")),
		},
	}
	key := sessionKey{token: sha256.Sum256([]byte(x.token)), target: x.t.name, host: host, asserted: client.Asserted}
	// Others wait for the same session: it does not end with the first request.
	ctx := context.WithoutCancel(x.r.Context())
	return x.s.sessions.Acquire(x.r.Context(), key, func() (*engine.Session, error) {
		id, err := x.s.gate.Authenticate(ctx, x.token, x.t.name)
		if err != nil {
			return nil, err
		}
		return x.s.gate.Open(ctx, hello(x.t.name, x.t.labels, id, client))
	})
}

// refuse answers what is refused whatever policies say, and records it.
func (x *exchange) refuse(err error) {
	var refusal *request.Refusal
	if !errors.As(err, &refusal) {
		deny(x.w, asDenial(err), x.proxied)
		return
	}
	d := denialOf(refusal)
	p := request.Unreadable(x.t.mode, x.r.Method, x.r.Host, refusal)
	x.session.Refuse(&engine.Request{Action: p.Action, Resource: p.Resource, Detail: p.Detail, Unknown: p.Unknown, Writes: true, Summary: shorten(x.r.Method + " " + x.origin.String() + x.path)}, d)
	if !errors.Is(x.r.Context().Err(), context.Canceled) {
		x.w.Header().Set("Connection", "close") // its body may be anything
	}
	denyAs(x.w, d, refusal.Status, x.proxied)
}

// bodyPaths are what a policy reads that has to do with a body.
var bodyPaths = [][]string{{"http", "body"}, {"http", "findings"}, {"action", "secrets"}, {"action", "graphql"}, {"action", "opaque"}, {"action", "body"}, {"resource", "body_names"}, {"resource", "field_names"}}

func (s *Server) readsAny(paths [][]string) bool {
	for _, p := range paths {
		if s.reads(p...) {
			return true
		}
	}
	return false
}

// read reads the request as policies will see it.
func (x *exchange) read() error {
	if g, ok := x.r.Context().Value(guardKey{}).(*guardedConn); ok {
		if refusal := g.violation(); refusal != nil {
			return refusal
		}
	}
	in := request.Incoming{
		Mode: x.t.mode, Method: x.r.Method, Origin: x.origin, RawPath: x.path, RawQuery: x.query, Version: x.r.Proto,
		Header: x.r.Header, HasBody: x.r.Body != nil && x.r.Body != http.NoBody && x.r.ContentLength != 0,
	}
	req, err := x.t.decoder.Head(in)
	if err != nil {
		return err
	}
	x.req = req
	x.dropOwn()
	if in.HasBody {
		if err := x.readBody(); err != nil {
			return err
		}
	}
	if x.s.reads("http", "findings") || x.s.reads("action", "secrets") {
		req.Find()
	}
	return nil
}

// dropOwn takes out what is for the gateway alone.
func (x *exchange) dropOwn() {
	for _, name := range []string{"Regate-Purpose", "Regate-Ticket", "Regate-Task", "Regate-Step"} {
		x.req.Header.Del(name)
	}
	// A token for the gateway is for nobody else, in whatever form it came.
	x.req.Header.Del(x.header)
	for name, values := range x.req.Header {
		for _, v := range values {
			if x.token != "" && strings.Contains(v, x.token) {
				x.req.Header.Del(name)
				break
			}
		}
	}
}

func (x *exchange) readBody() error {
	limit := x.t.decoder.MaxBody()
	needed := x.s.readsAny(bodyPaths) || x.req.GraphQL() && x.s.reads("action", "writes")
	if x.r.ContentLength > limit {
		if needed {
			return request.TooLarge(limit)
		}
		x.rest = x.r.Body
		return nil
	}
	control := http.NewResponseController(x.w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	raw, err := io.ReadAll(io.LimitReader(x.r.Body, limit+1))
	_ = control.SetReadDeadline(time.Time{})
	if err != nil {
		return &engine.Denial{Reasons: []string{request.ReasonFraming}, Message: "the body did not arrive as its head says", Hint: "Send the request again."}
	}
	if int64(len(raw)) > limit {
		if needed {
			return request.TooLarge(limit)
		}
		x.rest = io.MultiReader(bytes.NewReader(raw), x.r.Body)
		return nil
	}
	if needed {
		return x.req.Read(raw)
	}
	x.req.Keep(raw)
	return nil
}

// decide asks the gate, and answers where the request may not go on.
func (x *exchange) decide() bool {
	asked := gateRequest(x.req)
	if x.rest != nil {
		asked.BeforeHold = func(context.Context) *engine.Denial {
			return &engine.Denial{Reasons: []string{ReasonBodyUnread}, Message: "the request needs approval, and its body is too large to be shown to who would approve", Hint: "Send less in one request."}
		}
	}
	if cred := x.t.creds[x.origin.String()]; cred != nil && !cred.covers(x.req.Resource.Path) {
		d := &engine.Denial{Reasons: []string{ReasonScope}, Message: "the path is not one that the gateway's credential is for", Hint: "Ask the operator which paths are."}
		x.session.Refuse(asked, d)
		deny(x.w, d, x.proxied)
		return false
	}
	turn, err := x.session.Request(x.ctx, asked)
	if err != nil {
		deny(x.w, asDenial(err), x.proxied)
		return false
	}
	x.turn = turn
	switch {
	case turn.Limit.Rows > 0:
		x.stop(&engine.Denial{Reasons: []string{policy.ReasonUnsupported}, Message: "the policy limits rows, and an HTTP answer has none", Hint: "Tell the policy's owner."}, false)
		return false
	case len(turn.Ruling.Masks) > 0 && (x.req.Header.Get("Range") != "" || x.req.Header.Get("If-Range") != ""):
		x.stop(&engine.Denial{Reasons: []string{ReasonRange}, Message: "a part of the answer is asked for, and it has to be masked as a whole", Hint: "Send the request without Range."}, false)
		return false
	}
	return true
}

// stop ends an allowed request with a denial.
func (x *exchange) stop(d *engine.Denial, cancelled bool) {
	d.DecisionID = x.turn.ID()
	x.turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message, Cancelled: cancelled})
	deny(x.w, d, x.proxied)
}

// forward sends exactly what was decided.
func (x *exchange) forward() {
	ctx := x.ctx
	if seconds := x.turn.Limit.Seconds; seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
		defer cancel()
	}
	out, err := x.outgoing(ctx)
	if errors.Is(err, errUnread) {
		x.stop(denialOf(request.TooLarge(x.t.decoder.MaxBody())), false)
		return
	}
	if err != nil {
		x.s.log.WithError(err).WithField("target", x.t.name).Error("the gateway has no credential for the upstream")
		x.stop(&engine.Denial{Reasons: []string{ReasonCredential}, Message: "the gateway cannot show the upstream who it is at present", Hint: "Tell the gateway's operator."}, false)
		return
	}
	if x.req.Upgrade != "" {
		x.websocket(ctx, out)
		return
	}
	resp, err := x.t.round(x.origin).RoundTrip(out)
	if err != nil {
		x.stop(x.failed(ctx, err))
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		x.stop(&engine.Denial{Reasons: []string{ReasonSwitched}, Message: "the upstream changes the protocol, which nobody has asked for"}, false)
		return
	}
	x.answer(ctx, resp)
}

func (x *exchange) outgoing(ctx context.Context) (*http.Request, error) {
	var body io.Reader
	length := int64(0)
	switch {
	case x.rest != nil:
		body, length = x.rest, x.r.ContentLength
	case len(x.req.Body) > 0:
		body, length = bytes.NewReader(x.req.Body), int64(len(x.req.Body))
	}
	u := &url.URL{Scheme: x.origin.Scheme, Host: x.origin.Authority(), Opaque: "", RawQuery: x.query}
	path, err := url.PathUnescape(x.path)
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = path, x.path
	out, err := http.NewRequestWithContext(ctx, x.r.Method, "http://x/", body)
	if err != nil {
		return nil, err
	}
	out.URL, out.Host, out.ContentLength, out.GetBody = u, x.origin.Authority(), length, nil
	if u.EscapedPath() != x.path {
		// net/url spells it otherwise: the target is given as it was decided.
		out.URL.Opaque = "//" + x.origin.Authority() + x.path
	}
	out.Header = x.req.Header.Clone()
	out.Header.Del("Content-Length")
	if x.req.Upgrade != "" {
		x.handshake(out.Header)
	}
	if x.proxied {
		out.Header.Del("Proxy-Authorization")
	}
	masked := len(x.turn.Ruling.Masks) > 0 || x.s.reads("response")
	if masked {
		// What is cached there is not what this agent may see.
		for _, name := range []string{"If-None-Match", "If-Modified-Since", "Range", "If-Range"} {
			out.Header.Del(name)
		}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header.Set("User-Agent", "") // net/http would say its own
	}
	cred := x.t.creds[x.origin.String()]
	if masked || cred != nil {
		out.Header.Set("Accept-Encoding", "gzip, br, zstd")
	} else if _, ok := out.Header["Accept-Encoding"]; !ok {
		out.Header.Set("Accept-Encoding", "identity")
	}
	if cred != nil { // the last: it may sign all that is there
		words, err := cred.inject(out, x.req.Body, x.rest == nil)
		if err != nil {
			return nil, err
		}
		x.words = spellings(words)
	}
	return out, nil
}

// failed says why there is no answer.
func (x *exchange) failed(ctx context.Context, err error) (*engine.Denial, bool) {
	var egress *errEgress
	switch why := x.session.Ended(); {
	case why != nil:
		copied := *why
		return &copied, true
	case x.ctx.Err() != nil:
		return &engine.Denial{Reasons: []string{engine.ReasonCancelled}, Message: "the request was cancelled"}, true
	case ctx.Err() != nil:
		return &engine.Denial{Reasons: []string{ReasonTimeLimit}, Message: "the request took longer than the policy lets it", Hint: "Ask for less."}, true
	case errors.As(err, &egress):
		return &engine.Denial{Reasons: []string{ReasonEgress}, Message: egress.why, Hint: "Ask the operator whether it should be allowed."}, false
	}
	x.s.log.WithError(err).WithField("target", x.t.name).Warn("the upstream does not answer")
	return &engine.Denial{Reasons: []string{ReasonUpstream}, Message: "the upstream does not answer", Hint: "Try again in a few seconds."}, false
}

// bearer returns the token of an Authorization or Proxy-Authorization header:
// as Bearer, or as the password or user of Basic, for clients that know nothing
// else.
func bearer(h http.Header, name string) (string, error) {
	lines := h[name]
	switch {
	case len(lines) > 1:
		return "", &engine.Denial{Reasons: []string{request.ReasonRepeatedHeader}, Message: "the header " + name + " is there more than once", Hint: "Send it once."}
	case len(lines) == 0:
		return "", nil
	}
	scheme, value, _ := strings.Cut(lines[0], " ")
	value = strings.TrimSpace(value)
	switch {
	case strings.EqualFold(scheme, "Bearer"):
		return value, nil
	case strings.EqualFold(scheme, "Basic"):
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return "", nil // the gate says what is missing
		}
		user, password, _ := strings.Cut(string(raw), ":")
		if password == "" {
			return user, nil
		}
		return password, nil
	}
	return "", nil
}

// shorten keeps a line for people short.
func shorten(s string) string {
	const most = 300
	if len(s) <= most {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
