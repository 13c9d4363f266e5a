package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/regate-dev/regate/proxies/http/body"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// Bounds of asking a server for its tools.
const (
	learnTime = 20 * time.Second
	maxPages  = 50
)

// learn asks the server for its tools, in the agent's session of it, so that a
// call is held against what the server says now and not against what it said to
// whoever asked last. What it does not say stays unknown.
func (x *exchange) learn(m *message.Message, version string) {
	ctx, cancel := context.WithTimeout(x.ctx, learnTime)
	defer cancel()
	if err := x.pages(ctx, m, version); err != nil && x.ctx.Err() == nil {
		x.s.log.WithError(err).WithField("target", x.t.Name).Warn("the server does not tell what its tools are")
	}
}

func (x *exchange) pages(ctx context.Context, m *message.Message, version string) error {
	cursor := ""
	for page := range maxPages {
		id := fmt.Sprintf(`"regate-tools-%d"`, page)
		params := map[string]any{}
		if cursor != "" {
			params["cursor"] = cursor
		}
		if meta := modernMeta(m); meta != nil {
			params["_meta"] = meta
		}
		result, err := x.askServer(ctx, encode(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(id), "method": "tools/list", "params": params}), id, version)
		if err != nil {
			return err
		}
		var list struct {
			Tools  []json.RawMessage `json:"tools"`
			Cursor string            `json:"nextCursor"`
		}
		if err := json.Unmarshal(result, &list); err != nil {
			return err
		}
		for _, raw := range list.Tools {
			tool, err := message.ReadTool(raw)
			if err != nil {
				return err
			}
			x.t.pins.note(ctx, tool, x.s.log)
		}
		if cursor = list.Cursor; cursor == "" {
			x.t.pins.fresh(time.Now())
			return nil
		}
	}
	return errors.New("its list of tools has no end")
}

// modernMeta is what a request of the modern era says of its client, nil in the
// legacy era.
func modernMeta(m *message.Message) map[string]any {
	params, _ := m.Params.(map[string]any)
	meta, _ := params["_meta"].(map[string]any)
	out := maps.Clone(meta)
	maps.DeleteFunc(out, func(name string, _ any) bool { return !slices.Contains(message.ClientMeta, name) })
	if len(out) == 0 {
		return nil
	}
	return out
}

// askServer makes a request of the gateway's own, and returns its result.
func (x *exchange) askServer(ctx context.Context, raw []byte, id, version string) ([]byte, error) {
	out, err := x.request(ctx, raw)
	if err != nil {
		return nil, err
	}
	scrub := x.scrub
	for name := range out.Header {
		if message.IsParamHeader(name) {
			out.Header.Del(name)
		}
	}
	out.Header.Del("Mcp-Name")
	out.Header.Del("Mcp-Method")
	if message.Era(version) == "modern" {
		out.Header.Set("Mcp-Method", "tools/list")
	}
	resp, err := x.t.round.RoundTrip(out)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answers %s", resp.Status)
	}
	in := io.LimitReader(scrub(resp.Body), maxAnswer)
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); media != "text/event-stream" {
		text, err := io.ReadAll(in)
		if err != nil {
			return nil, err
		}
		result, err := resultOf(text, id)
		if err == nil && result == nil {
			err = errors.New("it answers something else")
		}
		return result, err
	}
	events := body.NewEventReader(in)
	for {
		e, err := events.Next()
		if err != nil {
			return nil, fmt.Errorf("its answer ends early: %w", err)
		}
		if len(e.Data) == 0 {
			continue
		}
		result, err := resultOf(e.Data, id)
		if err != nil || result != nil {
			return result, err
		}
	}
}

// resultOf is the result of the response to a request, nil where the text is
// another message.
func resultOf(text []byte, id string) ([]byte, error) {
	list, _, err := message.Parse(text)
	if err != nil {
		return nil, err
	}
	for _, m := range list {
		switch {
		case m.Kind != message.Response || m.ID != id:
		case len(m.Error) > 0:
			return nil, errors.New("it answers with an error")
		default:
			return m.Result, nil
		}
	}
	return nil, nil
}
