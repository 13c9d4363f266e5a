package request

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	resolver "k8s.io/apiserver/pkg/endpoints/request"

	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/regate-dev/regate/engine/input"
)

// Raw is a request as it came.
type Raw struct {
	Method string
	Target string // the request target as sent, without a prefix that names the cluster
	Header http.Header
	Body   []byte
}

// Options are what a decoder is told from outside.
type Options struct {
	// Fingerprint stands for a value that is withheld, and for whole bodies: equal
	// for equal values. It should be keyed. Nil is SHA-256.
	Fingerprint func([]byte) string
}

// Request is one request, decoded.
type Request struct {
	Action   input.KubernetesAction
	Resource input.KubernetesResource
	Detail   input.KubernetesRequest
	Unknown  []input.Unknown

	IsResource bool
	URL        *url.URL // path and query to send on, nothing else
	// Bodies is what the body says, as JSON, with nothing withheld: the object, or
	// for a JSON patch what each operation sets, in the shape of the object.
	Bodies []any
}

// factory is the API server's own resolver, with its own configuration.
var factory = resolver.RequestInfoFactory{APIPrefixes: sets.NewString("api", "apis"), GrouplessAPIPrefixes: sets.NewString("api")}

// streams are the subresources that are no documents.
var streams = map[string]string{
	"pods/exec": "exec", "pods/attach": "attach", "pods/portforward": "portforward", "pods/log": "log",
	"pods/proxy": "proxy", "services/proxy": "proxy", "nodes/proxy": "proxy",
}

// Decode reads a request.
func Decode(raw Raw, o Options) (*Request, *Refusal) {
	if o.Fingerprint == nil {
		o.Fingerprint = func(b []byte) string {
			sum := sha256.Sum256(b)
			return "sha256:" + hex.EncodeToString(sum[:])
		}
	}
	target, rawQuery, _ := strings.Cut(raw.Target, "?")
	path, refusal := decodePath(target)
	if refusal != nil {
		return nil, refusal
	}
	query, refusal := decodeQuery(rawQuery)
	if refusal != nil {
		return nil, refusal
	}
	if refusal := checkList(query); refusal != nil {
		return nil, refusal
	}
	upgrade, refusal := checkHeader(raw.Header)
	if refusal != nil {
		return nil, refusal
	}
	onward := &url.URL{Path: path, RawQuery: query.Encode()}
	info, err := factory.NewRequestInfo(&http.Request{Method: raw.Method, URL: onward, Header: http.Header{}})
	if err != nil {
		return nil, refuse(ReasonPath, "", "the path cannot be resolved: %v", err)
	}
	r := &Request{IsResource: info.IsResourceRequest, URL: onward}
	if refusal := checkMethod(raw.Method, path, info); refusal != nil {
		return nil, refusal
	}
	r.resource(info)
	stream := r.stream(info)
	if refusal := checkUpgrade(stream, upgrade); refusal != nil {
		return nil, refusal
	}
	opts, refusal := options(query)
	if refusal != nil {
		return nil, refusal
	}
	b, refusal := decodeBody(raw.Body, raw.Header.Get("Content-Type"), raw.Method)
	if refusal != nil {
		return nil, refusal
	}
	if info.IsResourceRequest && (info.Verb == "delete" || info.Verb == "deletecollection") {
		if refusal := deleteOptions(&opts, b); refusal != nil {
			return nil, refusal
		}
	}
	r.Action = input.KubernetesAction{
		Verb: info.Verb, Stream: stream, Upgrade: upgrade, Named: info.IsResourceRequest && namedInPath(info),
		Writes: writes(info, stream), DryRun: dryRun(info, opts, b),
		Force:  b.patch == "apply" && truth(query, "force") || opts.GracePeriod != nil && *opts.GracePeriod == 0 && strings.HasPrefix(info.Verb, "delete"),
		Opaque: stream == "attach" || stream == "portforward" || stream == "proxy" || stream == "exec" && truth(query, "stdin"),
	}
	r.Detail = input.KubernetesRequest{
		Method: raw.Method, Path: path, Query: map[string][]string(query), Accept: accepted(raw.Header), Options: opts, Ports: []int64{},
		Body: input.KubernetesBody{ContentType: b.contentType, Format: b.format, Patch: b.patch, Bytes: int64(len(raw.Body))},
	}
	if len(raw.Body) > 0 {
		r.Detail.Body.Digest = o.Fingerprint(raw.Body)
	}
	if refusal := r.streamDetail(info, stream, query); refusal != nil {
		return nil, refusal
	}
	r.contents(info, b, o.Fingerprint)
	r.Detail.Text = r.Summary()
	return r, nil
}

// checkMethod refuses methods that the API server answers with an error, or
// that a verb in the path would hide.
func checkMethod(method, path string, info *resolver.RequestInfo) *Refusal {
	const hint = "Use GET, POST, PUT, PATCH or DELETE."
	switch {
	case !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}, method):
		return refuse(ReasonMethod, hint, "the method %q is not used by the API", method)
	case !info.IsResourceRequest:
		return nil
	case method == "HEAD":
		return refuse(ReasonMethod, hint, "the method %q is not used by the API", method)
	case info.Verb == "watch" && method != "GET", info.Verb == "proxy":
		return refuse(ReasonMethod, "Name the verb by the method.", "the path names the verb %q", info.Verb)
	case strings.HasSuffix(path, "/") && info.Subresource != "proxy":
		return refuse(ReasonPath, "Leave out the slash at the end.", "the path has an empty segment")
	}
	return nil
}

func checkUpgrade(stream, upgrade string) *Refusal {
	switch stream {
	case "exec", "attach", "portforward":
		if upgrade == "" {
			return refuse(ReasonUpgrade, "Use a client such as kubectl.", "%s needs a change of protocol", stream)
		}
	default:
		if upgrade != "" {
			return refuse(ReasonUpgrade, "Send the request without Upgrade.", "only exec, attach and portforward change the protocol")
		}
	}
	return nil
}

func (r *Request) resource(info *resolver.RequestInfo) {
	r.Resource = Nothing("path", info.Path)
	r.Resource.Path = info.Path
	if !info.IsResourceRequest {
		return
	}
	kind := info.Resource
	if info.APIGroup != "" {
		kind += "." + info.APIGroup
	}
	if info.Subresource != "" {
		kind += "/" + info.Subresource
	}
	r.Resource.Kind, r.Resource.Names, r.Resource.Type = "collection", []string{}, kind
	r.Resource.Group, r.Resource.Version, r.Resource.Resource = info.APIGroup, info.APIVersion, info.Resource
	r.Resource.Subresource, r.Resource.Namespace, r.Resource.Name = info.Subresource, info.Namespace, info.Name
	if namedInPath(info) {
		r.Resource.Kind = "object"
	}
}

// Nothing is a resource of which only kind and names are known.
func Nothing(kind string, names ...string) input.KubernetesResource {
	return input.KubernetesResource{
		Kind: kind, Names: append([]string{}, names...),
		Namespaces: []string{}, Images: []string{}, SecretNames: []string{}, ConfigMapNames: []string{}, ServiceAccountNames: []string{},
		HostPaths: []string{}, Capabilities: []string{}, HostNamespaces: []string{}, PodPaths: []string{}, Pods: map[string]input.KubernetesPod{},
	}
}

// Unread is the detail of a request that could not be decoded: what it says of
// itself, shortened. Nothing of its body is in it.
func Unread(raw Raw) input.KubernetesRequest {
	const most = 4096
	path, _, _ := strings.Cut(raw.Target, "?")
	path = path[:min(len(path), most)]
	return input.KubernetesRequest{
		Text:   "unread: " + strings.ToValidUTF8(raw.Method[:min(len(raw.Method), 32)]+" "+path, "\uFFFD"),
		Method: strings.ToValidUTF8(raw.Method[:min(len(raw.Method), 32)], "\uFFFD"), Path: strings.ToValidUTF8(path, "\uFFFD"), Query: map[string][]string{}, Accept: []string{},
		Options: input.KubernetesOptions{DryRun: []string{}}, Ports: []int64{},
		Body: input.KubernetesBody{Format: "unknown", Bytes: int64(len(raw.Body))},
	}
}

// Summary is one line for people, e.g. "delete pods default/p1".
func (r *Request) Summary() string {
	if !r.IsResource {
		return r.Action.Verb + " " + r.Resource.Path
	}
	out := r.Action.Verb + " " + r.Resource.Type
	switch {
	case len(r.Resource.Names) > 0:
		out += " " + strings.Join(r.Resource.Names, ", ")
	case r.Resource.Namespace != "":
		out += " in " + r.Resource.Namespace
	}
	if e := r.Detail.Exec; e != nil && len(e.Command) > 0 {
		out += ": " + strings.Join(e.Command, " ")
	}
	for i, port := range r.Detail.Ports {
		out += []string{": ", ", "}[min(i, 1)] + strconv.FormatInt(port, 10)
	}
	if r.Action.DryRun {
		out += " (dry run)"
	}
	return out
}

// ObjectPath is the path of the object that a named request is about: that of a
// Scale for a subresource that is one, else the object's own.
func (r *Request) ObjectPath() string {
	sub := r.Resource.Subresource
	if sub == "" || sub == "scale" && r.Action.Verb != "get" {
		return r.URL.Path
	}
	at := strings.LastIndex(r.URL.Path, "/"+r.Resource.Name+"/"+sub)
	if at < 0 {
		return r.URL.Path
	}
	return r.URL.Path[:at+1+len(r.Resource.Name)]
}

// namedInPath tells a name in the path from one that a field selector gives.
func namedInPath(info *resolver.RequestInfo) bool { return len(info.Parts) >= 2 }

// named is resource.Name in its namespace. A Namespace is in none, though its
// path has one.
func named(info *resolver.RequestInfo, name string) string {
	if info.Resource == "namespaces" && info.APIGroup == "" {
		return name
	}
	return join(info.Namespace, name)
}

func (r *Request) stream(info *resolver.RequestInfo) string {
	if !info.IsResourceRequest {
		return ""
	}
	if info.Verb == "watch" {
		return "watch"
	}
	if info.APIGroup == "" {
		if s := streams[info.Resource+"/"+info.Subresource]; s != "" {
			return s
		}
	}
	if info.Subresource == "proxy" {
		return "proxy" // whatever group: it leads elsewhere
	}
	return ""
}

func writes(info *resolver.RequestInfo, stream string) bool {
	switch stream {
	case "exec", "attach", "portforward", "proxy":
		return true
	}
	switch info.Verb {
	case "get", "list", "watch":
		return false
	case "head":
		return info.IsResourceRequest
	}
	return true
}

// stored are the subresources that a dry run is known to hold for. Others, such
// as exec, do not look at the option.
var stored = []string{"", "status", "scale", "finalize", "ephemeralcontainers", "resize", "approval", "eviction", "binding"}

// dryRun says whether the API server will store nothing. For a delete only the
// body is believed: where it has one the query does not count, and not every
// delete takes options.
func dryRun(info *resolver.RequestInfo, o input.KubernetesOptions, b body) bool {
	if !info.IsResourceRequest || len(o.DryRun) == 0 || !slices.Contains(stored, info.Subresource) {
		return false
	}
	for _, v := range o.DryRun {
		if v != "All" {
			return false
		}
	}
	switch info.Verb {
	case "create", "update", "patch":
		return true
	case "delete", "deletecollection":
		return b.value != nil
	}
	return false
}

// deleteOptions takes the options of a delete from its body, where it has one:
// then the API server does not look at the query.
func deleteOptions(o *input.KubernetesOptions, b body) *Refusal {
	m, ok := b.value.(map[string]any)
	if !ok {
		return nil
	}
	if kind := text(m["kind"]); kind != "" && kind != "DeleteOptions" {
		return refuse(ReasonBody, "", "the body of a delete is %q and not DeleteOptions", kind)
	}
	o.DryRun = texts(m["dryRun"])
	o.GracePeriod = integer(m["gracePeriodSeconds"])
	o.Propagation = text(m["propagationPolicy"])
	if o.Propagation == "" && m["orphanDependents"] == true {
		o.Propagation = "Orphan"
	}
	o.IgnoreReadErrors = m["ignoreStoreReadErrorWithClusterBreakingPotential"] == true
	if p, ok := m["preconditions"].(map[string]any); ok {
		o.PreconditionUID, o.PreconditionRV = text(p["uid"]), text(p["resourceVersion"])
	}
	return nil
}

func (r *Request) streamDetail(info *resolver.RequestInfo, stream string, q url.Values) *Refusal {
	switch stream {
	case "exec", "attach":
		exec := &input.KubernetesExec{
			Command: append([]string{}, q["command"]...), Container: q.Get("container"),
			Stdin: truth(q, "stdin"), Stdout: truth(q, "stdout"), Stderr: truth(q, "stderr"), TTY: truth(q, "tty"),
		}
		r.Detail.Exec = exec
	case "portforward":
		for _, raw := range q["ports"] {
			for part := range strings.SplitSeq(raw, ",") {
				n, err := strconv.ParseUint(part, 10, 16)
				if err != nil {
					return refuse(ReasonQuery, "", "the port %q is not a number", part)
				}
				r.Detail.Ports = append(r.Detail.Ports, int64(n))
			}
		}
	case "proxy":
		p := &input.KubernetesProxy{}
		scheme, rest, hasScheme := strings.Cut(info.Name, ":")
		switch name, port, hasPort := strings.Cut(rest, ":"); {
		case hasScheme && hasPort: // https:name:port
			p.Scheme, p.Name, p.Port = scheme, name, port
		case hasScheme: // name:port
			p.Name, p.Port = scheme, rest
		default:
			p.Name = info.Name
		}
		if len(info.Parts) > 3 {
			p.Path = "/" + strings.Join(info.Parts[3:], "/")
		}
		if legacy := q.Get("path"); legacy != "" {
			p.Path = legacy
		}
		r.Detail.Proxy = p
	}
	if len(info.Parts) > 3 {
		r.Detail.Subpath = strings.Join(info.Parts[3:], "/")
	}
	return nil
}

// contents looks into the body.
func (r *Request) contents(info *resolver.RequestInfo, b body, fingerprint func([]byte) string) {
	f := newFindings(info.Namespace)
	names := map[string]bool{}
	if info.IsResourceRequest {
		if info.Namespace != "" {
			f.namespaces[info.Namespace] = true
		}
		if info.Name != "" {
			names[named(info, info.Name)] = true
		}
	} else {
		names[info.Path] = true
	}
	f.walk("", b.value)
	if b.value != nil {
		r.Bodies = []any{b.value}
	}
	r.Unknown = []input.Unknown{}
	if list, ok := b.value.([]any); ok {
		if copies(list) {
			r.Unknown = append(r.Unknown, input.Unknown{What: "patch", Why: "takes a value from another place of the object"})
		}
		r.Bodies = fromPatch(list)
		for _, shape := range r.Bodies {
			f.walk("", shape)
		}
	}
	if m, ok := b.value.(map[string]any); ok {
		r.Resource.ObjectKind = text(m["kind"])
		metadata, _ := m["metadata"].(map[string]any)
		if name := text(metadata["name"]); name != "" && info.IsResourceRequest {
			names[named(info, name)] = true
		}
	}
	x := &r.Resource
	x.Names, x.Namespaces, x.Images, x.SecretNames = sorted(names), sorted(f.namespaces), sorted(f.images), sorted(f.secrets)
	x.ConfigMapNames, x.ServiceAccountNames, x.HostPaths = sorted(f.configMaps), sorted(f.accounts), sorted(f.hostPaths)
	x.Capabilities, x.HostNamespaces, x.Privileged, x.Pods = sorted(f.capabilities), sorted(f.hosts), f.privileged, f.pods
	x.PodPaths = keys(f.pods)
	shown := withhold(b.value, info.Resource == "secrets" && info.APIGroup == "", fingerprint)
	if b.patch != "" {
		r.Detail.Patch = shown
	} else {
		r.Detail.Object = shown
	}
}

// copies reports whether a JSON patch moves or copies what is already there.
func copies(operations []any) bool {
	return slices.ContainsFunc(operations, func(op any) bool {
		o, _ := op.(map[string]any)
		return o["op"] == "copy" || o["op"] == "move"
	})
}

func keys[V any](m map[string]V) []string {
	set := map[string]bool{}
	for k := range m {
		set[k] = true
	}
	return sorted(set)
}
