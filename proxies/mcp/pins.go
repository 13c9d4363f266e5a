package mcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// Reason ids of tools whose definition is not the one that was approved.
const (
	ReasonToolNew     = "mcp/tool-new"     // nobody has approved it; a tool under another name is a new one
	ReasonToolChanged = "mcp/tool-changed" // its definition has changed since it was approved
	ReasonToolUnseen  = "mcp/tool-unseen"  // the server has not told its definition yet
)

// maxChanged bounds the differences that are told of one tool.
const maxChanged = 50

// ReadTools reads definitions: an answer to tools/list, or its list of tools.
func ReadTools(raw []byte) (map[string]*message.Tool, error) {
	var list struct {
		Result struct {
			Tools []json.RawMessage `json:"tools"`
		} `json:"result"`
		Tools []json.RawMessage `json:"tools"`
	}
	if err := json.Unmarshal(raw, &list); err != nil || len(list.Tools)+len(list.Result.Tools) == 0 {
		return nil, errors.New(`want {"tools": […]} or an answer to tools/list`)
	}
	out := map[string]*message.Tool{}
	for _, t := range append(list.Tools, list.Result.Tools...) {
		tool, err := message.ReadTool(t)
		if err != nil {
			return nil, err
		}
		if out[tool.Name] != nil {
			return nil, fmt.Errorf("the tool %q is there twice", tool.Name)
		}
		out[tool.Name] = tool
	}
	return out, nil
}

// pins holds what a server's tools are against what was approved of them.
type pins struct {
	approved map[string]*message.Tool // nil: nothing is demanded

	mu   sync.RWMutex
	seen map[string]seenTool
}

type seenTool struct {
	tool  *message.Tool
	first time.Time
}

func newPins(approved map[string]*message.Tool) *pins {
	return &pins{approved: approved, seen: map[string]seenTool{}}
}

// note keeps the definition that a server has just told. When it is another
// than before, the later one counts for everybody: a server that tells each
// agent something else is one whose tools change.
func (p *pins) note(t *message.Tool, now time.Time) *input.MCPTool {
	p.mu.Lock()
	old, known := p.seen[t.Name]
	first := now
	if known && old.tool.Digest == t.Digest {
		first = old.first
	}
	p.seen[t.Name] = seenTool{t, first}
	p.mu.Unlock()
	return p.describe(t, first)
}

// of returns what is known of a tool, nil when its definition is not known.
func (p *pins) of(name string) (*message.Tool, *input.MCPTool) {
	p.mu.RLock()
	s, ok := p.seen[name]
	p.mu.RUnlock()
	if !ok {
		return nil, nil
	}
	return s.tool, p.describe(s.tool, s.first)
}

func (p *pins) describe(t *message.Tool, first time.Time) *input.MCPTool {
	state, changed := "new", []string(nil)
	switch good := p.approved[t.Name]; {
	case p.approved == nil:
		state = "unknown"
	case good == nil:
	case good.Digest == t.Digest:
		state = "approved"
	default:
		state, changed = "changed", message.Changed(good.Value, t.Value, maxChanged)
	}
	return t.Described(state, first.UTC().Format(time.RFC3339), changed)
}

// refuses says why a tool may not be called whatever policies say, nil where it
// may be asked about.
func (p *pins) refuses(name string, known *input.MCPTool) *engine.Denial {
	if p.approved == nil {
		return nil
	}
	switch {
	case known == nil:
		return &engine.Denial{Reasons: []string{ReasonToolUnseen}, Message: "the server has not told what the tool " + name + " is", Hint: "Ask for tools/list first."}
	case known.Pin == "approved":
		return nil
	case known.Pin == "changed":
		return &engine.Denial{Reasons: []string{ReasonToolChanged}, Message: "the tool " + name + " is not what it was when it was approved", Hint: "The operator has to approve its new definition."}
	}
	return &engine.Denial{Reasons: []string{ReasonToolNew}, Message: "nobody has approved the tool " + name, Hint: "The operator has to approve it."}
}
