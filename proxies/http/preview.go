package httpproxy

import (
	"errors"
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/http/request"
)

// obligations are what this proxy can carry out.
var obligations = []string{"mask", "limit", "require_approval", "record"}

// Client is the agent's end of a connection.
type Client struct {
	Address     string // IP and port
	Application string // as it says, e.g. its User-Agent
	TLS         bool
	Asserted    input.Asserted
}

// PreviewConfig is who is taken to ask what.
type PreviewConfig struct {
	Target   string
	Labels   map[string]string
	Identity *identity.Identity
	Client   Client
	Request  request.Options
	Now      time.Time
}

// Preview says what the gateway would ask policies about. It is the gateway's
// own code, from the message to the document; nothing is sent or decided.
type Preview struct {
	scene   *engine.Preview
	decoder *request.Decoder
}

// NewPreview returns a preview of a session.
func NewPreview(c PreviewConfig) (*Preview, error) {
	decoder, err := request.NewDecoder(c.Request)
	if err != nil {
		return nil, err
	}
	return &Preview{scene: engine.NewPreview(hello(c.Target, c.Labels, c.Identity, c.Client), c.Now), decoder: decoder}, nil
}

// Open is the document of stage "session".
func (p *Preview) Open() *input.Document { return p.scene.Open() }

// Request is the document of one request, with everything that policies may
// read. An error that is a *engine.Denial says that the gateway refuses it
// without asking a policy.
func (p *Preview) Request(in request.Incoming, body []byte) (*input.Document, error) {
	r, err := p.decoder.Head(in)
	if err == nil && in.HasBody {
		if int64(len(body)) > p.decoder.MaxBody() {
			err = request.TooLarge(p.decoder.MaxBody())
		} else {
			err = r.Read(body)
		}
	}
	var refusal *request.Refusal
	if errors.As(err, &refusal) {
		return nil, denialOf(refusal)
	}
	if err != nil {
		return nil, err
	}
	r.Find()
	return p.scene.Request(gateRequest(r)), nil
}

// hello opens a session to a target.
func hello(target string, labels map[string]string, id *identity.Identity, c Client) engine.Hello {
	connect := request.Connecting("unknown", request.Origin{})
	if labels == nil {
		labels = map[string]string{}
	}
	return engine.Hello{
		Identity: id, Protocol: input.HTTP,
		Target:   input.Target{Name: target, Protocol: input.HTTP, Labels: labels, Version: "unknown"},
		Client:   input.Client{Address: c.Address, Application: c.Application, TLS: c.TLS},
		Asserted: c.Asserted,
		Action:   connect.Action, Resource: connect.Resource, Detail: connect.Detail,
		Obligations: obligations,
	}
}

// gateRequest is what the gate is asked about r.
func gateRequest(r *request.Request) *engine.Request {
	p := r.Parts()
	return &engine.Request{
		Action: p.Action, Resource: p.Resource, Detail: p.Detail, Unknown: p.Unknown, Complete: p.Complete,
		Writes: r.Action.Writes, Summary: summary(r),
	}
}

const maxSummary = 500

func summary(r *request.Request) string {
	line := r.Detail.Method + " " + r.Origin.String() + r.RawPath
	if r.RawQuery != "" {
		line += "?" + r.RawQuery
	}
	if len(line) > maxSummary {
		line = line[:maxSummary] + "…"
	}
	return line
}

// denialOf is what the agent and the record are told of a refusal.
func denialOf(r *request.Refusal) *engine.Denial {
	return &engine.Denial{Reasons: []string{r.Reason}, Message: r.Message, Hint: r.Hint}
}
