package input

// MCPAction is `input.action` for a message of the Model Context Protocol:
// flat scalars at fixed paths, so that rules on them are indexed.
type MCPAction struct {
	// Verb is what the message asks for. A list is decided once as a whole and
	// then, by the same verb and with resource.names set, for each of its items.
	Verb string `json:"verb"`
	// Method is the message's own, e.g. "tools/call"; of the request that it
	// answers where it is a response.
	Method string `json:"method"`
	// Message is the kind of JSON-RPC message.
	Message string `json:"message"`
	// Direction is who sends it.
	Direction string `json:"direction"`
	// Writes: it changes something, or may. A call of a tool does, unless its
	// approved definition says that it only reads.
	Writes bool `json:"writes"`
	// Item: this decision is on one item of a list: may the agent know of it.
	Item bool `json:"item"`
	// Opaque: what it asks for is not known to regate.
	Opaque bool `json:"opaque"`
	// Secrets are the kinds of sensitive values (as in a mask's detect) found in
	// the arguments, sorted.
	Secrets []string `json:"secrets"`
}

// MCPResource is `input.resource` for a message of the Model Context Protocol.
type MCPResource struct {
	Kind          string   `json:"kind"`           // what Names are
	Names         []string `json:"names"`          // of the tool, prompt or task, the resource's URI, or the server's name
	Server        string   `json:"server"`         // the target's name
	Tool          *string  `json:"tool"`           // null where it is about no tool
	Prompt        *string  `json:"prompt"`         // null where it is about no prompt
	URI           *string  `json:"uri"`            // canonical; null where it is about no resource
	URIScheme     *string  `json:"uri_scheme"`     // lower case
	Task          *string  `json:"task"`           // null where it is about no task
	ArgumentNames []string `json:"argument_names"` // at the top of the arguments, sorted
	Pin           string   `json:"pin"`            // state of the tool's definition
}

// MCPMessage is `input.mcp`. An approval is bound to it, so nothing that
// differs from one try to the next is in it: no id, no session.
type MCPMessage struct {
	Era       string    `json:"era"`       // "legacy" up to 2025-11-25, "modern" from 2026-07-28
	Version   string    `json:"version"`   // the protocol's revision, "unknown" before it is known
	Transport string    `json:"transport"` // how the agent reaches the gateway
	Server    string    `json:"server"`
	Method    string    `json:"method"`
	Message   string    `json:"message"`
	Direction string    `json:"direction"`
	Client    MCPClient `json:"client"`
	Arguments any       `json:"arguments"` // of tools/call, prompts/get and completion/complete; null where there are none
	Params    any       `json:"params"`    // all params of the message but for _meta and requestState; null where there are none
	Meta      any       `json:"meta"`      // what else is in the params' _meta; null where there is nothing
	Responses any       `json:"responses"` // inputResponses: what the client answers a server that asked; null where there are none
	Tool      MCPTool   `json:"tool"`
	// Findings are what is hidden in the text of the message, or at stage
	// "response" of the answer, that a model will read; as in tool.findings.
	Findings []string `json:"findings"`
}

// MCPClient is what the client says of itself. It is never verified.
type MCPClient struct {
	Name         string   `json:"name"`
	Version      string   `json:"version"`
	Capabilities []string `json:"capabilities"` // names, sorted
}

// MCPTool is what regate knows of the tool's definition.
type MCPTool struct {
	Pin         string   `json:"pin"`          // state of the definition
	Digest      string   `json:"digest"`       // "sha256:…" of its canonical form (RFC 8785), "" where it is not known
	FirstSeen   string   `json:"first_seen"`   // RFC 3339, UTC; "" where it is not known
	Changed     []string `json:"changed"`      // JSON pointers of what differs from the approved definition, sorted
	Annotations any      `json:"annotations"`  // as the server says; not to be trusted before the pin is approved
	Description string   `json:"description"`  // as the server says
	Findings    []string `json:"findings"`     // what is hidden in the definition: "tag-characters", "zero-width", "bidi", "ansi", "control", "instructions", sorted
	SchemaValid *bool    `json:"schema_valid"` // whether the arguments fit the tool's input schema; null where that is not known
}
