package request

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"net/url"

	"github.com/regate-dev/regate/engine/input"
)

// WithOutcome returns the request with the object that it will leave, and the one
// that it finds.
func (r *Request) WithOutcome(outcome map[string]any, current *input.KubernetesCurrent, fingerprint func([]byte) string) *Request {
	out := r.WithCurrent(current)
	secret := r.Resource.Resource == "secrets" && r.Resource.Group == ""
	out.Detail.Outcome = withholder{fingerprint: fingerprint, stored: true}.walk(outcome, secret)
	return out
}

// WithCurrent returns the request with the object that it finds; nil for none.
func (r *Request) WithCurrent(current *input.KubernetesCurrent) *Request {
	out := *r
	out.Detail.Current = current
	return &out
}

// DryRun is a request's target with a dry run asked for, for a patch.
func (r *Request) DryRun() string {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		q = url.Values{} // it was decoded before: it does not happen
	}
	q.Set("dryRun", "All")
	return q.Encode()
}

// Conditional returns a request that changes nothing where the object is not the
// one that was decided on any more: the API server answers 409 then. It is false
// where the API server knows no such condition for it.
func Conditional(raw Raw, r *Request, current input.KubernetesCurrent) (Raw, bool, error) {
	if !r.IsResource || current.UID == "" {
		return raw, false, nil
	}
	var body any
	var err error
	switch r.Action.Verb {
	case "patch":
		body, err = patchOn(raw, r, current.ResourceVersion)
	case "update":
		body, err = objectOn(r, current.ResourceVersion)
	case "delete":
		body, err = deleteOn(raw, r, current)
	default:
		return raw, false, nil
	}
	if err != nil {
		return raw, false, err
	}
	out := raw
	if out.Body, err = json.Marshal(body); err != nil {
		return raw, false, err
	}
	out.Header = raw.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	if r.Action.Verb != "patch" {
		out.Header.Set("Content-Type", "application/json")
	}
	return out, true, nil
}

// patchOn is a patch with a resource version. A strategic or merge patch and an
// apply have one as the object does; operations set it as the last of them.
func patchOn(raw Raw, r *Request, version string) (any, error) {
	if version == "" {
		return nil, errors.New("the object has no resource version")
	}
	if r.Detail.Body.Patch != "json" {
		return objectOn(r, version)
	}
	dec := json.NewDecoder(bytes.NewReader(raw.Body))
	dec.UseNumber()
	var operations []any
	if err := dec.Decode(&operations); err != nil {
		return nil, err
	}
	return append(operations, map[string]any{"op": "add", "path": "/metadata/resourceVersion", "value": version}), nil
}

// objectOn is the object in the body with a resource version. One that the agent
// gives is its own condition.
func objectOn(r *Request, version string) (any, error) {
	if len(r.Bodies) != 1 || version == "" {
		return nil, errors.New("the body is no object")
	}
	object, ok := r.Bodies[0].(map[string]any)
	if !ok {
		return nil, errors.New("the body is no object")
	}
	metadata, ok := object["metadata"].(map[string]any)
	if !ok && object["metadata"] != nil {
		return nil, errors.New("the body's metadata is no object")
	}
	if _, there := object["metadata"]; there && metadata == nil {
		return nil, errors.New("the body removes the metadata")
	}
	object, metadata = maps.Clone(object), maps.Clone(metadata)
	if metadata == nil {
		metadata = map[string]any{}
	}
	if own := text(metadata["resourceVersion"]); own == "" || own == "0" {
		metadata["resourceVersion"] = version
	}
	object["metadata"] = metadata
	return object, nil
}

// deleteOn are options of a delete with the object's UID. Where there is a body
// the API server does not look at the query, so what that says is put there.
func deleteOn(raw Raw, r *Request, current input.KubernetesCurrent) (any, error) {
	options := map[string]any{}
	if len(raw.Body) > 0 {
		if len(r.Bodies) != 1 {
			return nil, errors.New("the body is no object")
		}
		given, ok := r.Bodies[0].(map[string]any)
		if !ok {
			return nil, errors.New("the body is no object")
		}
		options = maps.Clone(given)
	} else {
		o := r.Detail.Options
		if len(o.DryRun) > 0 {
			options["dryRun"] = o.DryRun
		}
		if o.GracePeriod != nil {
			options["gracePeriodSeconds"] = *o.GracePeriod
		}
		if o.Propagation != "" {
			options["propagationPolicy"] = o.Propagation
		}
		if r.Detail.Query["orphanDependents"] != nil || o.IgnoreReadErrors {
			return nil, errors.New("the query has options that it cannot be told from")
		}
	}
	options["kind"], options["apiVersion"] = "DeleteOptions", "v1"
	conditions, _ := options["preconditions"].(map[string]any)
	conditions = maps.Clone(conditions)
	if conditions == nil {
		conditions = map[string]any{}
	}
	if own := text(conditions["uid"]); own == "" {
		conditions["uid"] = current.UID
	}
	options["preconditions"] = conditions
	return options, nil
}
