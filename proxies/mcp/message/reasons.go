package message

import "fmt"

// Reason ids of messages that are refused whatever policies say. They are API.
const (
	ReasonMalformed = "mcp/malformed-message"   // not one JSON-RPC 2.0 message in strict JSON
	ReasonBatch     = "mcp/batch"               // a batch, which only revision 2025-03-26 has
	ReasonName      = "mcp/ambiguous-name"      // a member's name in another case than the protocol's: some readers take it
	ReasonParams    = "mcp/malformed-params"    // parameters that the method does not have, or of the wrong type
	ReasonMethod    = "mcp/unknown-method"      // a method that regate does not know
	ReasonHeader    = "mcp/header-mismatch"     // a header says something else than the body
	ReasonVersion   = "mcp/unsupported-version" // a revision that regate does not know
	ReasonURI       = "mcp/resource-uri"        // a resource's URI that can be read in two ways
	ReasonTooLarge  = "mcp/message-too-large"   // longer than the bounds
	ReasonArguments = "mcp/arguments"           // arguments that do not fit the tool's input schema
	ReasonState     = "mcp/request-state"       // a requestState that the gateway did not give for this request
	ReasonTask      = "mcp/foreign-task"        // a task that nobody, or somebody else, began here
)

// Error codes of JSON-RPC and MCP.
const (
	CodeParse          = -32700
	CodeInvalidRequest = -32600
	CodeMethodNotFound = -32601
	CodeInvalidParams  = -32602
	CodeHeaderMismatch = -32020
	CodeVersion        = -32022
)

// Refusal is why a message is refused without asking a policy.
type Refusal struct {
	Reason  string
	Code    int // of the JSON-RPC error
	Message string
	Hint    string
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%s (%s)", r.Message, r.Reason) }

func refuse(reason, format string, args ...any) *Refusal {
	code := CodeInvalidRequest
	switch reason {
	case ReasonParams, ReasonURI, ReasonArguments, ReasonState, ReasonTask:
		code = CodeInvalidParams
	case ReasonMethod:
		code = CodeMethodNotFound
	case ReasonHeader:
		code = CodeHeaderMismatch
	case ReasonVersion:
		code = CodeVersion
	}
	return &Refusal{Reason: reason, Code: code, Message: fmt.Sprintf(format, args...)}
}

// Refuse returns a refusal.
func Refuse(reason, format string, args ...any) *Refusal { return refuse(reason, format, args...) }

// NoBatch refuses a batch in a revision that has none.
func NoBatch(version string) *Refusal {
	return refuse(ReasonBatch, "revision %s has no batches", version)
}
