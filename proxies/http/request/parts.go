package request

import (
	"github.com/regate-dev/regate/engine/input"
)

// Parts are a request's part of the input document.
type Parts struct {
	Action, Resource, Detail, Unknown *input.Part
	Complete                          bool
}

// Parts wraps what was read. The request must not be read further after it.
func (r *Request) Parts() Parts {
	p := Parts{Action: input.NewPart(r.Action), Resource: input.NewPart(r.Resource), Detail: input.NewPart(r.Detail), Complete: len(r.Unknown) == 0}
	if !p.Complete {
		p.Unknown = input.NewPart(r.Unknown)
	}
	return p
}

// Connecting is what stage "session" shows: an agent that will send requests
// to origin, where that is known.
func Connecting(mode string, o Origin) Parts {
	action := input.HTTPAction{Verb: "connect", Body: "none", Secrets: []string{}}
	resource := input.HTTPResource{
		Kind: "origin", Names: []string{}, Segments: []string{}, Params: map[string]string{}, Tags: []string{},
		QueryNames: []string{}, BodyNames: []string{}, FieldNames: []string{},
	}
	detail := input.HTTPRequest{
		Mode: mode, Query: map[string][]string{}, Headers: map[string][]string{}, HeaderNames: []string{}, Cookies: []string{},
		Route: input.HTTPRoute{Params: map[string]string{}, Tags: []string{}, Extensions: map[string]any{}},
		Body:  emptyBody(), Findings: input.HTTPFindings{URL: []string{}, Headers: []string{}, Body: []string{}},
	}
	if o.Host != "" {
		resource.Names, resource.Origin, resource.Host, resource.Port = []string{o.String()}, o.String(), o.Host, o.Port
		detail.Scheme, detail.Host, detail.Port = o.Scheme, o.Host, o.Port
	}
	return Parts{Action: input.NewPart(action), Resource: input.NewPart(resource), Detail: input.NewPart(detail), Complete: true}
}

// Unreadable is what is recorded of a request that is refused before policies
// are asked: what is known of it, and why.
func Unreadable(mode, method, host string, why *Refusal) Parts {
	p := Connecting(mode, Origin{})
	action := p.Action.Value().(input.HTTPAction)
	action.Verb, action.Writes, action.Opaque = "unknown", true, true
	resource := p.Resource.Value().(input.HTTPResource)
	resource.Kind = "unknown"
	detail := p.Detail.Value().(input.HTTPRequest)
	detail.Method, detail.Host = clip(method), clip(host)
	return Parts{
		Action: input.NewPart(action), Resource: input.NewPart(resource), Detail: input.NewPart(detail),
		Unknown: input.NewPart([]input.Unknown{{What: "request", Why: why.Reason}}),
	}
}
