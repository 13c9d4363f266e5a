package kubernetes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// maxObject bounds an object that the gateway reads for itself, in bytes: twice
// what a request may be.
const maxObject = 2 * request.MaxBody

// resolved is what is known of a request beyond what it says itself, and the form
// in which it is sent on for that to hold.
type resolved struct {
	request *request.Request
	raw     request.Raw
	denial  *engine.Denial // why it must not be sent on, whatever policies say
	stream  *input.KubernetesCurrent
}

// resolve finds out what a patch would make of its object, where a policy reads
// that.
func (s *Server) resolve(ctx context.Context, session *session, t *target, r *request.Request, raw request.Raw) *resolved {
	out := &resolved{request: r, raw: raw}
	if !r.IsResource || r.Action.Verb != "patch" || r.Action.Upgrade != "" || !s.reads("kubernetes", "outcome") {
		return out
	}
	unknown := func(why string) *resolved {
		known := *r
		known.Unknown = append([]input.Unknown{{What: "outcome", Why: why}}, r.Unknown...)
		out.request = &known
		out.denial = &engine.Denial{
			Reasons: []string{ReasonOutcome}, Message: "what the patch would make of the object cannot be told, and a policy asks for it: " + why,
			Hint: "Correct the patch, or create the object first.",
		}
		return out
	}
	object, status, err := s.ask(ctx, session, t, r, http.MethodPatch, r.DryRun(), raw)
	switch {
	case err != nil:
		return unknown("the API server gave no answer to a dry run")
	case status == http.StatusCreated:
		return unknown("there is no such object yet")
	case status != http.StatusOK:
		return unknown(fmt.Sprintf("the API server answers a dry run with %d %s", status, http.StatusText(status)))
	}
	current := currentOf(object)
	onward, ok, err := request.Conditional(raw, r, *current)
	if err != nil || !ok {
		return unknown("it cannot be bound to the object as it is")
	}
	out.request, out.raw = r.WithOutcome(object, current, s.fingerprint), onward
	return out
}

// bind looks at the object of a request that a person is asked about.
func (s *Server) bind(ctx context.Context, session *session, t *target, to *resolved) *engine.Denial {
	r := to.request
	if to.denial != nil {
		return to.denial
	}
	if !r.IsResource || !r.Action.Named || r.Detail.Current != nil {
		return nil
	}
	current, denial := s.current(ctx, session, t, r)
	if denial != nil || current == nil {
		return denial
	}
	onward, ok, err := request.Conditional(to.raw, r, *current)
	if err != nil {
		return &engine.Denial{Reasons: []string{ReasonOutcome}, Message: "the request needs approval, and cannot be bound to the object as it is: " + err.Error()}
	}
	if !ok { // the API server knows no condition: it is looked at once more
		to.stream = current
	}
	to.request, to.raw = r.WithCurrent(current), onward
	return nil
}

// current is the object that a request names; nil where there is none.
func (s *Server) current(ctx context.Context, session *session, t *target, r *request.Request) (*input.KubernetesCurrent, *engine.Denial) {
	object, status, err := s.ask(ctx, session, t, r, http.MethodGet, "", request.Raw{})
	switch {
	case err != nil || status != http.StatusOK && status != http.StatusNotFound && status != http.StatusForbidden && status != http.StatusMethodNotAllowed:
		return nil, &engine.Denial{Reasons: []string{ReasonUpstream}, Message: "the request needs approval, and the API server does not say what it is about", Hint: "Try again in a few seconds."}
	case status != http.StatusOK:
		return nil, nil
	}
	current := currentOf(object)
	switch r.Action.Verb {
	case "patch", "update":
	case "delete": // whatever has changed, it is the same object that goes
		current.ResourceVersion = ""
	default: // of a subresource: its status changes all the time
		spec, err := json.Marshal(object["spec"])
		if err != nil {
			return nil, asDenial(err)
		}
		current.ResourceVersion, current.Spec = "", s.fingerprint(spec)
	}
	return current, nil
}

func currentOf(object map[string]any) *input.KubernetesCurrent {
	metadata, _ := object["metadata"].(map[string]any)
	uid, _ := metadata["uid"].(string)
	version, _ := metadata["resourceVersion"].(string)
	return &input.KubernetesCurrent{UID: uid, ResourceVersion: version}
}

// changed says why a request that was held must not go on: what it was approved
// for is not there any more.
func (s *Server) changed(ctx context.Context, session *session, t *target, to *resolved) *engine.Denial {
	if to.stream == nil {
		return nil
	}
	now, denial := s.current(ctx, session, t, to.request)
	if denial != nil {
		return denial
	}
	if now == nil || *now != *to.stream {
		return &engine.Denial{
			Reasons: []string{ReasonOutcome}, Message: "the object has changed while the request was held",
			Hint: "Send the request again: it will be held anew.",
		}
	}
	return nil
}

// ask sends a request of the gateway's own about the object of r, with its
// credential, for the agent where that is configured. What comes back is for
// policies, not for the agent.
func (s *Server) ask(ctx context.Context, session *session, t *target, r *request.Request, method, query string, raw request.Raw) (map[string]any, int, error) {
	u := *t.base
	path := r.URL.Path
	if method == http.MethodGet {
		path = r.ObjectPath()
	}
	u.Path += path
	u.RawQuery = query
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(raw.Body))
	if err != nil {
		return nil, 0, err
	}
	if kind := raw.Header.Get("Content-Type"); kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	req.Header.Set("Accept", "application/json")
	acts, err := t.Impersonate.of(session.Identity())
	if err != nil {
		return nil, 0, err
	}
	for name, values := range acts {
		req.Header[name] = values
	}
	resp, err := t.round.RoundTrip(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, chunk))
		return nil, resp.StatusCode, nil
	}
	dec := json.NewDecoder(io.LimitReader(resp.Body, maxObject))
	dec.UseNumber()
	var object map[string]any
	if err := dec.Decode(&object); err != nil {
		return nil, 0, err
	}
	if current := currentOf(object); current.UID == "" && current.ResourceVersion == "" {
		return nil, 0, errors.New("kubernetes: an object without an identity")
	}
	return object, resp.StatusCode, nil
}
