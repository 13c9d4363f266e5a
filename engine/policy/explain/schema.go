package explain

import (
	"encoding/json"
	"slices"

	"github.com/open-policy-agent/opa/v1/ast"

	"github.com/regate-dev/regate/engine/input"
)

// schemaNode is as much of a JSON Schema as the search asks.
type schemaNode struct {
	Type       any                    `json:"type"` // a string or a list of them
	Enum       []any                  `json:"enum"`
	Properties map[string]*schemaNode `json:"properties"`
	AnyOf      []*schemaNode          `json:"anyOf"`
	OneOf      []*schemaNode          `json:"oneOf"`
}

// at are the nodes that describe what is at a path.
func (n *schemaNode) at(path []*ast.Term) []*schemaNode {
	if n == nil {
		return nil
	}
	var out []*schemaNode
	if len(path) == 0 {
		out = append(out, n)
	} else if key, ok := path[0].Value.(ast.String); ok {
		out = append(out, n.Properties[string(key)].at(path[1:])...)
	}
	for _, alternative := range append(n.AnyOf, n.OneOf...) {
		out = append(out, alternative.at(path)...)
	}
	return out
}

// schemaOf is the schema of a protocol's documents, nil where there is none.
func schemaOf(protocol string) *schemaNode {
	if !slices.Contains(input.Protocols(), input.Protocol(protocol)) {
		return nil
	}
	var root schemaNode
	if json.Unmarshal(input.JSONSchema(input.Protocol(protocol)), &root) != nil {
		return nil
	}
	return &root
}

// enum are the strings that the schema allows at a path; none: any.
func (x *explainer) enum(path []*ast.Term) []string {
	var out []string
	for _, n := range x.schema.at(path) {
		for _, v := range n.Enum {
			if s, ok := v.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// kinds are the JSON types that the schema allows at a path.
func (x *explainer) kinds(path []*ast.Term) []string {
	var out []string
	for _, n := range x.schema.at(path) {
		switch t := n.Type.(type) {
		case string:
			out = append(out, t)
		case []any:
			for _, one := range t {
				if s, ok := one.(string); ok {
					out = append(out, s)
				}
			}
		}
	}
	return out
}
