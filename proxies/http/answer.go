package httpproxy

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/http/body"
	"github.com/regate-dev/regate/proxies/http/request"
)

// The formats of what is recorded of an answer.
const (
	formatHead = "http/head" // JSON: status and headers, as the agent gets them
	formatBody = "http/body" // the body as the agent gets it
)

// chunk is how much of an answer is recorded and released at once, in bytes.
const chunk = 64 << 10

// kept back: what is the gateway's own to say, and what would lead the agent
// around it.
var keptBack = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"Alt-Svc", "Public-Key-Pins", "Server-Timing",
}

// changed are headers that are no longer true of a body that was masked.
var changed = []string{
	"Content-Length", "Content-Encoding", "Etag", "Last-Modified", "Digest", "Content-Digest", "Repr-Digest", "Content-Md5", "Accept-Ranges", "Signature", "Signature-Input",
}

// carriage is how a body is carried.
type carriage int

const (
	asIs carriage = iota
	asJSON
	asEvents
	asText
)

// answer masks, records and passes on what the upstream answered.
func (x *exchange) answer(ctx context.Context, resp *http.Response) {
	media, params, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	tree, err := x.turn.Tree(ctx, []input.Field{{Name: "body", Type: media, Sources: []string{}, Derivation: input.Opaque}})
	if err != nil {
		x.stop(asDenial(err), false)
		return
	}
	empty := x.r.Method == http.MethodHead || resp.StatusCode == http.StatusNoContent || resp.StatusCode == http.StatusNotModified || resp.ContentLength == 0
	how, rules := asIs, (*body.Rules)(nil)
	if media == "text/event-stream" {
		how = asEvents
	}
	if tree != nil && !empty {
		rules = body.NewRules(x.s.keyring, tree)
		ok := false
		if how, ok = carry(rules, media, params["charset"], resp.StatusCode); !ok {
			x.stop(&engine.Denial{
				Reasons: []string{ReasonUnmaskable}, Message: "the answer is " + strconv.Quote(media) + ", which cannot be masked as policy says",
				Hint: "Ask for JSON, or tell the policy's owner.",
			}, false)
			return
		}
	}
	in := io.Reader(resp.Body)
	if (rules != nil || len(x.words) > 0) && !empty && resp.Header.Get("Content-Encoding") != "" {
		plain, err := request.Decoded(resp.Body, resp.Header.Get("Content-Encoding"))
		if err != nil {
			x.stop(&engine.Denial{Reasons: []string{ReasonProtocolError}, Message: "the answer has a content coding that cannot be taken off"}, false)
			return
		}
		defer plain.Close()
		in = plain
		resp.Header.Del("Content-Length")
		resp.Header.Del("Content-Encoding")
	}
	if len(x.words) > 0 {
		scrubHeader(resp.Header, x.words)
		in = newScrubbed(in, x.words)
	}
	x.head(resp, rules != nil, tree)
	o := &released{ctx: ctx, x: x, limit: x.turn.Limit.Bytes, control: http.NewResponseController(x.w)}
	err = o.head(resp.StatusCode, how == asEvents || !empty && resp.Header.Get("Content-Length") == "")
	if err == nil && empty {
		err = o.release()
	} else if err == nil {
		err = o.body(in, rules, how)
	}
	if err == nil {
		for name, values := range resp.Trailer {
			if rules == nil && len(x.words) == 0 { // else they are of another body
				x.w.Header()[http.TrailerPrefix+name] = values
			}
		}
	}
	x.done(ctx, o, resp.StatusCode, err)
}

// carry chooses how a body that masks apply to is carried. It is false where
// they cannot be applied.
func carry(rules *body.Rules, media, charset string, status int) (carriage, bool) {
	if charset != "" && !strings.EqualFold(charset, "utf-8") && !strings.EqualFold(charset, "us-ascii") || status == http.StatusPartialContent {
		return asIs, false
	}
	switch {
	case media == "application/json", strings.HasSuffix(media, "+json"), media == "application/x-ndjson", media == "application/jsonl", media == "application/ndjson":
		return asJSON, true
	case media == "text/event-stream":
		return asEvents, true
	case rules.Fields():
		return asIs, false // a text has no fields: anything could be anywhere
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "+xml"), media == "application/xml", media == "application/javascript", media == "application/yaml":
		return asText, true
	}
	return asIs, false
}

// head writes the answer's headers as the agent gets them.
func (x *exchange) head(resp *http.Response, masked bool, tree *engine.Tree) {
	h := x.w.Header()
	drop := append([]string{}, keptBack...)
	for _, list := range resp.Header["Connection"] {
		for name := range strings.SplitSeq(list, ",") {
			drop = append(drop, http.CanonicalHeaderKey(strings.TrimSpace(name)))
		}
	}
	for name, values := range resp.Header {
		h[name] = values
	}
	for _, name := range drop {
		delete(h, name)
	}
	if resp.Header.Get("Content-Type") == "" {
		h["Content-Type"] = nil // net/http would guess one
	}
	if masked {
		for _, name := range changed {
			delete(h, name)
		}
		if !strings.Contains(h.Get("Cache-Control"), "no-store") {
			h.Set("Cache-Control", "private, no-cache")
		}
	}
	if tree != nil {
		if rule := tree.Rule(); rule.Detect != nil {
			for name, values := range h {
				if name == "Content-Type" {
					continue
				}
				for i, v := range values {
					out, found := x.s.keyring.Text(nil, []byte(v), rule.Detect, rule.DetectSpec)
					if found {
						values[i] = string(out)
					}
				}
			}
		}
	}
	if to := h.Get("Location"); to != "" && x.t.mode == "reverse" {
		h.Set("Location", x.here(to))
	}
}

// here is a Location of the upstream as the agent reaches it through the
// gateway. The gateway follows none itself.
func (x *exchange) here(to string) string {
	rest, own := strings.CutPrefix(to, x.origin.String())
	if !own && !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || rest != "" && rest[0] != '/' && own {
		return to
	}
	if !own {
		rest = to
	}
	if x.t.base != "" {
		trimmed, ok := strings.CutPrefix(rest, x.t.base)
		if !ok {
			return to
		}
		rest = trimmed
	}
	if rest = x.t.prefix + rest; rest == "" {
		return "/"
	}
	return rest
}

// done records how the exchange ended. An answer that did not come to its end
// is cut, so that the agent does not take it for all of it.
func (x *exchange) done(ctx context.Context, o *released, status int, err error) {
	outcome := engine.Outcome{Bytes: o.bytes, Tag: strconv.Itoa(status)}
	if status >= 400 {
		outcome.Code, outcome.Message = strconv.Itoa(status), http.StatusText(status)
	}
	if err == nil {
		x.turn.Done(outcome)
		return
	}
	why, limited := x.session.Ended(), errors.Is(err, errLimit)
	outcome.Code, outcome.Message, outcome.Limited = ReasonTruncated, "the answer ended early", limited
	switch {
	case limited:
		outcome.Code, outcome.Message = ReasonByteLimit, "the answer is longer than the policy lets it be"
	case why != nil:
		outcome.Code, outcome.Message = why.Reason(), why.Message
	case x.ctx.Err() != nil:
		outcome.Code, outcome.Message, outcome.Cancelled = engine.ReasonCancelled, "the agent went away", true
	case ctx.Err() != nil:
		outcome.Code, outcome.Message, outcome.Limited = ReasonTimeLimit, "the request took longer than the policy lets it", true
	default:
		x.s.log.WithError(err).WithField("decision", x.turn.ID()).Warn("an answer could not be carried to its end")
	}
	x.turn.Done(outcome)
	if !o.started {
		d := asDenial(err)
		var denial *engine.Denial
		if !errors.As(err, &denial) {
			d = &engine.Denial{Reasons: []string{outcome.Code}, Message: outcome.Message}
		}
		clear(x.w.Header())
		d.DecisionID = x.turn.ID()
		deny(x.w, d, x.proxied)
		return
	}
	panic(http.ErrAbortHandler)
}

var errLimit = errors.New("more bytes than the policy lets through")

// released records what the agent is about to see, and shows it when it is
// recorded.
type released struct {
	ctx     context.Context
	x       *exchange
	control *http.ResponseController
	limit   int64 // bytes of the body; 0 is none

	first   engine.Release // of the head
	status  int
	started bool // the head was sent
	stream  bool // pieces are flushed
	bytes   int64
	buf     []byte
}

func (o *released) head(status int, stream bool) error {
	text, err := json.Marshal(map[string]any{"status": status, "headers": o.x.w.Header()})
	if err != nil {
		return err
	}
	if len(text) > engine.MaxOutput {
		return errors.New("the answer's head is too large to be recorded")
	}
	o.first, o.status, o.stream = o.x.turn.Output(formatHead, text, 0), status, stream
	return nil
}

func (o *released) start() error {
	if o.started {
		return nil
	}
	if err := o.first.Wait(o.ctx); err != nil {
		return err
	}
	o.started = true
	o.x.w.WriteHeader(o.status)
	return nil
}

func (o *released) body(in io.Reader, rules *body.Rules, how carriage) error {
	done := o.flush
	if !o.stream || how == asJSON {
		done = func() error { return nil }
	}
	if how == asEvents { // the first event may take long
		if err := o.flush(); err != nil {
			return err
		}
	}
	var err error
	switch {
	case rules == nil:
		err = body.Copy(in, o.write, done)
	case how == asJSON:
		lines := o.x.w.Header().Get("Content-Type")
		if strings.Contains(lines, "ndjson") || strings.Contains(lines, "jsonl") {
			done = o.flush
		}
		err = rules.JSON(in, o.write, done)
	case how == asEvents:
		err = rules.Events(in, o.write, o.flush)
	case how == asText:
		err = rules.Text(in, o.write, done)
	}
	if err != nil {
		return err
	}
	return o.release()
}

// write takes a piece of the body.
func (o *released) write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), chunk-len(o.buf))
		o.buf = append(o.buf, p[:n]...)
		p = p[n:]
		if len(o.buf) == chunk {
			if err := o.release(); err != nil {
				return err
			}
		}
	}
	return nil
}

// flush shows what there is at once.
func (o *released) flush() error {
	if len(o.buf) == 0 && o.started {
		return nil
	}
	if err := o.release(); err != nil {
		return err
	}
	return o.control.Flush()
}

// release records and shows what was gathered.
func (o *released) release() error {
	if len(o.buf) > 0 {
		if o.limit > 0 && o.bytes+int64(len(o.buf)) > o.limit {
			return errLimit
		}
		if err := o.x.turn.Output(formatBody, o.buf, 0).Wait(o.ctx); err != nil {
			return err
		}
	}
	if err := o.start(); err != nil {
		return err
	}
	if len(o.buf) == 0 {
		return nil
	}
	n, err := o.x.w.Write(o.buf)
	o.bytes += int64(n)
	o.buf = o.buf[:0]
	return err
}
