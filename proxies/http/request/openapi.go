package request

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// LoadRoutes reads an OpenAPI 3 document, in JSON or YAML. References to other
// files are not followed. base, where it is not "", is the path of the API's
// root on the upstream; else that of the document's servers counts.
func LoadRoutes(document []byte, base string) (*Routes, error) {
	loader := openapi3.NewLoader()
	doc, err := loader.LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("read the OpenAPI document: %w", err)
	}
	if doc.OpenAPI == "" || !strings.HasPrefix(doc.OpenAPI, "3.") {
		return nil, fmt.Errorf("read the OpenAPI document: its version is %q, want 3.x", doc.OpenAPI)
	}
	routes := &Routes{}
	if doc.Paths == nil {
		return routes, nil
	}
	paths := doc.Paths.Map()
	for _, template := range slices.Sorted(func(yield func(string) bool) {
		for t := range paths {
			if !yield(t) {
				return
			}
		}
	}) {
		item := paths[template]
		for method, o := range item.Operations() {
			op := &Operation{Template: template, ID: o.OperationID, Tags: slices.Clone(o.Tags), Deprecated: o.Deprecated, Extensions: o.Extensions}
			slices.Sort(op.Tags)
			op.Tags = slices.Compact(op.Tags)
			op.Lists = lists(item.Parameters, o)
			servers := doc.Servers
			if len(item.Servers) > 0 {
				servers = item.Servers
			}
			if o.Servers != nil && len(*o.Servers) > 0 {
				servers = *o.Servers
			}
			for _, prefix := range prefixes(servers, base) {
				if err := routes.add(method, prefix, op); err != nil {
					return nil, fmt.Errorf("read the OpenAPI document: %s %w", method, err)
				}
			}
		}
	}
	return routes, nil
}

// prefixes are the paths of the servers' URLs, each once.
func prefixes(servers openapi3.Servers, base string) []string {
	if base != "" {
		return []string{base}
	}
	var out []string
	for _, s := range servers {
		text := s.URL
		for name, v := range s.Variables {
			text = strings.ReplaceAll(text, "{"+name+"}", v.Default)
		}
		path := ""
		if u, err := url.Parse(text); err == nil {
			path = strings.TrimSuffix(u.Path, "/")
		}
		if !slices.Contains(out, path) {
			out = append(out, path)
		}
	}
	if len(out) == 0 {
		return []string{""}
	}
	return out
}

// lists names the parameters in the query, and the fields of a form, that are
// arrays.
func lists(shared openapi3.Parameters, o *openapi3.Operation) []string {
	var out []string
	for _, params := range []openapi3.Parameters{shared, o.Parameters} {
		for _, p := range params {
			if p.Value != nil && p.Value.In == "query" && isArray(p.Value.Schema) {
				out = append(out, p.Value.Name)
			}
		}
	}
	if o.RequestBody == nil || o.RequestBody.Value == nil {
		return out
	}
	for media, content := range o.RequestBody.Value.Content {
		if strings.Contains(media, "form") && content.Schema != nil && content.Schema.Value != nil {
			for name, p := range content.Schema.Value.Properties {
				if isArray(p) {
					out = append(out, name)
				}
			}
		}
	}
	return out
}

func isArray(s *openapi3.SchemaRef) bool {
	return s != nil && s.Value != nil && s.Value.Type != nil && s.Value.Type.Includes("array")
}
