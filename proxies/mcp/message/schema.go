package message

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/google/jsonschema-go/jsonschema"
)

// Bounds of what is checked. A schema is the server's, and validation takes as
// long as the schema says: references that fan out multiply.
const (
	maxSchema     = 256 << 10
	maxCost       = 20_000 // nodes, references followed
	maxRecursion  = 8      // depth of arguments that a schema may describe by itself
	maxWhyInvalid = 300
)

// schema is a tool's input schema, compiled when it is first needed.
type schema struct {
	once      sync.Once
	resolved  *jsonschema.Resolved // nil: it cannot be used
	recursive bool
}

// Fits reports whether arguments, a JSON object or nothing, are what the tool's
// input schema asks for, and if not, why. It is nil where that is not known:
// the schema is missing, is no JSON Schema of a known draft, refers to another
// document, or would take too long.
func (t *Tool) Fits(arguments []byte) (fits *bool, why string) {
	t.schema.once.Do(func() { t.schema.resolved, t.schema.recursive = compile(t.Value["inputSchema"]) })
	if t.schema.resolved == nil {
		return nil, ""
	}
	if len(arguments) == 0 || string(arguments) == "null" {
		arguments = []byte("{}")
	}
	var v any
	if err := json.Unmarshal(arguments, &v); err != nil {
		return nil, ""
	}
	if t.schema.recursive && depth(v) > maxRecursion {
		return nil, ""
	}
	err := t.schema.resolved.Validate(v)
	ok := err == nil
	if err != nil {
		why = innermost(err)
	}
	return &ok, why
}

// innermost leaves out the path of schemas around an error.
func innermost(err error) string {
	for {
		next := errors.Unwrap(err)
		if next == nil {
			break
		}
		err = next
	}
	text := err.Error()
	if len(text) > maxWhyInvalid {
		text = text[:maxWhyInvalid] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}

// drafts are the values of $schema that can be checked.
var drafts = []any{
	"http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-07/schema",
	"https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#",
}

func compile(v any) (resolved *jsonschema.Resolved, recursive bool) {
	raw, err := json.Marshal(v)
	if err != nil || v == nil || len(raw) > maxSchema {
		return nil, false
	}
	if object, ok := v.(map[string]any); ok && object["$schema"] != nil && !slices.Contains(drafts, object["$schema"]) {
		return nil, false
	}
	c := &cost{root: v, known: map[string]int{}}
	if c.of(v, 0) > maxCost {
		return nil, false
	}
	var s jsonschema.Schema
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, false
	}
	if resolved, err = s.Resolve(&jsonschema.ResolveOptions{}); err != nil {
		return nil, false
	}
	return resolved, c.recursive
}

// cost counts the nodes of a schema with its references followed.
type cost struct {
	root      any
	known     map[string]int // by reference; -1 while it is being counted
	recursive bool
}

func (c *cost) of(v any, depth int) int {
	n := 1
	if depth > 100 {
		return maxCost + 1
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += c.of(e, depth+1)
		}
	case map[string]any:
		for name, e := range v {
			if ref, ok := e.(string); ok && (name == "$ref" || name == "$dynamicRef") {
				n += c.ref(ref, depth)
				continue
			}
			n += c.of(e, depth+1)
		}
	}
	return min(n, maxCost+1)
}

func (c *cost) ref(ref string, depth int) int {
	known, ok := c.known[ref]
	switch {
	case ok && known < 0:
		c.recursive = true
		return 1
	case ok:
		return known
	}
	c.known[ref] = -1
	target := c.root
	pointer, local := strings.CutPrefix(ref, "#")
	if !local {
		return maxCost + 1 // another document, or an $id: not followed
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		if part == "" {
			continue
		}
		object, _ := target.(map[string]any)
		target = object[strings.NewReplacer("~1", "/", "~0", "~").Replace(part)]
	}
	if target == nil {
		return maxCost + 1 // an anchor, or a path that is encoded or leads through a list
	}
	n := c.of(target, depth+1)
	c.known[ref] = n
	return n
}

func depth(v any) int {
	most := 0
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			most = max(most, depth(e))
		}
	case map[string]any:
		for _, e := range v {
			most = max(most, depth(e))
		}
	default:
		return 0
	}
	return most + 1
}
