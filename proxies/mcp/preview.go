package mcp

import (
	"errors"
	"net/http"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/proxies/mcp/message"
)

// obligations are what this proxy can carry out.
var obligations = []string{"mask", "limit", "require_approval", "record"}

// Client is the agent's end of a connection.
type Client struct {
	Address     string // IP and port
	Application string // as it says
	TLS         bool
	Asserted    input.Asserted
}

// PreviewConfig is who is taken to say what.
type PreviewConfig struct {
	Target   string
	Labels   map[string]string
	Identity *identity.Identity
	Client   Client
	Version  string // the session's revision of the protocol, "" where the message says it
	Now      time.Time
}

// Preview says what the gateway would ask policies about. It is the gateway's
// own code, from the message to the document; nothing is sent or decided.
type Preview struct {
	scene   *engine.Preview
	target  string
	version string
	detect  *mask.Detector
}

// NewPreview returns a preview of a session.
func NewPreview(c PreviewConfig) (*Preview, error) {
	detect, err := mask.NewDetector(mask.Kinds())
	if err != nil {
		return nil, err
	}
	return &Preview{scene: engine.NewPreview(hello(c.Target, c.Labels, c.Identity, c.Client, "http"), c.Now), target: c.Target, version: c.Version, detect: detect}, nil
}

// Open is the document of stage "session".
func (p *Preview) Open() *input.Document { return p.scene.Open() }

// Messages are the documents of what one POST holds, whose headers may be nil.
// tools are definitions that are known, by name, and taken to be approved. An
// error that is a *engine.Denial says that the gateway refuses it without
// asking a policy.
func (p *Preview) Messages(header http.Header, body []byte, tools map[string]*message.Tool) ([]*input.Document, error) {
	list, batch, err := message.Parse(body)
	if err == nil && batch && p.version != "" && p.version != message.Version2025a {
		err = message.NoBatch(p.version)
	}
	var out []*input.Document
	for _, m := range list {
		if err != nil {
			break
		}
		var d *message.Decoded
		c := message.Context{Server: p.target, Transport: "http", Version: p.version}
		if c.Version == "" {
			c.Version = header.Get("Mcp-Protocol-Version")
		}
		if params, ok := m.Params.(map[string]any); ok && m.Method == "tools/call" {
			if name, ok := params["name"].(string); ok && tools[name] != nil {
				c.Tool = tools[name].Described("approved", "", nil)
			}
		}
		if d, err = message.Decode(m, c); err != nil {
			break
		}
		if header != nil && !batch {
			if err = message.CheckHeaders(header, m, d); err != nil {
				break
			}
		}
		d.Find(p.detect)
		out = append(out, p.scene.Request(gateRequest(d)))
	}
	var refusal *message.Refusal
	if errors.As(err, &refusal) {
		return nil, denialOf(refusal)
	}
	return out, err
}

// hello opens a session with a server.
func hello(target string, labels map[string]string, id *identity.Identity, c Client, transport string) engine.Hello {
	connect := message.Connecting(target, transport)
	if labels == nil {
		labels = map[string]string{}
	}
	return engine.Hello{
		Identity: id, Protocol: input.MCP,
		Target:   input.Target{Name: target, Protocol: input.MCP, Labels: labels, Version: "unknown"},
		Client:   input.Client{Address: c.Address, Application: c.Application, TLS: c.TLS},
		Asserted: c.Asserted,
		Action:   connect.Action, Resource: connect.Resource, Detail: connect.Detail,
		Obligations: obligations,
	}
}

// gateRequest is what the gate is asked about d.
func gateRequest(d *message.Decoded) *engine.Request {
	p := d.Parts()
	return &engine.Request{
		Action: p.Action, Resource: p.Resource, Detail: p.Detail, Unknown: p.Unknown, Complete: p.Complete,
		Writes: d.Action.Writes, Summary: d.Summary(),
	}
}

// denialOf is what the agent and the record are told of a refusal.
func denialOf(r *message.Refusal) *engine.Denial {
	return &engine.Denial{Reasons: []string{r.Reason}, Message: r.Message, Hint: r.Hint}
}
