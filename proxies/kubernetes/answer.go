package kubernetes

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
	"github.com/regate-dev/regate/proxies/kubernetes/rewrite"
)

// How much of an answer is recorded and released at once, in bytes: of one that
// is whole, and of a stream.
const (
	chunk       = 128 << 10
	streamChunk = 8 << 10
)

// The formats of what is recorded of an answer.
const (
	formatHead = "kubernetes/head" // JSON: status and headers, as the agent gets them
	formatBody = "kubernetes/body" // the body as the agent gets it
)

// returned are the headers of the API server that an agent gets.
var returned = []string{
	"Content-Type", "Cache-Control", "Etag", "Last-Modified", "Vary", "Warning", "Retry-After", "Audit-Id", "Location", "Allow",
	"X-Kubernetes-Pf-Flowschema-Uid", "X-Kubernetes-Pf-Prioritylevel-Uid", "X-Content-Type-Options", "Date",
}

// answer masks, records and passes on what the API server answered.
func (s *Server) answer(ctx context.Context, w http.ResponseWriter, session *session, turn *engine.Turn, r *request.Request, resp *http.Response) {
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	tree, err := turn.Tree(ctx, []input.Field{{
		Name: r.Summary(), Type: media, Sources: []string{sourceOf(r)}, Derivation: input.Exact,
	}})
	if err != nil {
		d := asDenial(err)
		turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message})
		deny(w, d)
		return
	}
	out := &released{ctx: ctx, turn: turn, w: w, control: http.NewResponseController(w)}
	var masker *rewrite.Masker
	if tree != nil && !public(r) {
		if masker = rewrite.New(s.keyring, tree, r.Resource.Type); masker.Idle() {
			masker = nil
		}
	}
	how, ok := carry(masker, r, resp, media)
	if !ok {
		d := &engine.Denial{
			Reasons: []string{ReasonUnmaskable}, Message: "the answer is " + strconv.Quote(media) + ", which cannot be masked as policy says",
			Hint: "Ask for application/json.", DecisionID: turn.ID(),
		}
		turn.Done(engine.Outcome{Code: d.Reason(), Message: d.Message})
		deny(w, d)
		return
	}
	for _, name := range returned {
		if v := resp.Header[name]; len(v) > 0 {
			w.Header()[name] = v
		}
	}
	if masker != nil {
		w.Header().Del("Etag")
		if masker.Reaches() && how != asEvents {
			w.Header().Add("Warning", `299 regate "values that policy masks are not shown"`)
		}
	} else if resp.ContentLength >= 0 && resp.Header.Get("Content-Encoding") == "" {
		w.Header().Set("Content-Length", strconv.FormatInt(resp.ContentLength, 10))
	}
	out.whole = whole(r)
	err = out.head(resp.StatusCode)
	if err == nil {
		err = s.body(out, masker, how, resp)
	}
	if err == nil {
		err = out.begin(nil)
	}
	outcome := engine.Outcome{Rows: out.rows, Bytes: out.bytes, Tag: strconv.Itoa(resp.StatusCode)}
	if resp.StatusCode >= 400 {
		outcome.Code = strconv.Itoa(resp.StatusCode)
		outcome.Message = http.StatusText(resp.StatusCode)
	}
	if err != nil {
		outcome.Cancelled = ctx.Err() != nil
		outcome.Code, outcome.Message = ReasonTruncated, "the answer ended early"
		if why := session.Ended(); why != nil {
			outcome.Code, outcome.Message = why.Reason(), why.Message
		}
	}
	turn.Done(outcome)
	if err == nil || how == asEvents && session.Ended() != nil {
		return // a watch that ends is begun anew, and then hears why
	}
	if ctx.Err() == nil {
		s.log.WithError(err).WithField("decision", turn.ID()).Warn("an answer could not be carried to its end")
	}
	panic(http.ErrAbortHandler) // the agent must not take half an answer for all of it
}

// sourceOf names what an answer is about for policies that read the response.
func sourceOf(r *request.Request) string {
	if !r.IsResource {
		return r.Resource.Path
	}
	return r.Resource.Type + ":"
}

// public reports whether a path tells of the API and not of what is in it.
func public(r *request.Request) bool {
	if r.IsResource {
		return false
	}
	p := r.Resource.Path + "/"
	for _, prefix := range []string{"/api/", "/apis/", "/openapi/", "/version/", "/healthz/", "/livez/", "/readyz/"} {
		if strings.HasPrefix(p, prefix) {
			return true
		}
	}
	return false
}

// whole reports whether an answer is made at once, so that nobody waits for a
// piece of it: not a watch, a log or what other servers send.
func whole(r *request.Request) bool {
	if r.Action.Stream != "" {
		return false
	}
	switch {
	case !r.IsResource:
		return public(r)
	case r.Resource.Subresource == "", r.Resource.Subresource == "status", r.Resource.Subresource == "scale":
		return true
	}
	return false
}

// The ways to carry a body.
type carriage int

const (
	asIs       carriage = iota
	asDocument          // one JSON document
	asEvents            // a watch
	asText              // lines of text
)

// carry chooses how a body is carried. It is false where a mask must be applied
// and cannot be.
func carry(m *rewrite.Masker, r *request.Request, resp *http.Response, media string) (carriage, bool) {
	watch := r.Action.Stream == "watch" && resp.StatusCode == http.StatusOK
	switch {
	case m == nil && watch:
		return asEvents, true
	case m == nil:
		return asIs, true
	case resp.Header.Get("Content-Encoding") != "":
		return asIs, false
	case resp.StatusCode == http.StatusNoContent, resp.StatusCode == http.StatusNotModified:
		return asIs, true
	case media == "application/json" && watch:
		return asEvents, true
	case media == "application/json":
		return asDocument, true
	case media == "text/plain":
		return asText, true
	}
	return asIs, false
}

func (s *Server) body(out *released, m *rewrite.Masker, how carriage, resp *http.Response) error {
	switch {
	case m == nil:
		if !out.whole { // it may be open for hours, with nothing to carry
			return out.copy(resp.Body, make([]byte, streamChunk))
		}
		buffer := s.buffers.Get().(*[]byte)
		defer s.buffers.Put(buffer)
		return out.copy(resp.Body, *buffer)
	case how == asDocument:
		w := &gathered{to: out}
		err := m.Document(w, resp.Body, resp.StatusCode >= 400)
		out.rows = m.Objects
		if err != nil {
			return err
		}
		return w.flush()
	case how == asEvents:
		return out.events(resp.Body, m)
	case how == asText:
		buffer := s.buffers.Get().(*[]byte)
		defer s.buffers.Put(buffer)
		return out.text(resp.Body, m)
	}
	return nil
}

// released records what the agent is about to see, and shows it when it is
// recorded.
type released struct {
	ctx     context.Context
	turn    *engine.Turn
	w       http.ResponseWriter
	control *http.ResponseController

	whole bool // nobody waits for a piece of it
	code  int  // of the head, where it was not shown yet

	bytes, rows int64
	counted     int64 // rows that were recorded
}

// head records and shows status and headers. Those of a whole answer go with its
// first piece.
func (o *released) head(code int) error {
	o.code = code
	if o.whole {
		return nil
	}
	if err := o.begin(nil); err != nil {
		return err
	}
	// A watch without events has no body for a long time.
	return o.control.Flush()
}

// begin records the head, with the first piece, and shows it. It does nothing
// the second time.
func (o *released) begin(first []byte) error {
	if o.code == 0 {
		return nil
	}
	text, err := json.Marshal(map[string]any{"status": o.code, "headers": o.w.Header()})
	if err != nil {
		return err
	}
	recorded := []engine.Release{o.turn.Output(formatHead, text, 0)}
	if len(first) > 0 { // they share a frame of the journal
		recorded = append(recorded, o.turn.Output(formatBody, first, o.rows-o.counted))
		o.counted = o.rows
	}
	for _, r := range recorded {
		if err := r.Wait(o.ctx); err != nil {
			return err
		}
	}
	o.w.WriteHeader(o.code)
	o.code = 0
	return nil
}

// write records and shows one piece.
func (o *released) write(p []byte) error {
	for len(p) > 0 {
		n := min(len(p), engine.MaxOutput)
		if o.code != 0 {
			if err := o.begin(p[:n]); err != nil {
				return err
			}
		} else {
			if err := o.turn.Output(formatBody, p[:n], o.rows-o.counted).Wait(o.ctx); err != nil {
				return err
			}
			o.counted = o.rows
		}
		if _, err := o.w.Write(p[:n]); err != nil {
			return err
		}
		o.bytes += int64(n)
		p = p[n:]
	}
	return nil
}

// copy passes a body on as it is. A stream is flushed piece by piece.
func (o *released) copy(r io.Reader, buffer []byte) error {
	for {
		n, err := r.Read(buffer)
		for o.whole && n < len(buffer) && err == nil {
			var more int
			more, err = r.Read(buffer[n:])
			n += more
		}
		if n > 0 {
			if err := o.write(buffer[:n]); err != nil {
				return err
			}
			if !o.whole {
				if err := o.control.Flush(); err != nil {
					return err
				}
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// events passes a watch on, event by event.
func (o *released) events(r io.Reader, m *rewrite.Masker) error {
	dec := jsontext.NewDecoder(r)
	for {
		w := &gathered{to: o}
		err := m.Event(w, dec)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		o.rows++
		if err := w.flush(); err != nil {
			return err
		}
		if err := o.control.Flush(); err != nil {
			return err
		}
	}
}

// text passes a log on, with what detectors find masked. What may become a
// value to mask is held back for holdBack at most: a log that is followed may
// say nothing more for hours.
func (o *released) text(r io.Reader, m *rewrite.Masker) error {
	stream, ok := m.Text()
	if !ok {
		return o.write([]byte(rewrite.Withheld + "\n"))
	}
	ctx, cancel := context.WithCancel(o.ctx)
	defer cancel()
	pieces := make(chan message)
	go func() {
		for {
			data := make([]byte, chunk)
			n, err := r.Read(data)
			select {
			case pieces <- message{data[:n], err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	quiet := time.NewTimer(holdBack)
	defer quiet.Stop()
	var out []byte
	for {
		var end error
		select {
		case p := <-pieces:
			out, end = stream.Write(out[:0], p.data), p.err
			if end != nil {
				out = stream.Flush(out)
			}
			quiet.Reset(holdBack)
		case <-quiet.C:
			out = stream.Flush(out[:0])
		case <-ctx.Done():
			return ctx.Err()
		}
		if len(out) > 0 {
			if err := o.write(out); err != nil {
				return err
			}
			if err := o.control.Flush(); err != nil {
				return err
			}
		}
		if errors.Is(end, io.EOF) {
			return nil
		}
		if end != nil {
			return end
		}
	}
}

// gathered collects small pieces to chunks.
type gathered struct {
	to  *released
	buf []byte
}

// Write implements io.Writer.
func (g *gathered) Write(p []byte) (int, error) {
	g.buf = append(g.buf, p...)
	if len(g.buf) >= chunk {
		return len(p), g.flush()
	}
	return len(p), nil
}

func (g *gathered) flush() error {
	err := g.to.write(g.buf)
	g.buf = g.buf[:0]
	return err
}
