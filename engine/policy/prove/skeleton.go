package prove

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// schemaNode is what is used of a JSON Schema.
type schemaNode struct {
	Type       any                    `json:"type"` // a string or a list of them
	Enum       []any                  `json:"enum"`
	Properties map[string]*schemaNode `json:"properties"`
	Items      *schemaNode            `json:"items"`
	Additional json.RawMessage        `json:"additionalProperties"`
}

func (n *schemaNode) is(typ string) bool {
	if n == nil {
		return false
	}
	switch t := n.Type.(type) {
	case string:
		return t == typ
	case []any:
		return slices.Contains(t, any(typ))
	}
	return false
}

// allows reports whether a value of that kind may stand there.
func (n *schemaNode) allows(k Kind) bool {
	if n != nil && n.Type == nil { // anything may
		return k != Missing
	}
	switch k {
	case Null:
		return n.is("null")
	case String:
		return n.is("string")
	case Number:
		return n.is("number") || n.is("integer")
	case Boolean:
		return n.is("boolean")
	case Array:
		return n.is("array")
	case Object:
		return n.is("object")
	}
	return false
}

// isMap reports whether the node's keys are data, as those of labels, and no
// fields.
func (n *schemaNode) isMap() bool {
	return n.is("object") && len(n.Properties) == 0
}

// property returns the node of a key; nil where nothing is known of it.
func (n *schemaNode) property(key string) *schemaNode {
	if n == nil {
		return nil
	}
	if p := n.Properties[key]; p != nil {
		return p
	}
	var values schemaNode
	if len(n.Additional) > 0 && json.Unmarshal(n.Additional, &values) == nil && values.Type != nil {
		return &values
	}
	return nil
}

// readSchemas returns the input schema of each protocol.
func readSchemas() (map[string]*schemaNode, error) {
	out := map[string]*schemaNode{}
	for _, p := range input.Protocols() {
		var n schemaNode
		if err := json.Unmarshal(input.JSONSchema(p), &n); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", p, err)
		}
		out[string(p)] = &n
	}
	return out, nil
}

// everything is what a proxy can carry out at best.
var everything = []string{"mask", "limit", "require_approval", "record", "record/sealed"}

// skeleton is a whole document of a protocol that says nothing: tests give the
// part that they are about, and the gateway gives every key.
func skeleton(protocol string, schema *schemaNode) map[string]any {
	doc, _ := empty(schema, false).(map[string]any)
	doc["schema"] = input.Schema
	doc["protocol"] = protocol
	doc["stage"] = string(input.StageRequest)
	doc["time"] = "2026-01-02T03:04:05Z"
	doc["complete"] = true
	doc["enforcer"] = map[string]any{"obligations": everything}
	detail := input.Protocol(protocol).DetailKey()
	doc[detail] = empty(schema.Properties[detail], true)
	if target, ok := doc["target"].(map[string]any); ok {
		target["protocol"] = protocol
	}
	return doc
}

// empty is the value of a schema that says the least. present makes an object
// of what may be null.
func empty(n *schemaNode, present bool) any {
	switch {
	case n == nil || n.is("null") && !present:
		return nil
	case len(n.Enum) > 0:
		if slices.Contains(n.Enum, any("")) {
			return ""
		}
		return n.Enum[0]
	case n.is("object"):
		out := map[string]any{}
		for key, p := range n.Properties {
			out[key] = empty(p, false)
		}
		return out
	case n.is("array"):
		return []any{}
	case n.is("string"):
		return ""
	case n.is("boolean"):
		return false
	case n.is("integer"), n.is("number"):
		return 0
	}
	return nil
}

// complete fills in what a document of a test leaves out.
func complete(doc ast.Object, base ast.Object) ast.Object {
	out := ast.NewObject()
	base.Foreach(func(k, v *ast.Term) {
		given := doc.Get(k)
		if given == nil {
			out.Insert(k, v)
			return
		}
		below, ok := v.Value.(ast.Object)
		if mine, isObject := given.Value.(ast.Object); ok && isObject && below.Len() > 0 {
			out.Insert(k, ast.NewTerm(complete(mine, below)))
			return
		}
		out.Insert(k, given)
	})
	doc.Foreach(func(k, v *ast.Term) {
		if base.Get(k) == nil {
			out.Insert(k, v)
		}
	})
	return out
}

// skeletons returns a whole document of each protocol.
func skeletons(schemas map[string]*schemaNode) (map[string]ast.Object, error) {
	out := map[string]ast.Object{}
	for _, protocol := range slices.Sorted(maps.Keys(schemas)) {
		v, err := ast.InterfaceToValue(skeleton(protocol, schemas[protocol]))
		if err != nil {
			return nil, fmt.Errorf("empty document of %s: %w", protocol, err)
		}
		out[protocol] = v.(ast.Object)
	}
	return out, nil
}
