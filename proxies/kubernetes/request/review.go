package request

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/regate-dev/regate/engine/input"
)

// Reviewed is the request that a SelfSubjectAccessReview asks about, as far as
// it says: its verb and what it is about. It is nil for other requests, and for
// a review that asks about no single request.
func (r *Request) Reviewed() *Request {
	if r.Resource.Type != "selfsubjectaccessreviews.authorization.k8s.io" || r.Action.Verb != "create" || len(r.Bodies) != 1 {
		return nil
	}
	body, _ := r.Bodies[0].(map[string]any)
	spec, _ := body["spec"].(map[string]any)
	if about, ok := spec["resourceAttributes"].(map[string]any); ok {
		return reviewedResource(about)
	}
	about, _ := spec["nonResourceAttributes"].(map[string]any)
	path, refusal := decodePath((&url.URL{Path: text(about["path"])}).EscapedPath())
	if refusal != nil {
		return nil
	}
	return hypothetical(input.KubernetesAction{Verb: text(about["verb"])}, Nothing("path", path), path)
}

func reviewedResource(about map[string]any) *Request {
	x := Nothing("collection")
	x.Group, x.Version, x.Resource = text(about["group"]), text(about["version"]), text(about["resource"])
	x.Subresource, x.Namespace, x.Name = text(about["subresource"]), text(about["namespace"]), text(about["name"])
	x.Type = x.Resource
	if x.Group != "" {
		x.Type += "." + x.Group
	}
	if x.Subresource != "" {
		x.Type += "/" + x.Subresource
	}
	if x.Namespace != "" {
		x.Namespaces = []string{x.Namespace}
	}
	if x.Name != "" {
		x.Kind, x.Names = "object", []string{join(x.Namespace, x.Name)}
	}
	a := input.KubernetesAction{Verb: text(about["verb"]), Named: x.Name != ""}
	if x.Group == "" {
		a.Stream = streams[x.Resource+"/"+x.Subresource]
	}
	if a.Verb == "watch" {
		a.Stream = "watch"
	}
	return hypothetical(a, x, "")
}

// hypothetical is a request without options, headers and body.
func hypothetical(a input.KubernetesAction, x input.KubernetesResource, path string) *Request {
	a.Writes = !slices.Contains([]string{"get", "list", "watch", "head"}, a.Verb) || slices.Contains([]string{"exec", "attach", "portforward", "proxy"}, a.Stream)
	x.Path = path
	r := &Request{Action: a, Resource: x, Unknown: []input.Unknown{}, IsResource: path == "", URL: &url.URL{Path: path}}
	r.Detail = Unread(Raw{Target: path, Header: http.Header{}})
	r.Detail.Body.Format = "none"
	r.Detail.Text = r.Summary()
	switch a.Stream {
	case "exec", "attach":
		r.Detail.Exec = &input.KubernetesExec{Command: []string{}}
	case "proxy":
		r.Detail.Proxy = &input.KubernetesProxy{Name: x.Name}
	}
	return r
}
