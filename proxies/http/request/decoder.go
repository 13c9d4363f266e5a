package request

import (
	"crypto/sha256"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/mask"
)

// maxText is how much of a text body a policy sees, in bytes.
const maxText = 256 << 10

// Methods are the methods that are let through where nothing else is said.
var Methods = []string{"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"}

// Options say how requests to one target are read. The zero value is the
// strict one.
type Options struct {
	Methods      []string // nil for Methods
	Headers      []string // that policies see, lower case; nil for DefaultHeaders
	Lists        []string // parameters that may repeat, "*" for all
	EncodedSlash bool     // %2F in the path is part of a segment
	Parameters   bool     // ";" in the path is part of a segment
	WebSocket    bool     // an upgrade to WebSocket may be asked for
	GraphQL      []string // paths whose requests are GraphQL; nil for those that end in /graphql
	Routes       *Routes  // nil where there is no OpenAPI document
	MaxBody      int64    // bytes of a body that is read, decoded; 0 for 1 MiB
}

// Decoder reads requests to one target. It is immutable.
type Decoder struct {
	opts   Options
	kinds  []string
	detect *mask.Detector
}

// NewDecoder returns a decoder that also looks for every kind of sensitive
// value.
func NewDecoder(o Options) (*Decoder, error) {
	if o.Methods == nil {
		o.Methods = Methods
	}
	if o.Headers == nil {
		o.Headers = DefaultHeaders
	}
	if o.MaxBody == 0 {
		o.MaxBody = 1 << 20
	}
	d := &Decoder{opts: o, kinds: mask.Kinds()}
	detect, err := mask.NewDetector(d.kinds)
	if err != nil {
		return nil, fmt.Errorf("read requests: %w", err)
	}
	d.detect = detect
	return d, nil
}

// Incoming is what the agent sent, without its body. Path and query are those
// that would be sent to the upstream.
type Incoming struct {
	Mode     string // "forward" or "reverse"
	Method   string
	Origin   Origin
	RawPath  string
	RawQuery string
	Version  string // of the protocol, as the agent speaks it
	Header   http.Header
	HasBody  bool
}

// Request is one request as a policy sees it, and what is sent when it may be.
type Request struct {
	Origin   Origin
	RawPath  string
	RawQuery string
	Header   http.Header // what is sent on; without Content-Encoding once the body was read
	Upgrade  string      // "" or "websocket"
	Body     []byte      // what is sent, decoded; nil where it was not read

	Action   input.HTTPAction
	Resource input.HTTPResource
	Detail   input.HTTPRequest
	Unknown  []input.Unknown

	decoder *Decoder
	lists   []string
}

// MaxBody is how many bytes of a body are read.
func (d *Decoder) MaxBody() int64 { return d.opts.MaxBody }

// Head reads everything but the body. The error is a *Refusal.
func (d *Decoder) Head(in Incoming) (*Request, error) {
	if !slices.Contains(d.opts.Methods, in.Method) {
		return nil, refuse(ReasonMethod, "Use one of "+strings.Join(d.opts.Methods, ", ")+", in capitals.", "the method %q is not let through", clip(in.Method))
	}
	header, upgrade, err := readHeaders(in.Header, d.opts.WebSocket)
	if err != nil {
		return nil, err
	}
	segments, err := splitPath(in.RawPath, pathRules{encodedSlash: d.opts.EncodedSlash, parameters: d.opts.Parameters})
	if err != nil {
		return nil, err
	}
	query, err := splitPairs(in.RawQuery, ReasonQuery)
	if err != nil {
		return nil, err
	}
	slash := len(segments) > 0 && strings.HasSuffix(in.RawPath, "/")
	op, params := d.opts.Routes.match(in.Method, segments, slash)
	if op == nil && in.Method == "HEAD" { // it is the head of what GET returns
		op, params = d.opts.Routes.match("GET", segments, slash)
	}
	lists := d.opts.Lists
	if op != nil {
		lists = append(slices.Clone(lists), op.Lists...)
	}
	for _, name := range query.repeated {
		if !mayRepeat(name, lists) {
			return nil, refuse(ReasonQueryRepeated, "Send it once; a target can be told that it is a list: request.lists.", "the parameter %q is there more than once", clip(name))
		}
	}
	if _, ok := query.values["_method"]; ok {
		return nil, refuse(ReasonOverride, "Send the method that is meant.", "the parameter _method changes the method")
	}
	values, names := shown(header, d.opts.Headers)
	path := "/" + strings.Join(segments, "/")
	if slash {
		path += "/"
	}
	r := &Request{
		Origin: in.Origin, RawPath: in.RawPath, RawQuery: in.RawQuery, Header: header, Upgrade: upgrade, decoder: d, lists: lists,
		Action: input.HTTPAction{Verb: strings.ToLower(in.Method), Writes: !slices.Contains([]string{"GET", "HEAD", "OPTIONS", "QUERY"}, in.Method) || upgrade != "", Upgrade: upgrade, Body: "none", Secrets: []string{}},
		Resource: input.HTTPResource{
			Kind: "path", Names: []string{path}, Origin: in.Origin.String(), Host: in.Origin.Host, Port: in.Origin.Port, Path: path, Segments: segments,
			Params: map[string]string{}, Tags: []string{}, QueryNames: query.names, BodyNames: []string{}, FieldNames: []string{},
		},
		Detail: input.HTTPRequest{
			Mode: in.Mode, Method: in.Method, Scheme: in.Origin.Scheme, Version: in.Version, Host: in.Origin.Host, Port: in.Origin.Port,
			RawPath: in.RawPath, RawQuery: in.RawQuery, Query: query.values, Headers: values, HeaderNames: names, Cookies: cookieNames(header),
			Route: input.HTTPRoute{Params: map[string]string{}, Tags: []string{}, Extensions: map[string]any{}},
			Body:  emptyBody(), Findings: input.HTTPFindings{URL: []string{}, Headers: []string{}, Body: []string{}},
		},
	}
	if op != nil {
		r.route(op, params)
	}
	if in.HasBody {
		b := &r.Detail.Body
		b.State, b.Kind, r.Action.Body, r.Action.Opaque = "unread", "unread", "unread", true
		b.Type, _, _ = mime.ParseMediaType(header.Get("Content-Type"))
	}
	if !d.isGraphQL(path) {
		return r, nil
	}
	if in.Method == "GET" && !in.HasBody {
		return r, r.graphQLParameters()
	}
	for _, name := range []string{"query", "operationName", "variables", "extensions"} {
		if len(query.values[name]) > 0 {
			return nil, badGraphQL("it is in the URL of a %s", in.Method)
		}
	}
	return r, nil
}

func emptyBody() input.HTTPBody {
	return input.HTTPBody{State: "none", Kind: "none", Form: map[string][]string{}, Parts: []input.HTTPPart{}, GraphQL: []input.HTTPGraphQL{}}
}

func (r *Request) route(op *Operation, params map[string]string) {
	template := op.Template
	r.Resource.Kind, r.Resource.Names = "route", []string{r.Detail.Method + " " + template}
	r.Resource.Route, r.Resource.Params, r.Resource.Tags = &template, params, nonNil(op.Tags)
	r.Detail.Route.Template, r.Detail.Route.Params, r.Detail.Route.Tags, r.Detail.Route.Deprecated = &template, params, nonNil(op.Tags), op.Deprecated
	if op.ID != "" {
		r.Action.Operation, r.Detail.Route.Operation = &op.ID, &op.ID
	}
	if op.Extensions != nil {
		r.Detail.Route.Extensions = op.Extensions
	}
}

func (d *Decoder) isGraphQL(path string) bool {
	path = strings.TrimSuffix(path, "/")
	if d.opts.GraphQL == nil {
		return strings.HasSuffix(path, "/graphql")
	}
	return slices.Contains(d.opts.GraphQL, path)
}

// GraphQL reports whether the request is one to a GraphQL endpoint: what it
// does is in its body.
func (r *Request) GraphQL() bool { return r.decoder.isGraphQL(r.Resource.Path) }

// Read takes the whole body, as it came, and reads it by its type. The error
// is a *Refusal.
func (r *Request) Read(body []byte) error {
	d, b := r.decoder, &r.Detail.Body
	content, err := decode(body, r.Header.Get("Content-Encoding"), d.opts.MaxBody)
	if err != nil {
		return err
	}
	r.Body = content
	r.Header.Del("Content-Encoding") // what was read is what is sent
	size := int64(len(content))
	b.State, b.Size, b.Digest = "read", &size, input.Digest(sha256.Sum256(content)).String()
	r.Action.Opaque = false
	if err := r.readKind(content); err != nil {
		return err
	}
	r.Action.Body = b.Kind
	r.Resource.BodyNames = topNames(b.JSON)
	for name := range b.Form {
		r.Resource.BodyNames = append(r.Resource.BodyNames, name)
	}
	for _, p := range b.Parts {
		r.Resource.BodyNames = append(r.Resource.BodyNames, p.Name)
	}
	slices.Sort(r.Resource.BodyNames)
	r.Resource.BodyNames = slices.Compact(r.Resource.BodyNames)
	if slices.Contains(r.Resource.BodyNames, "_method") {
		return refuse(ReasonOverride, "Send the method that is meant.", "the field _method changes the method")
	}
	return nil
}

// Keep takes the whole body, as it came, without reading it: no policy does. It
// is sent as it is, and an approval is bound to it.
func (r *Request) Keep(body []byte) {
	size := int64(len(body))
	r.Body, r.Detail.Body.Size, r.Detail.Body.Digest = body, &size, input.Digest(sha256.Sum256(body)).String()
}

func (r *Request) readKind(content []byte) error {
	b := &r.Detail.Body
	declared := r.Header.Get("Content-Type")
	media, params, err := mime.ParseMediaType(declared)
	if declared != "" && err != nil {
		return refuse(ReasonBodyType, "", "the content type %q is not proper", clip(declared))
	}
	b.Type = media
	readable := true
	switch {
	case len(content) == 0:
		b.Kind = "none"
		return nil
	case media == "application/json" || strings.HasSuffix(media, "+json"):
		b.Kind = "json"
	case media == "application/graphql":
		b.Kind = "graphql"
	case media == "application/x-www-form-urlencoded":
		b.Kind = "form"
	case media == "multipart/form-data":
		b.Kind = "multipart"
	case strings.HasPrefix(media, "text/"), strings.HasSuffix(media, "+xml"), media == "application/xml", media == "application/javascript", media == "application/x-ndjson", media == "application/yaml", media == "application/sql":
		b.Kind = "text"
	default:
		b.Kind, readable = "binary", false
	}
	if r.decoder.isGraphQL(r.Resource.Path) && b.Kind != "json" && b.Kind != "graphql" {
		return badGraphQL("the content type is not application/json")
	}
	if !readable {
		r.Action.Opaque = true
		return nil
	}
	if !utf8Charset(params["charset"]) {
		return refuse(ReasonBodyType, "Send UTF-8.", "the body is of the charset %q", clip(params["charset"]))
	}
	if b.Kind != "multipart" && !utf8.Valid(content) {
		return refuse(ReasonBodyType, "Send UTF-8.", "the body is not UTF-8")
	}
	switch b.Kind {
	case "json":
		return r.readJSON(content)
	case "graphql":
		return r.setGraphQL(map[string]any{"query": string(content)})
	case "form":
		fields, err := splitPairs(string(content), ReasonForm)
		if err != nil {
			return err
		}
		for _, name := range fields.repeated {
			if !mayRepeat(name, r.lists) {
				return refuse(ReasonForm, "Send it once; a target can be told that it is a list: request.lists.", "the field %q is there more than once", clip(name))
			}
		}
		b.Form = fields.values
	case "multipart":
		return readMultipart(content, params["boundary"], b, r.lists)
	case "text":
		b.Text = string(content)
		if len(content) > maxText {
			b.Text, b.Truncated = strings.ToValidUTF8(string(content[:maxText]), ""), true
			r.unknown("http.body.text", "longer than is shown")
		}
	}
	return nil
}

func (r *Request) readJSON(content []byte) error {
	v, inexact, err := ReadJSON(content, "http.body.json")
	if err != nil {
		return refuse(ReasonJSON, "Send one JSON value in UTF-8, each name once.", "the JSON body cannot be read: %v", err)
	}
	r.Detail.Body.JSON = v
	r.Unknown = append(r.Unknown, inexact...)
	if r.decoder.isGraphQL(r.Resource.Path) {
		return r.setGraphQL(v)
	}
	return nil
}

// graphQLParameters reads GraphQL from the URL of a GET.
func (r *Request) graphQLParameters() error {
	q := r.Detail.Query
	if len(q["query"]) == 0 && len(q["extensions"]) == 0 {
		return nil
	}
	object := map[string]any{}
	for _, name := range []string{"query", "operationName"} {
		if v := q[name]; len(v) == 1 {
			object[name] = v[0]
		}
	}
	for _, name := range []string{"variables", "extensions"} {
		if v := q[name]; len(v) == 1 && v[0] != "" {
			value, _, err := ReadJSON([]byte(v[0]), "http.query."+name)
			if err != nil {
				return badGraphQL("%s: %v", name, err)
			}
			object[name] = value
		}
	}
	if err := r.setGraphQL(object); err != nil {
		return err
	}
	if r.Action.GraphQL != "query" {
		return badGraphQL("a GET asks for a %s", r.Action.GraphQL)
	}
	return nil
}

var graphQLRank = map[string]int{"": 0, "query": 1, "subscription": 2, "mutation": 3}

var graphQLRoots = map[string]string{"query": "Query", "mutation": "Mutation", "subscription": "Subscription"}

func (r *Request) setGraphQL(v any) error {
	operations, err := readGraphQL(v)
	if err != nil {
		return err
	}
	b := &r.Detail.Body
	b.GraphQL = operations
	if b.State == "read" {
		b.Kind = "graphql"
	}
	fields := map[string]bool{}
	for _, o := range operations {
		if graphQLRank[o.Operation] > graphQLRank[r.Action.GraphQL] {
			r.Action.GraphQL = o.Operation
		}
		for _, f := range o.Fields {
			fields[graphQLRoots[o.Operation]+"."+f] = true
		}
	}
	r.Resource.FieldNames = sorted(fields)
	r.Action.Writes = r.Action.GraphQL != "query"
	return nil
}

func (r *Request) unknown(what, why string) {
	r.Unknown = append(r.Unknown, input.Unknown{What: what, Why: why})
}

// Find looks for sensitive values in everything that would be sent.
func (r *Request) Find() {
	f := &r.Detail.Findings
	path := r.Resource.Path
	f.URL = r.find(path, r.RawQuery)
	for _, values := range r.Detail.Query {
		for _, v := range values {
			f.URL = append(f.URL, r.find(v)...)
		}
	}
	for name, values := range r.Header {
		if name != "Authorization" {
			f.Headers = append(f.Headers, r.find(values...)...)
		}
	}
	f.Body = r.find(string(r.Body))
	eachString(r.Detail.Body.JSON, func(s string) { f.Body = append(f.Body, r.find(s)...) })
	for _, values := range r.Detail.Body.Form {
		f.Body = append(f.Body, r.find(values...)...)
	}
	f.URL, f.Headers, f.Body = unique(f.URL), unique(f.Headers), unique(f.Body)
	r.Action.Secrets = unique(slices.Concat(f.URL, f.Headers, f.Body))
}

func (r *Request) find(texts ...string) []string {
	out := []string{}
	var found []mask.Finding
	for _, t := range texts {
		if t == "" {
			continue
		}
		found = r.decoder.detect.Scan([]byte(t), found[:0])
		for _, f := range found {
			out = append(out, f.Kind)
		}
	}
	return out
}

// eachString calls f for the strings of a JSON value, names among them: an
// escape may have hidden them from who looked at the text.
func eachString(v any, f func(string)) {
	switch v := v.(type) {
	case string:
		f(v)
	case []any:
		for _, e := range v {
			eachString(e, f)
		}
	case map[string]any:
		for name, e := range v {
			f(name)
			eachString(e, f)
		}
	}
}

func unique(list []string) []string {
	list = nonNil(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func nonNil(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}
