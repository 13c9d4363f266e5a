package kubernetes

import (
	"time"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// obligations are what this proxy can carry out.
var obligations = []string{"mask", "require_approval", "record"}

// Client is the agent's end of a session.
type Client struct {
	Address     string // IP and port
	Application string // its User-Agent
	TLS         bool
	Asserted    input.Asserted
}

// hello opens a session of id on a cluster.
func hello(name string, labels map[string]string, role, version string, id *identity.Identity, c Client) engine.Hello {
	if labels == nil {
		labels = map[string]string{}
	}
	if version == "" {
		version = "unknown"
	}
	return engine.Hello{
		Identity: id, Protocol: input.Kubernetes,
		Target:   input.Target{Name: name, Protocol: input.Kubernetes, Labels: labels, Role: role, Version: version},
		Client:   input.Client{Address: c.Address, Application: c.Application, TLS: c.TLS},
		Asserted: c.Asserted,
		Action:   input.NewPart(input.KubernetesAction{Verb: "connect"}),
		Resource: input.NewPart(request.Nothing("cluster", name)),

		Obligations: obligations,
	}
}

// ask is what the gate is asked about one request.
func ask(r *request.Request) *engine.Request {
	out := &engine.Request{
		Action: input.NewPart(r.Action), Resource: input.NewPart(r.Resource), Detail: input.NewPart(r.Detail),
		Complete: len(r.Unknown) == 0, Writes: r.Action.Writes, Summary: r.Summary(),
	}
	if len(r.Unknown) > 0 {
		out.Unknown = input.NewPart(r.Unknown)
	}
	return out
}

// askUnread is ask for a request that was refused before it could be decoded.
func askUnread(raw request.Raw, r *request.Refusal) *engine.Request {
	resource := request.Nothing("unknown")
	return &engine.Request{
		Action:   input.NewPart(input.KubernetesAction{Verb: "unknown", Writes: true, Opaque: true}),
		Resource: input.NewPart(resource),
		Detail:   input.NewPart(request.Unread(raw)),
		Unknown:  input.NewPart([]input.Unknown{{What: "request", Why: r.Message}}),
		Writes:   true, Summary: raw.Method + " " + shorten(raw.Target),
	}
}

// refused is a refusal as the agent gets it.
func refused(r *request.Refusal) *engine.Denial {
	return &engine.Denial{Reasons: []string{r.Reason}, Message: r.Message, Hint: r.Hint}
}

// shorten keeps a line for people short.
func shorten(s string) string {
	const most = 300
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// Preview says what the gateway would ask policies about for requests of a
// fresh session. It is the gateway's own code; nothing is sent and nothing is
// decided.
type Preview struct{ scene *engine.Preview }

// PreviewConfig is who is taken to ask what. Identity is required.
type PreviewConfig struct {
	Target   string
	Labels   map[string]string
	Identity *identity.Identity
	Client   Client
	Now      time.Time
}

// NewPreview returns a preview.
func NewPreview(c PreviewConfig) *Preview {
	return &Preview{engine.NewPreview(hello(c.Target, c.Labels, "", "", c.Identity, c.Client), c.Now)}
}

// Open is the document of stage "session".
func (p *Preview) Open() *input.Document { return p.scene.Open() }

// Request is the document of one request. An error is a *engine.Denial: the
// gateway refuses it without asking a policy.
func (p *Preview) Request(raw request.Raw) (*input.Document, error) {
	r, refusal := request.Decode(raw, request.Options{})
	if refusal != nil {
		return nil, refused(refusal)
	}
	return p.scene.Request(ask(r)), nil
}
