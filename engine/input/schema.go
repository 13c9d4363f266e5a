package input

import _ "embed"

//go:embed schemas/http.json
var httpSchema []byte

//go:embed schemas/mcp.json
var mcpSchema []byte

//go:embed schemas/kubernetes.json
var kubernetesSchema []byte

//go:embed schemas/postgres.json
var postgresSchema []byte

//go:embed schemas/common.json
var commonSchema []byte

// CommonSchema returns the JSON Schema of what the documents of every protocol
// have, for policies that are for any of them. It is generated as those of
// JSONSchema are. The caller must not change it.
func CommonSchema() []byte { return commonSchema }

// JSONSchema returns the JSON Schema (draft 7) of p's documents, valid for
// every stage, or nil for a protocol without one. It is generated from the Go
// types of this package: `go test ./engine/input -run Schema -update`. The
// caller must not change it.
//
// A value that may be null has a type list, e.g. ["object", "null"]: OPA's type
// checker then still knows the object's keys. It takes `input.actor == null`
// for a type error, so policies write is_null(input.actor).
func JSONSchema(p Protocol) []byte {
	switch p {
	case HTTP:
		return httpSchema
	case MCP:
		return mcpSchema
	case Kubernetes:
		return kubernetesSchema
	case Postgres:
		return postgresSchema
	}
	return nil
}

// Protocols lists the protocols that have a schema, sorted.
func Protocols() []Protocol { return []Protocol{HTTP, Kubernetes, MCP, Postgres} }
