package lint

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/regate-dev/regate/engine/input"
)

// node is what a schema says of one place in the input.
type node struct {
	Type                 types           `json:"type"`
	Enum                 []any           `json:"enum"`
	Properties           map[string]node `json:"properties"`
	AdditionalProperties *anything       `json:"additionalProperties"`
	Items                *node           `json:"items"`
}

// types is a JSON Schema's type: one or a list.
type types []string

func (t *types) UnmarshalJSON(raw []byte) error {
	var one string
	if json.Unmarshal(raw, &one) == nil {
		*t = types{one}
		return nil
	}
	return json.Unmarshal(raw, (*[]string)(t))
}

// anything is additionalProperties: a boolean or a schema.
type anything struct {
	allowed bool
	node    node
}

func (a *anything) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &a.allowed) == nil {
		return nil
	}
	a.allowed = true
	return json.Unmarshal(raw, &a.node)
}

// vocabulary is the schemas of all protocols.
type vocabulary map[input.Protocol]node

func newVocabulary() (vocabulary, error) {
	v := vocabulary{}
	for _, p := range input.Protocols() {
		var n node
		if err := json.Unmarshal(input.JSONSchema(p), &n); err != nil {
			return nil, fmt.Errorf("schema of %s: %w", p, err)
		}
		v[p] = n
	}
	return v, nil
}

// place is what is known of a path.
type place struct {
	found    bool     // at least one of the protocols has it
	enum     []string // the only values; nil: any
	nullable bool     // it may be null
	missing  bool     // it may be undefined: a key of an open object, or below something that may be null
	boolean  bool
	open     bool // below something whose keys and values are free (claims, a parsed body)
}

// at looks a path up in the schemas of some protocols, and joins what they say.
func (v vocabulary) at(protocols []input.Protocol, p path) place {
	var out place
	values := map[string]bool{}
	bounded := true
	for _, protocol := range protocols {
		root, ok := v[protocol]
		if !ok {
			continue
		}
		n, found, missing, open := root.walk(p)
		if !found {
			continue
		}
		out.found = true
		out.missing = out.missing || missing
		out.open = out.open || open
		out.nullable = out.nullable || slices.Contains(n.Type, "null")
		out.boolean = out.boolean || slices.Contains(n.Type, "boolean")
		if len(n.Enum) == 0 {
			bounded = false
		}
		for _, e := range n.Enum {
			if s, ok := e.(string); ok {
				values[s] = true
			}
		}
	}
	if out.found && bounded && len(values) > 0 {
		out.enum = slices.Sorted(maps.Keys(values))
	}
	return out
}

func (n node) walk(p path) (at node, found, missing, open bool) {
	for _, key := range p {
		if slices.Contains(n.Type, "null") {
			missing = true
		}
		switch {
		case n.Items != nil:
			if key != anyKey {
				missing = true
			}
			n = *n.Items
		case len(n.Properties) > 0:
			if key == anyKey {
				return node{}, false, false, false // too many to say anything
			}
			next, ok := n.Properties[key]
			if !ok {
				return node{}, false, false, false
			}
			n = next
		case n.AdditionalProperties != nil && n.AdditionalProperties.allowed:
			if key != anyKey {
				missing = true
			}
			n = n.AdditionalProperties.node
			open = open || len(n.Type) == 0
		case len(n.Type) == 0: // anything at all
			missing, open = true, true
		default:
			return node{}, false, false, false
		}
	}
	return n, true, missing, open
}
