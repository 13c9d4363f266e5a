package mcp

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// From 2026-07-28 on a server asks within its answer: the result says what is
// missing, with a requestState, and the agent sends the request again with
// both. The gateway asks for an approval so. It seals its own states, and
// those of servers: a server sees one client, the gateway, and cannot tell
// whose state comes back.

// inRounds are the requests that may be answered with a question.
var inRounds = []string{"tools/call", "prompts/get", "resources/read"}

// approvalInput is the question of the gateway among those of a server.
const approvalInput = "dev.regate/approval"

// unseal puts the server's own state in the place of what the agent carried.
// The error is a *message.Refusal.
func (x *exchange) unseal(m *message.Message) (*message.Message, error) {
	params, ok := m.Params.(map[string]any)
	if !ok || m.Kind != message.Request || !slices.Contains(inRounds, m.Method) {
		return m, nil
	}
	text, there := params["requestState"]
	if !there {
		return m, nil
	}
	sealed, _ := text.(string)
	var state sealedState
	if err := x.s.seal.open(sealed, &state, "state", x.t.Name, x.owner); err != nil {
		return nil, message.Refuse(message.ReasonState, "the requestState is not one that this gateway gave to this identity")
	}
	digest, err := requestDigest(m)
	if err != nil || digest != state.Digest {
		return nil, message.Refuse(message.ReasonState, "the requestState belongs to another request")
	}
	if time.Now().Unix() > state.Expires {
		return nil, message.Refuse(message.ReasonState, "the requestState has expired: send the request without it")
	}
	x.state = &state
	parts, err := message.Members(m.Raw)
	if err != nil {
		return nil, err
	}
	inner, err := message.Members(parts["params"])
	if err != nil {
		return nil, err
	}
	delete(inner, "requestState")
	if state.State != nil {
		if inner["requestState"], err = json.Marshal(*state.State); err != nil {
			return nil, err
		}
	}
	if state.Approval != "" {
		if answer := inner["inputResponses"]; answer != nil {
			x.declined = declines(answer)
		}
		delete(inner, "inputResponses")
		if state.Responses != nil {
			inner["inputResponses"] = state.Responses
		}
	}
	if parts["params"], err = joined(inner); err != nil {
		return nil, err
	}
	raw, err := joined(parts)
	if err != nil {
		return nil, err
	}
	list, _, err := message.Parse(raw)
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// declines reports whether the person at the agent does not want to wait.
func declines(responses []byte) bool {
	var answers map[string]struct {
		Action string `json:"action"`
	}
	if json.Unmarshal(responses, &answers) != nil {
		return false
	}
	action := answers[approvalInput].Action
	return action == "decline" || action == "cancel"
}

// ask answers a request that a person has to approve with a question: nil where
// the protocol has none for it.
func (x *exchange) ask(m *message.Message, d *message.Decoded, denial *engine.Denial) []byte {
	if x.waits(m, d.Detail.Era) || d.Detail.Era != "modern" || denial.Reason() != engine.ReasonPending || denial.ApprovalID == "" || !slices.Contains(inRounds, m.Method) {
		return nil
	}
	state := sealedState{Approval: denial.ApprovalID, Expires: time.Now().Add(stateTime).Unix()}
	var err error
	if state.Digest, err = requestDigest(m); err != nil {
		return nil
	}
	params, _ := m.Params.(map[string]any)
	if text, ok := params["requestState"].(string); ok {
		state.State = &text
	}
	if responses, ok := params["inputResponses"]; ok {
		if state.Responses, err = json.Marshal(responses); err != nil {
			return nil
		}
	}
	sealed, err := x.s.seal.seal(state, "state", x.t.Name, x.owner)
	if err != nil {
		return nil
	}
	questions := map[string]any{}
	if slices.Contains(d.Detail.Client.Capabilities, "elicitation") {
		questions[approvalInput] = map[string]any{"method": "elicitation/create", "params": map[string]any{
			"mode": "form", "message": "This needs approval " + denial.ApprovalID + " (" + strings.Join(denial.Reasons, ", ") + "). Go on to wait for it.",
			"requestedSchema": map[string]any{"type": "object", "properties": map[string]any{}},
		}}
	}
	return encode(map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(m.ID), "result": map[string]any{
		"resultType": "input_required", "inputRequests": questions, "requestState": sealed,
		"_meta": map[string]any{"dev.regate/denial": toldOf(denial)},
	}})
}

// waits reports whether the agent has been told that a person has to approve,
// and has come back to wait.
func (x *exchange) waits(m *message.Message, era string) bool {
	return x.state != nil && x.state.Approval != "" || era != "modern" || !slices.Contains(inRounds, m.Method)
}

// sealState makes the state in a server's result one for this agent alone.
func (x *exchange) sealState(c *call, result map[string][]byte) error {
	if result["requestState"] == nil {
		return nil
	}
	var text string
	if err := json.Unmarshal(result["requestState"], &text); err != nil {
		return err
	}
	digest, err := requestDigest(c.m)
	if err != nil {
		return err
	}
	sealed, err := x.s.seal.seal(sealedState{Digest: digest, Expires: time.Now().Add(stateTime).Unix(), State: &text}, "state", x.t.Name, x.owner)
	if err != nil {
		return err
	}
	result["requestState"], err = json.Marshal(sealed)
	return err
}

// questions decides on each of what a server asks in a result, and masks it.
// The error is a *engine.Denial: the result is not shown.
func (x *exchange) questions(result map[string][]byte) error {
	raw := result["inputRequests"]
	if raw == nil {
		return nil
	}
	asked, err := message.Members(raw)
	if err != nil {
		return err
	}
	for key, question := range asked {
		parts, err := message.Members(question)
		if err != nil {
			return err
		}
		id, err := json.Marshal(key)
		if err != nil {
			return err
		}
		parts["jsonrpc"], parts["id"] = []byte(`"2.0"`), id
		whole, err := joined(parts)
		if err != nil {
			return err
		}
		list, _, err := message.Parse(whole)
		if err != nil {
			return err
		}
		c, denial := x.asks(list[0])
		if denial != nil {
			return denial
		}
		if parts["params"] != nil {
			if parts["params"], err = c.rules.result(parts["params"]); err != nil {
				return err
			}
		}
		c.end(engine.Outcome{Tag: "sent"})
		delete(parts, "jsonrpc")
		delete(parts, "id")
		if asked[key], err = joined(parts); err != nil {
			return err
		}
	}
	result["inputRequests"], err = joined(asked)
	return err
}
