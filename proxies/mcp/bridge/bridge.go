package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"sync"
	"time"

	"github.com/regate-dev/regate/proxies/http/body"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

const (
	tokenTime  = time.Minute // after which the token is asked for again
	endTime    = 10 * time.Second
	listenWait = 3 * time.Second // between attempts to listen
	maxBody    = 32 << 20
)

// Options say what is bridged.
type Options struct {
	URL string // of the server at the gateway
	// Token returns a token that is good now. fresh: the last one was not.
	Token func(ctx context.Context, fresh bool) (string, error)
	HTTP  *http.Client
	In    io.Reader
	Out   io.Writer
}

// bridge is one client.
type bridge struct {
	o   Options
	ctx context.Context

	out sync.Mutex

	mu       sync.Mutex
	token    string
	tokenAt  time.Time
	session  string
	version  string
	schemas  map[string]any                // input schemas of tools, by name
	asked    map[string]context.CancelFunc // requests under way, by id
	hearing  bool
	requests sync.WaitGroup
}

// Run bridges until In ends or ctx does.
func Run(ctx context.Context, o Options) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	b := &bridge{o: o, ctx: ctx, schemas: map[string]any{}, asked: map[string]context.CancelFunc{}}
	lines := make(chan []byte)
	failed := make(chan error, 1)
	go func() {
		defer close(lines)
		in := bufio.NewScanner(o.In)
		in.Buffer(make([]byte, 0, 64<<10), message.MaxMessage+1)
		for in.Scan() {
			select {
			case lines <- bytes.Clone(in.Bytes()):
			case <-ctx.Done():
				return
			}
		}
		failed <- in.Err()
	}()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				b.finish(cancel)
				select {
				case err := <-failed:
					return err
				default:
					return nil
				}
			}
			if line = bytes.TrimSpace(line); len(line) > 0 {
				b.take(line)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// finish lets requests under way end, and ends the session.
func (b *bridge) finish(cancel func()) {
	done := make(chan struct{})
	go func() {
		b.requests.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(endTime):
	}
	b.mu.Lock()
	session := b.session
	b.mu.Unlock()
	if session != "" {
		ctx, stop := context.WithTimeout(b.ctx, endTime)
		if resp, err := b.do(ctx, http.MethodDelete, nil, nil, false); err == nil {
			_ = resp.Body.Close()
		}
		stop()
	}
	cancel()
	b.requests.Wait()
}

// take sends one line.
func (b *bridge) take(line []byte) {
	list, batch, err := message.Parse(line)
	if err != nil || batch && len(list) == 0 {
		var refusal *message.Refusal
		text := "the message cannot be read"
		if errors.As(err, &refusal) {
			text = refusal.Message
		}
		b.write(failure("null", message.CodeParse, text, nil))
		return
	}
	m := list[0]
	if m.Method == "notifications/cancelled" {
		b.cancelled(m)
	}
	ctx, stop := context.WithCancel(b.ctx)
	asks := m.Kind == message.Request || batch
	if m.Kind == message.Request {
		b.mu.Lock()
		b.asked[m.ID] = stop
		b.mu.Unlock()
	}
	run := func() {
		defer stop()
		b.exchange(ctx, line, m, asks)
		if m.Kind == message.Request {
			b.mu.Lock()
			delete(b.asked, m.ID)
			b.mu.Unlock()
		}
	}
	if m.Method == "initialize" || !asks {
		run() // what comes next relies on it
		if m.Method == "notifications/initialized" {
			b.hear()
		}
		return
	}
	b.requests.Go(run)
}

// cancelled ends the exchange of a request that the client gives up: from
// 2026-07-28 on that is how the server hears of it.
func (b *bridge) cancelled(m *message.Message) {
	var of struct {
		Params struct {
			ID json.RawMessage `json:"requestId"`
		} `json:"params"`
	}
	if json.Unmarshal(m.Raw, &of) != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if stop := b.asked[string(of.Params.ID)]; stop != nil && b.session == "" {
		stop()
	}
}

// exchange sends a message and writes what comes of it.
func (b *bridge) exchange(ctx context.Context, raw []byte, m *message.Message, asks bool) {
	resp, err := b.do(ctx, http.MethodPost, raw, m, false)
	if err == nil && resp.StatusCode == http.StatusUnauthorized {
		_ = resp.Body.Close()
		resp, err = b.do(ctx, http.MethodPost, raw, m, true)
	}
	if err != nil {
		if asks && ctx.Err() == nil {
			b.write(failure(m.ID, -32603, "the gateway does not answer: "+err.Error(), nil))
		}
		return
	}
	defer resp.Body.Close()
	if id := resp.Header.Get("Mcp-Session-Id"); id != "" && m.Method == "initialize" {
		b.mu.Lock()
		b.session = id
		b.mu.Unlock()
	}
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	answered := false
	switch {
	case media == "text/event-stream" && resp.StatusCode == http.StatusOK:
		err = b.events(resp.Body, func(list []*message.Message) {
			for _, got := range list {
				answered = answered || got.Kind == message.Response && got.ID == m.ID
				b.learn(m, got)
			}
		})
	case media == "application/json":
		var text []byte
		if text, err = io.ReadAll(io.LimitReader(resp.Body, maxBody)); err == nil {
			list, _, e := message.Parse(text)
			if err = e; err == nil {
				answered = true
				for _, got := range list {
					b.learn(m, got)
				}
				if asks { // what answers a notification has nobody to read it
					b.write(text)
				}
			}
		}
	case resp.StatusCode/100 == 2:
		answered = !asks
	default:
		var problem struct {
			Detail  string   `json:"detail"`
			Hint    string   `json:"hint"`
			Reasons []string `json:"reasons"`
		}
		_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&problem)
		if problem.Detail == "" {
			problem.Detail = "the gateway answers " + resp.Status
		}
		if asks {
			b.write(failure(m.ID, -32001, problem.Detail, map[string]any{"reasons": problem.Reasons, "hint": problem.Hint}))
		}
		return
	}
	if asks && !answered && ctx.Err() == nil && m.ID != "" {
		text := "the answer broke off"
		if err != nil {
			text += ": " + err.Error()
		}
		b.write(failure(m.ID, -32603, text, nil))
	}
}

// events writes what a stream says, one message a line.
func (b *bridge) events(in io.Reader, each func([]*message.Message)) error {
	events := body.NewEventReader(in)
	for {
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(e.Data) == 0 {
			continue
		}
		list, _, err := message.Parse(e.Data)
		if err != nil {
			return err
		}
		each(list)
		b.write(e.Data)
	}
}

// learn keeps what later messages need: the revision, and the tools' schemas.
func (b *bridge) learn(asked, got *message.Message) {
	result, _ := got.Answer.(map[string]any)
	if got.Kind != message.Response || got.ID != asked.ID || result == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch asked.Method {
	case "initialize":
		b.version, _ = result["protocolVersion"].(string)
	case "tools/list":
		tools, _ := result["tools"].([]any)
		for _, t := range tools {
			tool, _ := t.(map[string]any)
			if name, ok := tool["name"].(string); ok {
				b.schemas[name] = tool["inputSchema"]
			}
		}
	}
}

// hear listens to what the server says on its own, until the end.
func (b *bridge) hear() {
	b.mu.Lock()
	begin := !b.hearing && b.session != ""
	b.hearing = b.hearing || begin
	b.mu.Unlock()
	if !begin {
		return
	}
	go func() {
		for b.ctx.Err() == nil {
			resp, err := b.do(b.ctx, http.MethodGet, nil, nil, false)
			if err == nil {
				if resp.StatusCode != http.StatusOK { // it says nothing on its own
					_ = resp.Body.Close()
					return
				}
				_ = b.events(resp.Body, func([]*message.Message) {})
				_ = resp.Body.Close()
			}
			select {
			case <-time.After(listenWait):
			case <-b.ctx.Done():
			}
		}
	}()
}

// do makes one request. fresh asks for a new token.
func (b *bridge) do(ctx context.Context, method string, raw []byte, m *message.Message, fresh bool) (*http.Response, error) {
	token, err := b.current(ctx, fresh)
	if err != nil {
		return nil, fmt.Errorf("get a token: %w", err)
	}
	r, err := http.NewRequestWithContext(ctx, method, b.o.URL, bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Accept", "application/json, text/event-stream")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	b.mu.Lock()
	session, version := b.session, b.version
	var schema any
	if m != nil && m.Method == "tools/call" {
		if params, ok := m.Params.(map[string]any); ok {
			name, _ := params["name"].(string)
			schema = b.schemas[name]
		}
	}
	b.mu.Unlock()
	if session != "" {
		r.Header.Set("Mcp-Session-Id", session)
	}
	if m != nil {
		message.SetHeaders(r.Header, m, schema)
	}
	if version != "" && r.Header.Get("Mcp-Protocol-Version") == "" && (m == nil || m.Method != "initialize") {
		r.Header.Set("Mcp-Protocol-Version", version)
	}
	return b.o.HTTP.Do(r)
}

func (b *bridge) current(ctx context.Context, fresh bool) (string, error) {
	b.mu.Lock()
	token, at := b.token, b.tokenAt
	b.mu.Unlock()
	if token != "" && !fresh && time.Since(at) < tokenTime {
		return token, nil
	}
	token, err := b.o.Token(ctx, fresh)
	if err != nil {
		return "", err
	}
	b.mu.Lock()
	b.token, b.tokenAt = token, time.Now()
	b.mu.Unlock()
	return token, nil
}

// write writes one message as one line.
func (b *bridge) write(raw []byte) {
	var line bytes.Buffer
	if json.Compact(&line, raw) != nil {
		return
	}
	line.WriteByte('\n')
	b.out.Lock()
	defer b.out.Unlock()
	_, _ = b.o.Out.Write(line.Bytes()) // a client that is gone closes our input, too
}

func failure(id string, code int, text string, data any) []byte {
	e := map[string]any{"code": code, "message": text}
	if data != nil {
		e["data"] = data
	}
	if id == "" {
		id = "null"
	}
	raw, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(id), "error": e})
	if err != nil {
		panic(err) // an id that was read, and words: they marshal
	}
	return raw
}
