package scaffold

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// Example is an input document of p in which something happens, in canonical
// JSON: the template's, and for every other key what its schema has for
// nothing. It is valid by the schema.
func Example(p input.Protocol) ([]byte, error) {
	raw, err := templates.ReadFile("templates/" + string(p) + "/example.json")
	if err != nil {
		return nil, fmt.Errorf("no example for protocol %q", p)
	}
	var said map[string]any
	if err := json.Unmarshal(raw, &said); err != nil {
		return nil, fmt.Errorf("example of %s: %w", p, err)
	}
	var schema node
	if err := json.Unmarshal(input.JSONSchema(p), &schema); err != nil {
		return nil, fmt.Errorf("schema of %s: %w", p, err)
	}
	const session = "00000000000000000000000000"
	at := time.Date(2026, time.January, 2, 15, 4, 5, 0, time.UTC)
	for key, value := range map[string]any{
		"schema": input.Schema, "protocol": string(p), "time": at.Format(time.RFC3339),
		"request": map[string]any{"id": session + "-2", "digest": input.Digest{}.String()},
		"session": map[string]any{
			"id": session, "started_at": at.Format(time.RFC3339), "usage": map[string]any{"requests": 1},
			"client": map[string]any{"address": "127.0.0.1:50000", "tls": true},
		},
	} {
		said[key] = value
	}
	if subject, ok := said["subject"].(map[string]any); ok {
		subject["expires_at"] = at.Add(time.Hour).Format(time.RFC3339)
	}
	doc := schema.fill(said)
	return json.Marshal(doc)
}

// node is what is looked at of a JSON Schema.
type node struct {
	Type       any             `json:"type"`
	Enum       []any           `json:"enum"`
	Properties map[string]node `json:"properties"`
}

func (n node) is(typ string) bool {
	switch t := n.Type.(type) {
	case string:
		return t == typ
	case []any:
		return slices.Contains(t, any(typ))
	}
	return false
}

// fill returns said with every key that the schema has and said does not.
func (n node) fill(said any) any {
	object, isObject := said.(map[string]any)
	switch {
	case said == nil && n.is("null"):
		return nil
	case said != nil && !isObject:
		return said
	case n.Properties != nil:
		out := map[string]any{}
		for key, value := range object {
			out[key] = value
		}
		for key, property := range n.Properties {
			out[key] = property.fill(object[key])
		}
		return out
	case isObject:
		return object
	}
	return n.zero()
}

// zero is the schema's value for nothing.
func (n node) zero() any {
	switch {
	case n.is("object"):
		return map[string]any{}
	case n.is("array"):
		return []any{}
	case n.is("string") && len(n.Enum) > 0 && !slices.Contains(n.Enum, any("")):
		return n.Enum[0]
	case n.is("string"):
		return ""
	case n.is("integer"), n.is("number"):
		return 0
	case n.is("boolean"):
		return false
	}
	return nil
}
