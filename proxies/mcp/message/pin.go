package message

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/gowebpki/jcs"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/http/request"
)

// Tool is a tool's definition as a server lists it.
type Tool struct {
	Name        string
	Canonical   []byte // RFC 8785
	Digest      string // "sha256:…" of Canonical
	Description string
	Annotations any
	Findings    []string // see Hidden, over every text of the definition
	Value       map[string]any

	schema schema
}

// ReadTool reads one tool of a list. Its digest covers all of it: not only what
// a model reads first, but titles, schemas, annotations, icons and whatever a
// later revision adds.
func ReadTool(raw []byte) (*Tool, error) {
	v, _, err := request.ReadJSON(raw, "tool")
	if err != nil {
		return nil, fmt.Errorf("read a tool: %w", err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("read a tool: it is no object")
	}
	name, ok := object["name"].(string)
	if !ok || name == "" {
		return nil, fmt.Errorf("read a tool: it has no name")
	}
	canonical, err := jcs.Transform(raw)
	if err != nil {
		return nil, fmt.Errorf("read the tool %q: %w", clip(name), err)
	}
	t := &Tool{Name: name, Canonical: canonical, Digest: input.Digest(sha256.Sum256(canonical)).String(), Value: object, Annotations: object["annotations"]}
	t.Description, _ = object["description"].(string)
	t.Findings = HiddenIn(object)
	return t, nil
}

// Changed returns the JSON pointers at which two definitions differ, sorted, at
// most limit of them.
func Changed(approved, now any, limit int) []string {
	out := []string{}
	diff(approved, now, "", func(at string) {
		if len(out) < limit {
			out = append(out, at)
		}
	})
	slices.Sort(out)
	return out
}

func diff(a, b any, at string, found func(string)) {
	x, ok1 := a.(map[string]any)
	y, ok2 := b.(map[string]any)
	if ok1 && ok2 {
		names := map[string]bool{}
		for name := range x {
			names[name] = true
		}
		for name := range y {
			names[name] = true
		}
		for name := range names {
			v, in1 := x[name]
			w, in2 := y[name]
			to := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
			if in1 != in2 {
				found(to)
				continue
			}
			diff(v, w, to, found)
		}
		return
	}
	left, err1 := json.Marshal(a)
	right, err2 := json.Marshal(b)
	if err1 != nil || err2 != nil || string(left) != string(right) {
		if at == "" {
			at = "/"
		}
		found(at)
	}
}

// walkText calls f for every string of a value, names among them.
func walkText(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case []any:
		for _, e := range v {
			walkText(e, f)
		}
	case map[string]any:
		for name, e := range v {
			f(name)
			walkText(e, f)
		}
	}
}

// Described is the definition as a policy sees it, in a state and with what has
// changed of it.
func (t *Tool) Described(state, firstSeen string, changed []string) *input.MCPTool {
	if changed == nil {
		changed = []string{}
	}
	return &input.MCPTool{
		Pin: state, Digest: t.Digest, FirstSeen: firstSeen, Changed: changed,
		Annotations: t.Annotations, Description: t.Description, Findings: t.Findings,
	}
}
