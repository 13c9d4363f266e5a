package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/pin"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// Reason ids of tools whose definition is not the one that was approved.
const (
	ReasonToolNew     = "mcp/tool-new"     // nobody has approved it; a tool under another name is a new one
	ReasonToolChanged = "mcp/tool-changed" // its definition has changed since it was approved
	ReasonToolUnseen  = "mcp/tool-unseen"  // the server has not told its definition yet
)

// Pinning says what becomes of tools that nobody has approved.
type Pinning string

// The ways to pin.
const (
	PinStrict   Pinning = "strict"    // kept back until somebody approves them
	PinFirstUse Pinning = "first_use" // approved as they are first seen; kept back when they change
	PinOff      Pinning = "off"       // policies decide
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
	server string
	mode   Pinning
	store  *pin.Store
	file   map[string]*message.Tool // approved by the configuration

	mu      sync.Mutex
	tools   map[string]*message.Tool // as the server tells, by name
	learned time.Time                // when the server last told them all
}

// learnEvery is how long what a server has told of its tools is believed.
const learnEvery = 5 * time.Minute

func newPins(t Target, store *pin.Store) *pins {
	return &pins{server: t.Name, mode: t.Pinning, store: store, file: t.Approved, tools: map[string]*message.Tool{}}
}

// note keeps the definition that a server has just told. When it is another
// than before, the later one counts for everybody: a server that tells each
// agent something else is one whose tools change.
func (p *pins) note(ctx context.Context, t *message.Tool, log logrus.FieldLogger) *input.MCPTool {
	p.mu.Lock()
	if old := p.tools[t.Name]; old == nil || old.Digest != t.Digest {
		if len(p.tools) > maxTools {
			clear(p.tools)
		}
		p.tools[t.Name] = t
	}
	p.mu.Unlock()
	e, err := p.store.Note(ctx, p.server, t.Name, pin.Definition{Digest: t.Digest, JSON: t.Canonical}, p.mode == PinFirstUse)
	if err != nil {
		log.WithError(err).WithField("target", p.server).WithField("tool", t.Name).Error("the definition of a tool cannot be kept")
		return t.Described("unknown", "", nil)
	}
	known := p.describe(t, e)
	if p.refuses(t.Name, known) != nil {
		log.WithField("target", p.server).WithField("tool", t.Name).WithField("pin", known.Pin).WithField("changed", known.Changed).
			Warn("a tool is kept back: its definition is not approved")
	}
	return known
}

// maxTools bounds the definitions that are kept at hand.
const maxTools = 5000

// of returns what is known of a tool, nil when its definition is not known. In
// a cluster another gateway may have heard of it later.
func (p *pins) of(name string) (*message.Tool, *input.MCPTool) {
	e, ok := p.store.Get(p.server, name)
	p.mu.Lock()
	defer p.mu.Unlock()
	t := p.tools[name]
	switch {
	case ok && e.Seen != nil && (t == nil || t.Digest != e.Seen.Digest):
		read, err := message.ReadTool(e.Seen.JSON)
		if err != nil {
			return nil, nil
		}
		t, p.tools[name] = read, read
	case t == nil:
		return nil, nil
	case !ok:
		return t, t.Described("unknown", "", nil)
	}
	return t, p.describe(t, e)
}

// described is of without the definition itself.
func (p *pins) described(name string) *input.MCPTool {
	_, known := p.of(name)
	return known
}

func (p *pins) describe(t *message.Tool, e *pin.Entry) *input.MCPTool {
	state, changed := e.State(), []string(nil)
	approved := p.file[t.Name]
	switch {
	case approved != nil && approved.Digest == t.Digest:
		state = pin.Approved
	case approved != nil && state != pin.Approved:
		state, changed = pin.Changed, message.Changed(approved.Value, t.Value, maxChanged)
	case state == pin.Changed:
		if old, err := message.ReadTool(e.Approved.JSON); err == nil {
			changed = message.Changed(old.Value, t.Value, maxChanged)
		}
	}
	return t.Described(string(state), e.FirstSeen.UTC().Format(time.RFC3339), changed)
}

// stale reports whether the server should be asked for its tools.
func (p *pins) stale() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode != PinOff && time.Since(p.learned) > learnEvery
}

// fresh notes that the server has told all of its tools.
func (p *pins) fresh(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.learned = now
}

// forget makes the next call ask the server for its tools: it says that they
// have changed.
func (p *pins) forget() { p.fresh(time.Time{}) }

// refuses says why a tool may not be called whatever policies say, nil where it
// may be asked about.
func (p *pins) refuses(name string, known *input.MCPTool) *engine.Denial {
	switch {
	case p.mode == PinOff:
		return nil
	case known == nil || known.Pin == "unknown":
		return &engine.Denial{Reasons: []string{ReasonToolUnseen}, Message: "the server has not told what the tool " + name + " is", Hint: "Ask for tools/list first."}
	case known.Pin == string(pin.Approved):
		return nil
	case known.Pin == string(pin.Changed):
		return &engine.Denial{Reasons: []string{ReasonToolChanged}, Message: "the tool " + name + " is not what it was when it was approved", Hint: "The operator has to approve its new definition: regate tools show " + p.server + " " + name}
	}
	return &engine.Denial{Reasons: []string{ReasonToolNew}, Message: "nobody has approved the tool " + name, Hint: "The operator has to approve it: regate tools show " + p.server + " " + name}
}
