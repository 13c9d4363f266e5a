package mcp

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// codeDenied is the JSON-RPC error of what policy denies.
const codeDenied = -32001

// told is what an agent hears of a denial beside its words.
type told struct {
	Reasons    []string `json:"reasons"`
	DecisionID string   `json:"decision_id,omitempty"`
	ApprovalID string   `json:"approval_id,omitempty"`
	Hint       string   `json:"hint,omitempty"`
}

func toldOf(d *engine.Denial) told {
	return told{Reasons: d.Reasons, DecisionID: d.DecisionID, ApprovalID: d.ApprovalID, Hint: d.Hint}
}

// denied is the answer to a request that is denied. For a tool it is a result,
// which the model reads and can act on; for all else an error.
func denied(m *message.Message, d *engine.Denial, modern bool) []byte {
	more := toldOf(d)
	if m.Method != "tools/call" {
		return failure(m.ID, codeDenied, d.Message, more)
	}
	text := "Denied by the gateway: " + d.Message + " (" + strings.Join(d.Reasons, ", ") + ")."
	if d.ApprovalID != "" {
		text += " Approval: " + d.ApprovalID + "."
	}
	if d.Hint != "" {
		text += " " + d.Hint
	}
	result := map[string]any{
		"content": []any{map[string]any{"type": "text", "text": text}}, "isError": true,
		"_meta": map[string]any{"dev.regate/denial": more},
	}
	if modern {
		result["resultType"] = "complete"
	}
	return encode(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(m.ID), "result": result})
}

func failure(id string, code int, text string, data any) []byte {
	if id == "" {
		id = "null"
	}
	e := map[string]any{"code": code, "message": text}
	if data != nil {
		e["data"] = data
	}
	return encode(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(id), "error": e})
}

func encode(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		return []byte(`{"jsonrpc":"2.0","id":null,"error":{"code":-32603,"message":"regate failed"}}`)
	}
	return raw
}

func asDenial(err error) *engine.Denial {
	var d *engine.Denial
	if errors.As(err, &d) {
		return d
	}
	return &engine.Denial{Reasons: []string{engine.ReasonInternal}, Message: "regate failed", Hint: "Tell the gateway's operator.", Fatal: true}
}
