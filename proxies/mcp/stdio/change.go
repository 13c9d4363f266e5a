package stdio

import (
	"encoding/json"

	"github.com/regate-dev/regate/proxies/mcp/message"
)

// with returns an object with one member changed; the others keep their text.
func with(object []byte, name string, value []byte) ([]byte, error) {
	parts, err := message.Members(object)
	if err != nil {
		return nil, err
	}
	out := make(map[string]json.RawMessage, len(parts))
	for k, v := range parts {
		out[k] = v
	}
	out[name] = value
	return json.Marshal(out)
}

// withParam changes one member of a message's params.
func withParam(raw []byte, name string, value []byte) ([]byte, error) {
	parts, err := message.Members(raw)
	if err != nil {
		return nil, err
	}
	params, err := with(parts["params"], name, value)
	if err != nil {
		return nil, err
	}
	return with(raw, "params", params)
}

// withToken puts the gateway's progress token in the place of the client's, which
// it returns: nil where there is none.
func withToken(raw []byte, own string) (out []byte, given json.RawMessage, err error) {
	parts, err := message.Members(raw)
	if err != nil || parts["params"] == nil {
		return raw, nil, err
	}
	params, err := message.Members(parts["params"])
	if err != nil || params["_meta"] == nil {
		return raw, nil, err
	}
	meta, err := message.Members(params["_meta"])
	if err != nil || meta["progressToken"] == nil {
		return raw, nil, err
	}
	changed, err := with(params["_meta"], "progressToken", []byte(own))
	if err == nil {
		out, err = withParam(raw, "_meta", changed)
	}
	return out, meta["progressToken"], err
}
