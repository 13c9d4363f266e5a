package input

import (
	"bytes"
	"encoding/json"
	"flag"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the generated schemas")

// sqlDocument has the keys of a PostgreSQL document in the types that Entries
// puts there. A test of engine/policy validates real documents
// against the schema and so fails when this falls behind.
type sqlDocument struct {
	Schema     string      `json:"schema"` // always "regate.input/v1"
	Protocol   Protocol    `json:"protocol"`
	Stage      Stage       `json:"stage"` // what is being decided: session, request or response
	Time       string      `json:"time"`  // the engine's clock, RFC 3339 in UTC: the only clock a policy should read
	Request    Request     `json:"request"`
	Subject    Principal   `json:"subject"`  // whose authority (verified)
	Actor      *Principal  `json:"actor"`    // who acts for the subject (verified); null when nobody does
	Asserted   Asserted    `json:"asserted"` // what the agent says of itself: never verified
	Session    Session     `json:"session"`
	Target     Target      `json:"target"`
	Action     SQLAction   `json:"action"`
	Resource   SQLResource `json:"resource"`
	Complete   bool        `json:"complete"` // false when something could not be resolved, see unknown
	Unknown    []Unknown   `json:"unknown"`
	Approvals  []Approval  `json:"approvals"` // granted for this exact request digest
	Enforcer   Enforcer    `json:"enforcer"`
	SQL        *SQL        `json:"sql"`        // null at stage session
	Parameters []Parameter `json:"parameters"` // bind parameters of this call
	Response   *Response   `json:"response"`   // null before stage response
	Usage      *Spent      `json:"usage"`      // what was used before, across sessions; null when no policy reads it or it is not known
}

// kubernetesDocument has the keys of a Kubernetes document.
type kubernetesDocument struct {
	Schema     string             `json:"schema"` // always "regate.input/v1"
	Protocol   Protocol           `json:"protocol"`
	Stage      Stage              `json:"stage"` // what is being decided: session, request or response
	Time       string             `json:"time"`  // the engine's clock, RFC 3339 in UTC: the only clock a policy should read
	Request    Request            `json:"request"`
	Subject    Principal          `json:"subject"`  // whose authority (verified)
	Actor      *Principal         `json:"actor"`    // who acts for the subject (verified); null when nobody does
	Asserted   Asserted           `json:"asserted"` // what the agent says of itself: never verified
	Session    Session            `json:"session"`
	Target     Target             `json:"target"`
	Action     KubernetesAction   `json:"action"`
	Resource   KubernetesResource `json:"resource"`
	Complete   bool               `json:"complete"` // false when something could not be resolved, see unknown
	Unknown    []Unknown          `json:"unknown"`
	Approvals  []Approval         `json:"approvals"` // granted for this exact request digest
	Enforcer   Enforcer           `json:"enforcer"`
	Kubernetes *KubernetesRequest `json:"kubernetes"` // null at stage session
	Parameters []Parameter        `json:"parameters"` // always empty
	Response   *Response          `json:"response"`   // null before stage response
	Usage      *Spent             `json:"usage"`      // what was used before, across sessions; null when no policy reads it or it is not known
}

// httpDocument has the keys of an HTTP document.
type httpDocument struct {
	Schema     string       `json:"schema"` // always "regate.input/v1"
	Protocol   Protocol     `json:"protocol"`
	Stage      Stage        `json:"stage"` // what is being decided: session, request or response
	Time       string       `json:"time"`  // the engine's clock, RFC 3339 in UTC: the only clock a policy should read
	Request    Request      `json:"request"`
	Subject    Principal    `json:"subject"`  // whose authority (verified)
	Actor      *Principal   `json:"actor"`    // who acts for the subject (verified); null when nobody does
	Asserted   Asserted     `json:"asserted"` // what the agent says of itself: never verified
	Session    Session      `json:"session"`
	Target     Target       `json:"target"`
	Action     HTTPAction   `json:"action"`
	Resource   HTTPResource `json:"resource"`
	Complete   bool         `json:"complete"` // false when something could not be resolved, see unknown
	Unknown    []Unknown    `json:"unknown"`
	Approvals  []Approval   `json:"approvals"` // granted for this exact request digest
	Enforcer   Enforcer     `json:"enforcer"`
	HTTP       *HTTPRequest `json:"http"`       // null at stage session
	Parameters []Parameter  `json:"parameters"` // always empty
	Response   *Response    `json:"response"`   // null before stage response
	Usage      *Spent       `json:"usage"`      // what was used before, across sessions; null when no policy reads it or it is not known
}

// mcpDocument has the keys of an MCP document.
type mcpDocument struct {
	Schema     string      `json:"schema"` // always "regate.input/v1"
	Protocol   Protocol    `json:"protocol"`
	Stage      Stage       `json:"stage"` // what is being decided: session, request or response
	Time       string      `json:"time"`  // the engine's clock, RFC 3339 in UTC: the only clock a policy should read
	Request    Request     `json:"request"`
	Subject    Principal   `json:"subject"`  // whose authority (verified)
	Actor      *Principal  `json:"actor"`    // who acts for the subject (verified); null when nobody does
	Asserted   Asserted    `json:"asserted"` // what the agent says of itself: never verified
	Session    Session     `json:"session"`
	Target     Target      `json:"target"`
	Action     MCPAction   `json:"action"`
	Resource   MCPResource `json:"resource"`
	Complete   bool        `json:"complete"` // false when something could not be resolved, see unknown
	Unknown    []Unknown   `json:"unknown"`
	Approvals  []Approval  `json:"approvals"` // granted for this exact request digest
	Enforcer   Enforcer    `json:"enforcer"`
	MCP        *MCPMessage `json:"mcp"`        // null at stage session
	Parameters []Parameter `json:"parameters"` // always empty
	Response   *Response   `json:"response"`   // null before stage response
	Usage      *Spent      `json:"usage"`      // what was used before, across sessions; null when no policy reads it or it is not known
}

// commonDocument has the keys that the documents of every protocol have, so
// that a policy that is for any of them can be checked.
type commonDocument struct {
	Schema     string         `json:"schema"`   // always "regate.input/v1"
	Protocol   Protocol       `json:"protocol"` // the name of the protocol; its own keys are not in this schema
	Stage      Stage          `json:"stage"`    // what is being decided: session, request or response
	Time       string         `json:"time"`     // the engine's clock, RFC 3339 in UTC: the only clock a policy should read
	Request    Request        `json:"request"`
	Subject    Principal      `json:"subject"`  // whose authority (verified)
	Actor      *Principal     `json:"actor"`    // who acts for the subject (verified); null when nobody does
	Asserted   Asserted       `json:"asserted"` // what the agent says of itself: never verified
	Session    Session        `json:"session"`
	Target     Target         `json:"target"`
	Action     CommonAction   `json:"action"`
	Resource   CommonResource `json:"resource"`
	Complete   bool           `json:"complete"` // false when something could not be resolved, see unknown
	Unknown    []Unknown      `json:"unknown"`
	Approvals  []Approval     `json:"approvals"` // granted for this exact request digest
	Enforcer   Enforcer       `json:"enforcer"`
	Parameters []Parameter    `json:"parameters"` // bind parameters of this call, for protocols that have them
	Response   *Response      `json:"response"`   // null before stage response
	Usage      *Spent         `json:"usage"`      // what was used before, across sessions; null when no policy reads it or it is not known
}

// sqlVerbs are the verbs that the analysis of SQL gives.
var sqlVerbs = []string{
	"alter", "analyze", "begin", "call", "checkpoint", "close", "cluster", "comment", "commit", "commit prepared", "connect", "copy",
	"create", "deallocate", "delete", "discard", "do", "drop", "execute", "fetch", "grant", "insert", "listen", "load", "lock", "merge",
	"move", "notify", "prepare transaction", "refresh", "reindex", "revoke", "rollback", "rollback prepared", "savepoint", "select",
	"set", "show", "truncate", "unknown", "unlisten", "update", "vacuum",
}

var enums = map[string][]string{
	"commonDocument.schema":       {Schema},
	"commonDocument.stage":        {string(StageSession), string(StageRequest), string(StageResponse)},
	"sqlDocument.schema":          {Schema},
	"sqlDocument.stage":           {string(StageSession), string(StageRequest), string(StageResponse)},
	"sqlDocument.protocol":        {string(Postgres)},
	"Target.protocol":             {string(HTTP), string(Kubernetes), string(MCP), string(Postgres)},
	"kubernetesDocument.schema":   {Schema},
	"kubernetesDocument.stage":    {string(StageSession), string(StageRequest), string(StageResponse)},
	"kubernetesDocument.protocol": {string(Kubernetes)},
	"KubernetesAction.stream":     {"", "watch", "log", "exec", "attach", "portforward", "proxy"},
	"KubernetesAction.upgrade":    {"", "websocket", "spdy"},
	"KubernetesResource.kind":     {"object", "collection", "path", "cluster", "unknown"},
	"KubernetesContainer.role":    {"container", "init", "ephemeral"},
	"KubernetesBody.format":       {"none", "json", "yaml", "protobuf", "unknown"},
	"KubernetesBody.patch":        {"", "json", "merge", "strategic", "apply"},
	"httpDocument.schema":         {Schema},
	"httpDocument.stage":          {string(StageSession), string(StageRequest), string(StageResponse)},
	"httpDocument.protocol":       {string(HTTP)},
	"HTTPAction.graphql":          {"", "query", "mutation", "subscription"},
	"HTTPAction.upgrade":          {"", "websocket"},
	"HTTPAction.body":             {"none", "json", "form", "multipart", "graphql", "text", "binary", "unread"},
	"HTTPResource.kind":           {"route", "path", "origin", "unknown"},
	"HTTPRequest.mode":            {"forward", "reverse", "unknown"},
	"HTTPBody.state":              {"none", "read", "unread"},
	"HTTPBody.kind":               {"none", "json", "form", "multipart", "graphql", "text", "binary", "unread"},
	"HTTPGraphQL.operation":       {"query", "mutation", "subscription"},
	"mcpDocument.schema":          {Schema},
	"mcpDocument.stage":           {string(StageSession), string(StageRequest), string(StageResponse)},
	"mcpDocument.protocol":        {string(MCP)},
	"MCPAction.verb":              {"connect", "initialize", "discover", "list", "call", "read", "get", "complete", "subscribe", "unsubscribe", "sample", "elicit", "roots", "respond", "notify", "log", "ping", "cancel", "task", "unknown"},
	"MCPAction.message":           {"request", "notification", "response", "none", "unknown"},
	"MCPAction.direction":         {"to_server", "to_client"},
	"MCPResource.kind":            {"tool", "prompt", "resource", "task", "server", "unknown"},
	"MCPResource.pin":             {"", "unknown", "new", "approved", "changed"},
	"MCPMessage.era":              {"legacy", "modern", "unknown"},
	"MCPMessage.transport":        {"http", "stdio", "unknown"},
	"MCPMessage.message":          {"request", "notification", "response", "none", "unknown"},
	"MCPMessage.direction":        {"to_server", "to_client"},
	"MCPTool.pin":                 {"", "unknown", "new", "approved", "changed"},
	"Field.derivation":            {string(Exact), string(Derived), string(Constant), string(Opaque)},
	"SQLAction.verb":              sqlVerbs,
	"SQLAction.verbs":             sqlVerbs,
	"SQLResource.kind":            {"table", "database", "function", "schema", "setting", "role", "none", "unknown"},
	"SQLTable.kind": {
		"table", "view", "materialized_view", "partitioned_table", "foreign_table", "sequence", "composite_type", "temporary", "unknown",
	},
	"SQLStatement.transaction": {
		"", "begin", "commit", "rollback", "savepoint", "release", "rollback to", "prepare transaction", "commit prepared", "rollback prepared",
	},
	"SQLAction.explain":    {"", "plan", "analyze"},
	"SQLTable.access":      {"read", "insert", "update", "delete", "truncate", "lock", "ddl"},
	"SQL.mode":             {"simple", "extended", "function_call"},
	"SQLStatement.copy_to": {"", "stdout", "stdin", "file", "program"},
	"Parameter.encoding":   {"text", "base64"},
}

// generated are the schemas: the document's type, and what JSONSchema or
// CommonSchema returns.
func generated() map[string]struct {
	title    string
	document reflect.Type
	have     []byte
} {
	type schema = struct {
		title    string
		document reflect.Type
		have     []byte
	}
	return map[string]schema{
		"common.json":     {"regate.input/v1, what every protocol has", reflect.TypeFor[commonDocument](), CommonSchema()},
		"http.json":       {"regate.input/v1 for http", reflect.TypeFor[httpDocument](), JSONSchema(HTTP)},
		"mcp.json":        {"regate.input/v1 for mcp", reflect.TypeFor[mcpDocument](), JSONSchema(MCP)},
		"kubernetes.json": {"regate.input/v1 for kubernetes", reflect.TypeFor[kubernetesDocument](), JSONSchema(Kubernetes)},
		"postgres.json":   {"regate.input/v1 for postgres", reflect.TypeFor[sqlDocument](), JSONSchema(Postgres)},
	}
}

func TestSchemasAreGenerated(t *testing.T) {
	comments := fieldComments(t)
	for name, schema := range generated() {
		g := &generator{comments: comments}
		root := g.schema(schema.document, "")
		root["$schema"] = "http://json-schema.org/draft-07/schema#"
		root["title"] = schema.title
		root["description"] = "What a policy sees of one request. Every key is always present."
		var want bytes.Buffer
		enc := json.NewEncoder(&want)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		if err := enc.Encode(root); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join("schemas", name)
		if *update {
			if err := os.WriteFile(path, want.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !bytes.Equal(want.Bytes(), schema.have) {
			t.Errorf("%s does not match the Go types: run go test ./engine/input -run Schema -update", path)
		}
	}
}

type generator struct {
	comments map[string]string // "Type.Field"
}

// schema returns the JSON Schema of t. at is "Type.key" of the field, "" for
// the root.
func (g *generator) schema(t reflect.Type, at string) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		s := g.schema(t.Elem(), at)
		s["type"] = []string{s["type"].(string), "null"}
		return s
	case reflect.String:
		s := map[string]any{"type": "string"}
		if values, ok := enums[at]; ok {
			s["enum"] = values
		}
		return s
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return map[string]any{"type": "integer"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": g.schema(t.Elem(), at)}
	case reflect.Map:
		return map[string]any{"type": "object", "additionalProperties": g.schema(t.Elem(), at)}
	case reflect.Interface:
		return map[string]any{}
	case reflect.Struct:
		properties := map[string]any{}
		var required []string
		for f := range t.Fields() {
			key := f.Tag.Get("json")
			s := g.schema(f.Type, t.Name()+"."+key)
			if c := g.comments[t.Name()+"."+f.Name]; c != "" {
				s["description"] = c
			}
			properties[key] = s
			required = append(required, key)
		}
		return map[string]any{"type": "object", "properties": properties, "required": required, "additionalProperties": false}
	}
	panic("no schema for " + t.String())
}

// fieldComments reads the comments of all struct fields of the package.
func fieldComments(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	for _, name := range files {
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			st, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			for _, f := range st.Fields.List {
				text := strings.Join(strings.Fields(f.Doc.Text()+" "+f.Comment.Text()), " ")
				for _, id := range f.Names {
					comments[spec.Name.Name+"."+id.Name] = text
				}
			}
			return true
		})
	}
	return comments
}
