package mcp

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/http/body"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// rules mask messages. A mask's field is a path from the root of
// structuredContent, and of every text that is itself JSON: a server says the
// same in both. A field without a slash is every member of that name.
type rules struct{ of *body.Rules }

func newRules(keyring *mask.Keyring, tree *engine.Tree) *rules {
	if tree == nil {
		return nil
	}
	return &rules{body.NewRules(keyring, tree)}
}

// redacted is what stands for content that cannot be masked.
const redacted = "[REDACTED]"

// result masks a result, an error or params, as JSON text. A field mask is
// applied once to each value: a hash of a hash would be another token.
func (r *rules) result(raw []byte) ([]byte, error) {
	if r == nil {
		return raw, nil
	}
	parts, err := message.Members(raw)
	if err != nil {
		return nil, err
	}
	structured := parts["structuredContent"]
	delete(parts, "structuredContent")
	rest, err := joined(parts)
	if err != nil {
		return nil, err
	}
	if rest, err = r.stream(rest); err != nil {
		return nil, err
	}
	var v map[string]any
	d := json.NewDecoder(bytes.NewReader(rest))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	r.contents(v)
	if structured != nil {
		masked, err := r.stream(structured)
		if err != nil {
			return nil, err
		}
		v["structuredContent"] = json.RawMessage(masked)
	}
	return marshal(v)
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// contents masks what a stream of JSON does not: texts that are JSON themselves,
// and what is no text.
func (r *rules) contents(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			r.contents(e)
		}
	case map[string]any:
		for _, e := range v {
			r.contents(e)
		}
		if text, ok := v["text"].(string); ok {
			v["text"] = r.text(text)
		}
		if blob, ok := v["blob"].(string); ok && blob != "" {
			v["blob"] = base64.StdEncoding.EncodeToString([]byte(redacted))
		}
		if data, ok := v["data"].(string); ok && (v["type"] == "image" || v["type"] == "audio") && data != "" {
			clear(v)
			v["type"], v["text"] = "text", redacted
		}
	}
}

// text masks a text that a model reads. Detectors have looked at it already.
func (r *rules) text(s string) string {
	trimmed := strings.TrimSpace(s)
	if strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[") {
		if out, err := r.stream([]byte(s)); err == nil {
			return string(out)
		}
	}
	if r.of.Fields() && s != "" {
		return redacted // it may say anything that a field names
	}
	return s
}

func (r *rules) stream(raw []byte) ([]byte, error) {
	var out []byte
	err := r.of.JSON(bytes.NewReader(raw), func(p []byte) error {
		out = append(out, p...)
		return nil
	}, func() error { return nil })
	return out, err
}
