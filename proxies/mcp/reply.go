package mcp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// write answers with one JSON text: as an event where the answer has begun as a
// stream.
func (x *exchange) write(status int, body []byte) {
	if x.begun {
		_ = x.event(body)
		return
	}
	h := x.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(body) // an agent that is gone needs no answer
}

// begin makes the answer a stream.
func (x *exchange) begin() error {
	if x.begun {
		return nil
	}
	x.begun = true
	h := x.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	x.w.WriteHeader(http.StatusOK)
	return http.NewResponseController(x.w).Flush()
}

// event writes one message, which has no line ends, to the stream.
func (x *exchange) event(body []byte) error {
	if _, err := fmt.Fprintf(x.w, "event: message\ndata: %s\n\n", bytes.ReplaceAll(body, []byte("\n"), nil)); err != nil {
		return err
	}
	return http.NewResponseController(x.w).Flush()
}

// tellHold tells an agent that its request waits for a person: by progress where
// it asked for that, else by a comment, which keeps what is between them from
// closing the connection. It is nil where the agent takes no stream.
func (x *exchange) tellHold(m *message.Message) func(engine.Held) error {
	if m.Kind != message.Request || !strings.Contains(x.r.Header.Get("Accept"), "text/event-stream") {
		return nil
	}
	token := progressToken(m)
	return func(h engine.Held) error {
		if err := x.begin(); err != nil {
			return err
		}
		x.notices++
		if token == nil {
			_, err := fmt.Fprintf(x.w, ": waiting for approval %s\n\n", h.ApprovalID)
			if err == nil {
				err = http.NewResponseController(x.w).Flush()
			}
			return err
		}
		return x.event(encode(map[string]any{"jsonrpc": "2.0", "method": "notifications/progress", "params": map[string]any{
			// Below what a server counts with: progress may only grow.
			"progressToken": token, "progress": float64(x.notices) * 1e-6,
			"message": fmt.Sprintf("waiting for approval %s, at most %.0f s more", h.ApprovalID, h.Wait.Seconds()),
		}}))
	}
}

// progressToken is the token that a request names, nil where it names none.
func progressToken(m *message.Message) json.RawMessage {
	var parts struct {
		Params struct {
			Meta struct {
				Token json.RawMessage `json:"progressToken"`
			} `json:"_meta"`
		} `json:"params"`
	}
	if json.Unmarshal(m.Raw, &parts) != nil || string(parts.Params.Meta.Token) == "null" {
		return nil
	}
	return parts.Params.Meta.Token
}
