package message

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
)

// Context is what is known of a message beside its bytes.
type Context struct {
	Server    string // the target's name
	Transport string // "http" or "stdio"
	Version   string // the session's revision, "" before it is known
	ToClient  bool   // the server sends it
	Answers   string // the method that a response answers, "" where it is not known
	Client    input.MCPClient
	Tool      *input.MCPTool // of the tool that is called; nil where it is not known
}

// Decoded is a message as a policy sees it.
type Decoded struct {
	Action   input.MCPAction
	Resource input.MCPResource
	Detail   input.MCPMessage
	Unknown  []input.Unknown

	meta map[string]any // as it came
}

// Decode says what a message asks for. The error is a *Refusal.
func Decode(m *Message, c Context) (*Decoded, error) {
	name := m.Method
	if m.Kind == Response {
		name = c.Answers
	}
	direction := "to_server"
	if c.ToClient {
		direction = "to_client"
	}
	known, ok := methods[name]
	d := &Decoded{
		Action:   input.MCPAction{Verb: known.verb, Method: name, Message: m.Kind, Direction: direction, Writes: known.writes, Secrets: []string{}},
		Resource: input.MCPResource{Kind: known.kind, Names: []string{}, Server: c.Server, ArgumentNames: []string{}},
		Detail: input.MCPMessage{
			Version: c.Version, Transport: c.Transport, Server: c.Server, Method: name, Message: m.Kind, Direction: direction,
			Client: c.Client, Tool: emptyTool(), Findings: []string{},
		},
		Unknown: slices.Clone(m.Unknown),
	}
	if d.Detail.Client.Capabilities == nil {
		d.Detail.Client.Capabilities = []string{}
	}
	if !ok || m.Kind != Response && known.notice != (m.Kind == Notification) || m.Kind != Response && known.toClient != c.ToClient && !either[name] {
		d.Action.Verb, d.Action.Opaque, d.Action.Writes, d.Resource.Kind = "unknown", true, true, "unknown"
		d.unknown("method", "not one that regate knows here")
		known = method{}
	}
	if m.Kind == Response {
		d.Action.Verb, d.Action.Writes = "respond", true
		d.Detail.Responses, known.name = m.Answer, ""
	}
	params, _ := m.Params.(map[string]any)
	if err := d.readMeta(params); err != nil {
		return nil, err
	}
	if d.Detail.Version == "" {
		d.Detail.Version = VersionUnknown
	}
	if err := d.readParams(name, known, params); err != nil {
		return nil, err
	}
	d.Detail.Era = Era(d.Detail.Version)
	if d.Resource.Kind == "server" {
		d.Resource.Names = []string{c.Server}
	}
	if known.kind == "tool" && known.name != "" {
		d.Detail.Tool.Pin = "unknown"
		if c.Tool != nil {
			d.Detail.Tool = *c.Tool
		}
		d.Resource.Pin = d.Detail.Tool.Pin
		if d.Resource.Pin == "approved" && readsOnly(d.Detail.Tool.Annotations) {
			d.Action.Writes = false
		}
	}
	return d, nil
}

// either are the methods that both sides send.
var either = map[string]bool{"ping": true, "notifications/cancelled": true, "notifications/progress": true, "tasks/get": true, "tasks/result": true, "tasks/list": true, "tasks/cancel": true, "notifications/tasks/status": true}

func emptyTool() input.MCPTool { return input.MCPTool{Changed: []string{}, Findings: []string{}} }

func readsOnly(annotations any) bool {
	a, _ := annotations.(map[string]any)
	only, _ := a["readOnlyHint"].(bool)
	return only
}

// unshown are members of _meta that differ from one try to the next, and those
// that have a key of their own in the document: an approval is bound to what
// is shown.
var unshown = []string{"progressToken", "traceparent", "tracestate", "baggage", metaVersion, metaClient, metaCapability, "io.modelcontextprotocol/logLevel"}

// ClientMeta are the members of _meta that every modern request has.
var ClientMeta = []string{metaVersion, metaClient, metaCapability}

// readMeta takes what a modern request says of its client.
func (d *Decoded) readMeta(params map[string]any) error {
	meta, ok := params["_meta"]
	if !ok {
		return nil
	}
	object, ok := meta.(map[string]any)
	if !ok {
		return refuse(ReasonParams, "_meta is no object")
	}
	d.meta = object
	rest := maps.Clone(object)
	maps.DeleteFunc(rest, func(name string, _ any) bool { return slices.Contains(unshown, name) })
	if len(rest) > 0 {
		d.Detail.Meta = rest
	}
	if v, there := object[metaVersion]; there {
		version, ok := v.(string)
		if !ok || d.Detail.Version != "" && d.Detail.Version != version {
			return refuse(ReasonVersion, "the message is of another revision than its session")
		}
		d.Detail.Version = version
	}
	if info, ok := object[metaClient].(map[string]any); ok {
		d.Detail.Client.Name, _ = info["name"].(string)
		d.Detail.Client.Version, _ = info["version"].(string)
	}
	if list, ok := object[metaCapability].(map[string]any); ok {
		d.Detail.Client.Capabilities = names(list)
	}
	return nil
}

func (d *Decoded) readParams(name string, known method, params map[string]any) error {
	if params == nil {
		if known.name != "" {
			return refuse(ReasonParams, "%s needs params", name)
		}
		return nil
	}
	rest := maps.Clone(params)
	delete(rest, "_meta")
	delete(rest, "requestState") // the server's own, and another one each time
	d.Detail.Params = rest
	for given := range params {
		for _, exact := range []string{"name", "uri", "arguments", "taskId", "cursor", "_meta", "protocolVersion", "clientInfo", "capabilities", "inputResponses", "requestState", "task", "ref", "argument"} {
			if given != exact && strings.EqualFold(given, exact) {
				return refuse(ReasonName, "the params have %q, which some readers take for %q", clip(given), exact)
			}
		}
	}
	if v, ok := params["inputResponses"]; ok {
		d.Detail.Responses = v
	}
	if known.name != "" {
		if err := d.readName(known, params[known.name]); err != nil {
			return err
		}
	}
	switch name {
	case "initialize":
		version, ok := params["protocolVersion"].(string)
		if !ok {
			return refuse(ReasonParams, "initialize names no protocolVersion")
		}
		d.Detail.Version = version
		if info, ok := params["clientInfo"].(map[string]any); ok {
			d.Detail.Client.Name, _ = info["name"].(string)
			d.Detail.Client.Version, _ = info["version"].(string)
		}
		if list, ok := params["capabilities"].(map[string]any); ok {
			d.Detail.Client.Capabilities = names(list)
		}
	case "tools/call", "prompts/get":
		arguments, there := params["arguments"]
		object, ok := arguments.(map[string]any)
		if there && arguments != nil && !ok {
			return refuse(ReasonParams, "the arguments are no object")
		}
		if object != nil {
			d.Detail.Arguments, d.Resource.ArgumentNames = object, names(object)
		}
	case "completion/complete":
		return d.readCompletion(params)
	}
	return nil
}

func (d *Decoded) readName(known method, v any) error {
	text, ok := v.(string)
	if !ok || text == "" {
		return refuse(ReasonParams, "%s is no string", known.name)
	}
	d.Resource.Names = []string{text}
	switch known.kind {
	case "tool":
		d.Resource.Tool = &text
	case "prompt":
		d.Resource.Prompt = &text
	case "task":
		d.Resource.Task = &text
	case "resource":
		return d.setURI(text)
	}
	if len(text) > 1024 || strings.ContainsFunc(text, invisible) {
		return refuse(ReasonParams, "%s is too long, or has a character that cannot be seen", known.name)
	}
	return nil
}

func (d *Decoded) setURI(uri string) error {
	scheme, err := CanonicalURI(uri)
	if err != nil {
		return err
	}
	d.Resource.URI, d.Resource.URIScheme, d.Resource.Names = &uri, &scheme, []string{uri}
	return nil
}

func (d *Decoded) readCompletion(params map[string]any) error {
	ref, ok := params["ref"].(map[string]any)
	if !ok {
		return refuse(ReasonParams, "the completion's ref is no object")
	}
	kind, _ := ref["type"].(string)
	switch kind {
	case "ref/prompt":
		d.Resource.Kind = "prompt"
		return d.readName(method{kind: "prompt", name: "ref.name"}, ref["name"])
	case "ref/resource":
		uri, ok := ref["uri"].(string)
		if !ok {
			return refuse(ReasonParams, "ref.uri is no string")
		}
		// A template, with braces: it is not resolved here.
		d.Resource.Kind, d.Resource.Names, d.Resource.URI = "resource", []string{uri}, &uri
		return nil
	}
	return refuse(ReasonParams, "the completion's ref is of no known type")
}

func (d *Decoded) unknown(what, why string) {
	d.Unknown = append(d.Unknown, input.Unknown{What: what, Why: why})
}

// Find looks for sensitive values in what is sent.
func (d *Decoded) Find(detect *mask.Detector) {
	kinds := map[string]any{}
	var found []mask.Finding
	walkText(map[string]any{"params": d.Detail.Params, "meta": d.Detail.Meta, "responses": d.Detail.Responses}, func(s string) {
		found = detect.Scan([]byte(s), found[:0])
		for _, f := range found {
			kinds[f.Kind] = nil
		}
	})
	d.Action.Secrets = names(kinds)
}

// Of says that a message on a task is about a tool's result.
func (d *Decoded) Of(name string, tool *input.MCPTool) {
	d.Resource.Tool, d.Detail.Tool.Pin = &name, "unknown"
	if tool != nil {
		d.Detail.Tool = *tool
	}
	d.Resource.Pin = d.Detail.Tool.Pin
}

// HiddenIn names what is hidden in the texts of a value, sorted; see Hidden.
func HiddenIn(v any) []string {
	seen := map[string]any{}
	walkText(v, func(s string) {
		for _, f := range Hidden(s) {
			seen[f] = nil
		}
	})
	return names(seen)
}

// Answered is the message's part at stage "response": what was found in the
// answer stands for what was found in the request.
func (d *Decoded) Answered(findings []string) *input.Part {
	detail := d.Detail
	detail.Findings = findings
	return input.NewPart(detail)
}

// names are the keys of an object, sorted.
func names(object map[string]any) []string {
	list := slices.AppendSeq([]string{}, maps.Keys(object))
	slices.Sort(list)
	return list
}

// Parts are a message's part of the input document.
type Parts struct {
	Action, Resource, Detail, Unknown *input.Part
	Complete                          bool
}

// Parts wraps what was read. It must not be changed after it.
func (d *Decoded) Parts() Parts {
	p := Parts{Action: input.NewPart(d.Action), Resource: input.NewPart(d.Resource), Detail: input.NewPart(d.Detail), Complete: len(d.Unknown) == 0}
	if !p.Complete {
		p.Unknown = input.NewPart(d.Unknown)
	}
	return p
}

// Item is the decision whether an agent may know of one item of a list.
func (d *Decoded) Item(name string, tool *input.MCPTool) *Decoded {
	item := *d
	item.Action.Item = true
	item.Resource.Names = []string{name}
	switch d.Resource.Kind {
	case "tool":
		item.Resource.Tool = &name
		if tool != nil {
			item.Detail.Tool, item.Resource.Pin = *tool, tool.Pin
		}
	case "prompt":
		item.Resource.Prompt = &name
	case "task":
		item.Resource.Task = &name
	case "resource":
		item.Resource.URI = &name
		if scheme, _, ok := strings.Cut(name, ":"); ok {
			scheme = strings.ToLower(scheme)
			item.Resource.URIScheme = &scheme
		}
	}
	return &item
}

// Connecting is what stage "session" shows.
func Connecting(server, transport string) Parts {
	d := Decoded{
		Action:   input.MCPAction{Verb: "connect", Message: "none", Direction: "to_server", Secrets: []string{}},
		Resource: input.MCPResource{Kind: "server", Names: []string{server}, Server: server, ArgumentNames: []string{}},
		Detail: input.MCPMessage{
			Era: "unknown", Version: VersionUnknown, Transport: transport, Server: server, Message: "none", Direction: "to_server",
			Client: input.MCPClient{Capabilities: []string{}}, Tool: emptyTool(), Findings: []string{},
		},
	}
	return d.Parts()
}

// Unreadable is what is recorded of a message that is refused before policies
// are asked.
func Unreadable(server, transport string, why *Refusal) Parts {
	p := Connecting(server, transport)
	action := p.Action.Value().(input.MCPAction)
	action.Verb, action.Message, action.Writes, action.Opaque = "unknown", "unknown", true, true
	detail := p.Detail.Value().(input.MCPMessage)
	detail.Message = "unknown"
	return Parts{
		Action: input.NewPart(action), Resource: p.Resource, Detail: input.NewPart(detail),
		Unknown: input.NewPart([]input.Unknown{{What: "message", Why: why.Reason}}),
	}
}

const maxSummary = 500

// Summary is one line for approvers.
func (d *Decoded) Summary() string {
	line := d.Action.Method
	if d.Action.Verb == "respond" {
		line = "response to " + line
	}
	if len(d.Resource.Names) > 0 && d.Resource.Kind != "server" {
		line += " " + d.Resource.Names[0]
	}
	if d.Detail.Arguments != nil {
		if text, err := json.Marshal(d.Detail.Arguments); err == nil {
			line += " " + string(text)
		}
	}
	if len(line) > maxSummary {
		line = strings.ToValidUTF8(line[:maxSummary], "") + "…"
	}
	return line
}

// Session is a GET, which listens to what a server says on its own, or a
// DELETE, which ends the server's session.
func Session(server, version, httpMethod string) *Decoded {
	if version == "" {
		version = VersionUnknown
	}
	verb, writes := "subscribe", false
	if httpMethod == "DELETE" {
		verb, writes = "cancel", true
	}
	return &Decoded{
		Action:   input.MCPAction{Verb: verb, Method: httpMethod, Message: "none", Direction: "to_server", Writes: writes, Secrets: []string{}},
		Resource: input.MCPResource{Kind: "server", Names: []string{server}, Server: server, ArgumentNames: []string{}},
		Detail: input.MCPMessage{
			Era: Era(version), Version: version, Transport: "http", Server: server, Method: httpMethod, Message: "none", Direction: "to_server",
			Client: input.MCPClient{Capabilities: []string{}}, Tool: emptyTool(), Findings: []string{},
		},
	}
}
