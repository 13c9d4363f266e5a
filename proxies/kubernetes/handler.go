package kubernetes

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
	"github.com/regate-dev/regate/proxies/kubernetes/rewrite"
)

// bodyTimeout bounds the time in which an agent sends a body.
const bodyTimeout = 30 * time.Second

// quiet sends what net/http complains of (mostly clients that go away in the
// middle of a handshake) to the log's lowest level.
func quiet(l logrus.FieldLogger) *log.Logger {
	return log.New(writerFunc(func(p []byte) (int, error) {
		l.Debug(strings.TrimSpace(string(p)))
		return len(p), nil
	}), "", 0)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func (s *Server) handler(behind []*target, secure bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, rest := route(behind, r.Host, r.RequestURI)
		if t == nil {
			deny(w, &engine.Denial{
				Reasons: []string{ReasonTarget}, Message: "there is no cluster by this name here",
				Hint: "Ask for " + clusterPrefix + "<name>, as `regate kubeconfig` writes it.",
			})
			return
		}
		s.serve(w, r, t, rest, secure)
	})
}

// serve takes one request from its token to its answer.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, t *target, requestTarget string, secure bool) {
	session, err := s.session(r, t, secure)
	if err != nil {
		deny(w, asDenial(err))
		return
	}
	defer session.Release()

	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	done := session.Done()
	go func() {
		select {
		case <-done: // revoked, expired: what runs ends
			cancel()
		case <-ctx.Done():
		}
	}()

	raw := request.Raw{Method: r.Method, Target: requestTarget, Header: r.Header}
	var refusal *request.Refusal
	if raw.Body, refusal = readBody(w, r); refusal == nil {
		var decoded *request.Request
		if decoded, refusal = request.Decode(raw, request.Options{Fingerprint: s.fingerprint}); refusal == nil {
			s.decided(ctx, w, r, session, t, decoded, raw)
			return
		}
	}
	denial := refused(refusal)
	session.Refuse(askUnread(raw, refusal), denial)
	deny(w, denial)
}

// session finds or opens the session of a request. The error is a
// *engine.Denial.
func (s *Server) session(r *http.Request, t *target, secure bool) (*session, error) {
	token, err := bearer(r.Header)
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	client := Client{
		Address: r.RemoteAddr, Application: shorten(r.UserAgent()), TLS: secure,
		Asserted: input.Asserted{
			Purpose: shorten(r.Header.Get("Regate-Purpose")), Ticket: shorten(r.Header.Get("Regate-Ticket")),
			Task: shorten(r.Header.Get("Regate-Task")), Step: shorten(r.Header.Get("Regate-Step")),
		},
	}
	key := sessionKey{token: sha256.Sum256([]byte(token)), target: t.Name, host: host, asserted: client.Asserted}
	// Others wait for the same session: it does not end with the first request.
	ctx := context.WithoutCancel(r.Context())
	got, err := s.sessions.Acquire(r.Context(), key, func() (*engine.Session, error) {
		id, err := s.gate.Authenticate(ctx, token, t.Name)
		if err != nil {
			return nil, err
		}
		acts, err := t.Impersonate.of(id)
		if err != nil {
			return nil, &engine.Denial{Reasons: []string{ReasonImpersonate}, Message: err.Error(), Hint: "Use another identity, or set a prefix in the configuration."}
		}
		return s.gate.Open(ctx, hello(t.Name, t.Labels, acts.Get("Impersonate-User"), t.serverVersion(ctx), id, client))
	})
	if d := asDenial(err); err != nil && d.Reason() == engine.ReasonTooManySessions {
		d.Reasons = []string{ReasonTooMany} // the id that clients know from here
	}
	return got, err
}

// bearer returns the token of a request. There must be one way to say who one
// is, said once.
func bearer(h http.Header) (string, error) {
	lines := h["Authorization"]
	if len(lines) > 1 {
		return "", &engine.Denial{Reasons: []string{request.ReasonHeader}, Message: "the header Authorization is there more than once", Hint: "Send it once."}
	}
	if len(lines) == 0 {
		return "", nil // the gate says what is missing
	}
	scheme, token, ok := strings.Cut(lines[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return "", nil
	}
	return strings.TrimSpace(token), nil
}

// readBody reads a body as far as the API server would.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, *request.Refusal) {
	if r.Body == nil || r.Body == http.NoBody || r.ContentLength == 0 {
		return nil, nil
	}
	tooLarge := &request.Refusal{Reason: request.ReasonTooLarge, Message: "the body is larger than 3 MiB", Hint: "The API server takes no more either."}
	if r.ContentLength > request.MaxBody {
		return nil, tooLarge
	}
	control := http.NewResponseController(w)
	_ = control.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer func() { _ = control.SetReadDeadline(time.Time{}) }()
	body, err := io.ReadAll(io.LimitReader(r.Body, request.MaxBody+1))
	if err != nil {
		return nil, &request.Refusal{Reason: request.ReasonBody, Message: "the body did not arrive"}
	}
	if len(body) > request.MaxBody {
		return nil, tooLarge
	}
	return body, nil
}

// fingerprint stands for a value that policies and records do not get: a keyed
// hash.
func (s *Server) fingerprint(value []byte) string {
	out, _ := s.keyring.Field(nil, value, mask.Spec{Method: mask.Hash}, "kubernetes/body")
	return string(out)
}

// decided asks the gate about a request and, where it says so, sends it on.
func (s *Server) decided(ctx context.Context, w http.ResponseWriter, hr *http.Request, session *session, t *target, r *request.Request, raw request.Raw) {
	if before := session.Own.recall(r); before != nil {
		deny(w, before) // decided and recorded a moment ago
		return
	}
	if d := streamDenial(r, hr.Header); d != nil {
		session.Refuse(ask(r), d)
		deny(w, d)
		return
	}
	known := s.resolve(ctx, session, t, r, raw)
	asked := ask(known.request)
	asked.Bind = func(ctx context.Context) (*engine.Request, *engine.Denial) {
		if d := s.bind(ctx, session, t, known); d != nil {
			return nil, d
		}
		return ask(known.request), nil
	}
	turn, err := session.Request(ctx, asked)
	r, raw = known.request, known.raw
	if err == nil && known.denial == nil {
		known.denial = s.changed(ctx, session, t, known)
	}
	if err == nil && known.denial != nil { // policies would allow what is not known
		turn.Done(engine.Outcome{Code: known.denial.Reason(), Message: known.denial.Message})
		known.denial.DecisionID = turn.ID()
		err = known.denial
	}
	if err != nil {
		session.Own.remember(r, asDenial(err))
		deny(w, asDenial(err))
		return
	}
	if d := writtenBack(turn, r); d != nil {
		d.DecisionID = turn.ID()
		turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message})
		deny(w, d)
		return
	}
	if r.Action.Upgrade != "" {
		s.stream(ctx, w, hr, session, t, turn, r)
		return
	}
	if s.review(ctx, w, session, turn, r) {
		return
	}
	resp, err := s.forward(ctx, session, t, turn, r, raw)
	if err != nil {
		d := s.unreachable(ctx, session, t, turn, err)
		deny(w, d)
		return
	}
	defer resp.Body.Close()
	s.answer(ctx, w, session, turn, r, resp)
}

// writtenBack refuses a write of what a mask left of a value.
func writtenBack(turn *engine.Turn, r *request.Request) *engine.Denial {
	if !r.IsResource || len(r.Bodies) == 0 {
		return nil
	}
	var fields []string
	for _, m := range turn.Ruling.Masks {
		if m.Field != "" {
			fields = append(fields, m.Field)
		}
	}
	for _, body := range r.Bodies {
		if at := rewrite.WrittenBack(body, fields, r.Resource.Type); at != "" {
			return &engine.Denial{
				Reasons: []string{ReasonWrittenBack}, Message: "the value at " + shorten(at) + " is one that a mask wrote: the real one would be lost",
				Hint: "Leave the field out: use a patch that names only what changes.",
			}
		}
	}
	return nil
}

func (s *Server) unreachable(ctx context.Context, session *session, t *target, turn *engine.Turn, err error) *engine.Denial {
	if why := session.Ended(); why != nil {
		turn.Done(engine.Outcome{Code: why.Reason(), Message: why.Message, Cancelled: true})
		return why
	}
	if ctx.Err() != nil {
		turn.Done(engine.Outcome{Code: engine.ReasonCancelled, Message: "the agent went away", Cancelled: true})
		return &engine.Denial{Reasons: []string{engine.ReasonCancelled}, Message: "the request was cancelled", DecisionID: turn.ID()}
	}
	s.log.WithError(err).WithField("target", t.Name).Error("the API server cannot be reached")
	turn.Done(engine.Outcome{Code: ReasonUpstream, Message: "the API server cannot be reached"})
	return &engine.Denial{Reasons: []string{ReasonUpstream}, Message: "the API server cannot be reached at present", Hint: "Try again in a few seconds.", DecisionID: turn.ID()}
}

// passed are the headers of an agent that the API server gets. Everything else
// is left out: credentials, identities, and whatever Connection may name.
var passed = []string{"Content-Type", "User-Agent", "If-None-Match", "If-Modified-Since", "Kubectl-Command", "Kubectl-Session"}

// forward sends a request on: exactly what was decided, with the gateway's
// credential.
func (s *Server) forward(ctx context.Context, session *session, t *target, turn *engine.Turn, r *request.Request, raw request.Raw) (*http.Response, error) {
	u := *t.base
	u.Path += r.URL.Path
	u.RawQuery = r.URL.RawQuery
	out, err := http.NewRequestWithContext(ctx, raw.Method, u.String(), bytes.NewReader(raw.Body))
	if err != nil {
		return nil, err
	}
	if out.URL.Path != u.Path {
		return nil, errors.New("the path changed on the way") // it was decided as it is
	}
	for _, name := range passed {
		if v := raw.Header.Get(name); v != "" {
			out.Header.Set(name, v)
		}
	}
	out.Header.Set("Accept", raw.Header.Get("Accept"))
	if len(turn.Ruling.Masks) > 0 || s.reads("response") {
		out.Header.Set("Accept", maskable(r.Detail.Accept))
		out.Header.Del("If-None-Match") // what is cached there is not what this agent may see
		out.Header.Del("If-Modified-Since")
	}
	acts, err := t.Impersonate.of(session.Identity())
	if err != nil {
		return nil, err
	}
	for name, values := range acts {
		out.Header[name] = values
	}
	return t.round.RoundTrip(out)
}

// maskable keeps of the accepted media types those that can be masked.
func maskable(accepted []string) string {
	var keep []string
	for _, a := range accepted {
		media, _, _ := strings.Cut(a, ";")
		switch strings.TrimSpace(strings.ToLower(media)) {
		case "application/json", "text/plain":
			keep = append(keep, a)
		}
	}
	if len(keep) == 0 {
		return "application/json"
	}
	return strings.Join(keep, ",")
}

func asDenial(err error) *engine.Denial {
	var d *engine.Denial
	if errors.As(err, &d) {
		return d
	}
	return &engine.Denial{Reasons: []string{engine.ReasonInternal}, Message: "regate failed", Fatal: true}
}
