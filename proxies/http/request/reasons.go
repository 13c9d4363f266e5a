package request

import (
	"fmt"
	"net/http"
)

// Reason ids of requests that are refused because they can be read in two
// ways, or not at all. They are API.
const (
	ReasonMethod         = "http/method"                  // not a method that is let through
	ReasonHead           = "http/malformed-head"          // the head is not HTTP as RFC 9112 has it
	ReasonFraming        = "http/ambiguous-framing"       // Content-Length and Transfer-Encoding together, twice, or other codings
	ReasonHost           = "http/host"                    // the host is missing, twice, or not a plain name or address
	ReasonTarget         = "http/request-target"          // a form of request target that is not for this listener
	ReasonDotSegment     = "http/dot-segment"             // "." or ".." in the path, in any encoding
	ReasonEncodedSlash   = "http/encoded-slash"           // %2F, %5C or a backslash in the path
	ReasonEmptySegment   = "http/empty-segment"           // "//" in the path
	ReasonPathEncoding   = "http/path-encoding"           // percent-encoding that is broken, double, or of control bytes or of no UTF-8
	ReasonPathParameter  = "http/path-parameter"          // ";" in the path
	ReasonQuery          = "http/query-encoding"          // percent-encoding in the query that is broken
	ReasonQueryRepeated  = "http/repeated-parameter"      // a parameter twice, where nothing says that it is a list
	ReasonQuerySemicolon = "http/query-semicolon"         // ";" in the query
	ReasonOverride       = "http/method-override"         // a header or parameter that changes the method
	ReasonRewrite        = "http/url-override"            // a header that changes the URL
	ReasonUnderscore     = "http/header-underscore"       // "_" in a header's name
	ReasonHeader         = "http/malformed-header"        // a header name or value that is not proper
	ReasonRepeatedHeader = "http/repeated-header"         // a header twice that may be there once
	ReasonConnection     = "http/connection-header"       // Connection names a header that belongs to the request
	ReasonUpgrade        = "http/upgrade"                 // a change of protocol that is not let through
	ReasonExpect         = "http/expect"                  // an Expect other than 100-continue
	ReasonTooLong        = "http/too-long"                // a part of the head is longer than the bounds
	ReasonBodyTooLarge   = "http/body-too-large"          // a policy reads the body, or it has to be approved, and it is too large
	ReasonBodyCoding     = "http/body-coding"             // a Content-Encoding that cannot be taken off
	ReasonBodyRatio      = "http/body-ratio"              // it grows too much when its coding is taken off
	ReasonBodyType       = "http/body-type"               // the content type is not proper, or of another charset than UTF-8
	ReasonJSON           = "http/malformed-json"          // JSON that two parsers could read differently
	ReasonForm           = "http/malformed-form"          // urlencoded fields that two parsers could read differently
	ReasonMultipart      = "http/malformed-multipart"     // the same of multipart bodies
	ReasonMisdirected    = "http/misdirected"             // CONNECT, SNI and Host name different hosts
	ReasonGraphQL        = "http/malformed-graphql"       // GraphQL that cannot be read
	ReasonPersisted      = "http/graphql-persisted-query" // only the hash of a GraphQL query is sent
)

// Refusal is why a request is refused whatever policies say.
type Refusal struct {
	Reason  string // one of the constants of this package
	Status  int    // HTTP status
	Message string // one sentence for the agent
	Hint    string // what to do next
}

// Error implements error.
func (r *Refusal) Error() string { return fmt.Sprintf("%s (%s)", r.Message, r.Reason) }

func refuse(reason, hint, format string, args ...any) *Refusal {
	status := http.StatusBadRequest
	switch reason {
	case ReasonMisdirected:
		status = http.StatusMisdirectedRequest
	case ReasonMethod:
		status = http.StatusMethodNotAllowed
	case ReasonTooLong:
		status = http.StatusRequestHeaderFieldsTooLarge
	case ReasonBodyTooLarge, ReasonBodyRatio:
		status = http.StatusRequestEntityTooLarge
	case ReasonBodyCoding, ReasonBodyType:
		status = http.StatusUnsupportedMediaType
	case ReasonExpect:
		status = http.StatusExpectationFailed
	}
	return &Refusal{Reason: reason, Status: status, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// TooLarge refuses a body that has to be read and is larger than limit bytes.
func TooLarge(limit int64) *Refusal {
	return refuse(ReasonBodyTooLarge, "Send less in one request.", "the body is larger than the %d bytes that are read of one", limit)
}

// BadChunk refuses a chunked body whose framing is not plain.
func BadChunk() *Refusal {
	return refuse(ReasonFraming, "", "the chunked body is not framed as RFC 9112 has it")
}
