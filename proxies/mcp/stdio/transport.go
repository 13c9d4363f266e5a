package stdio

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/proxies/mcp/message"
)

// Options say what to run.
type Options struct {
	Command []string // program and arguments
	Dir     string   // working folder; "": that of the gateway
	// Env returns the environment, beside PATH, HOME, LANG and TMPDIR of the
	// gateway's: KEY=value.
	Env  func() ([]string, error)
	Max  int           // processes at once; 0 means 100
	Idle time.Duration // after which a process that nobody uses ends; 0 means 10 minutes
	Log  logrus.FieldLogger
}

// Transport is an http.RoundTripper. Its URL does not matter.
type Transport struct {
	o    Options
	stop chan struct{}

	mu     sync.Mutex
	live   map[string]*process // by session id, or by owner
	closed bool
	ends   sync.WaitGroup
}

// New returns a transport that runs nothing yet.
func New(o Options) *Transport {
	if o.Max == 0 {
		o.Max = 100
	}
	if o.Idle == 0 {
		o.Idle = 10 * time.Minute
	}
	t := &Transport{o: o, stop: make(chan struct{}), live: map[string]*process{}}
	t.ends.Go(t.sweep)
	return t
}

type ownerKey struct{}

// WithOwner says whose requests those of ctx are: in the modern era they share a
// process with no others.
func WithOwner(ctx context.Context, owner string) context.Context {
	return context.WithValue(ctx, ownerKey{}, owner)
}

// ErrFull is returned while there are too many processes.
var ErrFull = errors.New("too many processes of the server run already")

// errClosed is returned after Close.
var errClosed = errors.New("the gateway stops")

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	raw, err := body(r)
	if err != nil {
		return nil, err
	}
	id := r.Header.Get("Mcp-Session-Id")
	switch r.Method {
	case http.MethodGet:
		if p := t.find(id); p != nil {
			return stream(r, p.listen(), ""), nil
		}
		return plain(r, http.StatusNotFound), nil
	case http.MethodDelete:
		p := t.find(id)
		if p == nil {
			return plain(r, http.StatusNotFound), nil
		}
		p.end()
		return plain(r, http.StatusNoContent), nil
	case http.MethodPost:
	default:
		return plain(r, http.StatusMethodNotAllowed), nil
	}
	list, batch, err := message.Parse(raw)
	if err != nil {
		return nil, err
	}
	fresh := ""
	var p *process
	switch {
	case id != "":
		if p = t.find(id); p == nil {
			return plain(r, http.StatusNotFound), nil
		}
	case list[0].Method == "initialize":
		fresh = rand.Text()
		p, err = t.begin(fresh)
	case message.Era(r.Header.Get("Mcp-Protocol-Version")) == "modern":
		owner, _ := r.Context().Value(ownerKey{}).(string)
		p, err = t.shared("owner " + owner)
	default:
		return plain(r, http.StatusBadRequest), nil
	}
	if err != nil {
		return nil, err
	}
	var asked []*message.Message
	for _, m := range list {
		if m.Kind == message.Request {
			asked = append(asked, m)
			continue
		}
		if err := p.tell(m); err != nil {
			return nil, err
		}
	}
	switch {
	case len(asked) == 0:
		return plain(r, http.StatusAccepted), nil
	case batch:
		return nil, errors.New("a server on standard input and output gets one request at a time")
	}
	s, err := p.ask(asked[0])
	if err != nil {
		return nil, err
	}
	return stream(r, s, fresh), nil
}

func body(r *http.Request) ([]byte, error) {
	if r.Body == nil {
		return nil, nil
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

func plain(r *http.Request, status int) *http.Response {
	return &http.Response{
		StatusCode: status, Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, Request: r,
	}
}

func stream(r *http.Request, s *flow, session string) *http.Response {
	out := plain(r, http.StatusOK)
	out.Header.Set("Content-Type", "text/event-stream")
	if session != "" {
		out.Header.Set("Mcp-Session-Id", session)
	}
	out.Body = &events{ctx: r.Context(), flow: s}
	return out
}

// events is a flow of messages as server-sent events.
type events struct {
	ctx  context.Context
	flow *flow
	left bytes.Buffer
}

// Read implements io.Reader.
func (e *events) Read(to []byte) (int, error) {
	if e.left.Len() == 0 {
		select {
		case m, ok := <-e.flow.out:
			if !ok {
				return 0, io.EOF
			}
			e.left.WriteString("event: message\ndata: ")
			e.left.Write(bytes.ReplaceAll(m, []byte("\r"), []byte(" ")))
			e.left.WriteString("\n\n")
		case <-e.ctx.Done():
			return 0, e.ctx.Err()
		}
	}
	return e.left.Read(to)
}

// Close implements io.Closer: nobody wants to hear more.
func (e *events) Close() error {
	e.flow.leave()
	return nil
}

func (t *Transport) find(id string) *process {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.live[id]
}

// shared returns the process of an owner, or begins one.
func (t *Transport) shared(key string) (*process, error) {
	if p := t.find(key); p != nil {
		return p, nil
	}
	return t.begin(key)
}

// begin starts a process, unless one was begun meanwhile.
func (t *Transport) begin(key string) (*process, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.closed:
		return nil, errClosed
	case t.live[key] != nil:
		return t.live[key], nil
	case len(t.live) >= t.o.Max:
		return nil, ErrFull
	}
	p, err := start(t.o)
	if err != nil {
		return nil, err
	}
	t.live[key] = p
	t.ends.Go(func() {
		<-p.done
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.live[key] == p {
			delete(t.live, key)
		}
	})
	return p, nil
}

// sweep ends processes that nobody uses.
func (t *Transport) sweep() {
	tick := time.NewTicker(t.o.Idle / 4)
	defer tick.Stop()
	for {
		select {
		case <-t.stop:
			return
		case now := <-tick.C:
			t.mu.Lock()
			for _, p := range t.live {
				if p.idle(now) > t.o.Idle {
					go p.end()
				}
			}
			t.mu.Unlock()
		}
	}
}

// Close ends all processes.
func (t *Transport) Close() {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	t.closed = true
	close(t.stop)
	var all []*process
	for _, p := range t.live {
		all = append(all, p)
	}
	t.mu.Unlock()
	var wait sync.WaitGroup
	for _, p := range all {
		wait.Go(p.end)
	}
	wait.Wait()
	t.ends.Wait()
}
