package input

// HTTPAction is `input.action` for an HTTP request: flat scalars at fixed
// paths, so that rules on them are indexed.
type HTTPAction struct {
	// Verb is the method in lower case; "connect" at stage session, "send" for a
	// message of the agent on a WebSocket, "unknown" where the request could not be
	// read.
	Verb string `json:"verb"`
	// Writes: the request changes something, or may: any method but GET, HEAD,
	// OPTIONS and QUERY, unless its body is a GraphQL query.
	Writes bool `json:"writes"`
	// Operation is the operation's id in the target's OpenAPI document; null
	// where no operation matches or it has no id.
	Operation *string `json:"operation"`
	// GraphQL is the strongest kind of operation that the request asks for.
	GraphQL string `json:"graphql"`
	// Upgrade is the protocol that the connection would change to.
	Upgrade string `json:"upgrade"`
	// Body is the kind of the body, as in http.body.kind.
	Body string `json:"body"`
	// Opaque: what the request asks for is partly in a body that was not read or
	// is of a kind that regate cannot read.
	Opaque bool `json:"opaque"`
	// Secrets are the kinds of sensitive values (as in a mask's detect) found in
	// the URL, the headers or the body, sorted.
	Secrets []string `json:"secrets"`
}

// HTTPResource is `input.resource` for an HTTP request. Every name is as the
// upstream will see it, decoded once.
type HTTPResource struct {
	Kind       string            `json:"kind"`        // what Names are: "route" where an operation matches, else "path"; "origin" at stage session
	Names      []string          `json:"names"`       // sorted, e.g. "GET /orders/{id}", "/orders/17", "https://api.example.com"
	Origin     string            `json:"origin"`      // scheme, host and, where it is not the scheme's own, port: "https://api.example.com"
	Host       string            `json:"host"`        // lower case, A-labels, no trailing dot
	Port       int               `json:"port"`        // never 0
	Path       string            `json:"path"`        // decoded; the segments joined by "/", with a "/" at the end where there is one
	Segments   []string          `json:"segments"`    // of the path, decoded; none is empty, "." or ".."
	Route      *string           `json:"route"`       // the path template in the OpenAPI document, e.g. "/orders/{id}"; null where none matches
	Params     map[string]string `json:"params"`      // values of the template's parameters
	Tags       []string          `json:"tags"`        // of the operation, sorted
	QueryNames []string          `json:"query_names"` // sorted
	BodyNames  []string          `json:"body_names"`  // names at the top of a JSON object, form or multipart body, sorted
	FieldNames []string          `json:"field_names"` // GraphQL fields at the top of the operations, as "Query.orders", aliases resolved, sorted
}

// HTTPRequest is `input.http`.
type HTTPRequest struct {
	Mode        string              `json:"mode"`    // how the agent reached the target
	Method      string              `json:"method"`  // as sent, upper case
	Scheme      string              `json:"scheme"`  // of the request to the upstream
	Version     string              `json:"version"` // as the agent speaks it, e.g. "HTTP/1.1"
	Host        string              `json:"host"`
	Port        int                 `json:"port"`
	RawPath     string              `json:"raw_path"`     // percent-encoded, as it is sent
	RawQuery    string              `json:"raw_query"`    // percent-encoded, as it is sent
	Query       map[string][]string `json:"query"`        // decoded, values in the order they are sent
	Headers     map[string][]string `json:"headers"`      // chosen headers, by name in lower case
	HeaderNames []string            `json:"header_names"` // of every header that is sent on, lower case, sorted
	Cookies     []string            `json:"cookies"`      // names of cookies, sorted; never their values
	Route       HTTPRoute           `json:"route"`
	Body        HTTPBody            `json:"body"`
	Findings    HTTPFindings        `json:"findings"`
}

// HTTPRoute is what the target's OpenAPI document says of the request.
type HTTPRoute struct {
	Template   *string           `json:"template"`  // null where none matches
	Operation  *string           `json:"operation"` // the operation's id
	Params     map[string]string `json:"params"`
	Tags       []string          `json:"tags"`
	Deprecated bool              `json:"deprecated"`
	Extensions map[string]any    `json:"extensions"` // the operation's own keys that start with x-
}

// HTTPBody is the body of a request. What is not of the body's kind is empty.
type HTTPBody struct {
	// State is "none" where there is no body, "read" where regate has read all of
	// it, "unread" where no policy reads it: then only size and digest may be known.
	State string `json:"state"`
	// Kind is what the content type and the content say it is.
	Kind      string              `json:"kind"`
	Type      string              `json:"type"`      // media type without parameters, "" where there is none
	Size      *int64              `json:"size"`      // bytes, decoded where it was read; null where they were not counted
	Digest    string              `json:"digest"`    // "sha256:…" of these bytes, "" where they were not counted
	JSON      any                 `json:"json"`      // the value; a number that a double cannot hold exactly is a string, and named in unknown
	Form      map[string][]string `json:"form"`      // urlencoded fields, and the fields of a multipart form that are not files
	Parts     []HTTPPart          `json:"parts"`     // of a multipart body, in order
	GraphQL   []HTTPGraphQL       `json:"graphql"`   // one entry an operation of the batch
	Text      string              `json:"text"`      // of text, XML and the like
	Truncated bool                `json:"truncated"` // text is longer than what is shown here; size and digest are of all of it
}

// HTTPPart is one part of a multipart body.
type HTTPPart struct {
	Name     string  `json:"name"`
	Filename *string `json:"filename"` // null where it is no file
	Type     string  `json:"type"`
	Size     int64   `json:"size"`
	Digest   string  `json:"digest"`
}

// HTTPGraphQL is one GraphQL operation, with its fragments resolved.
type HTTPGraphQL struct {
	Operation     string         `json:"operation"` // kind of the operation that is selected
	Name          string         `json:"name"`      // "" where it has none
	Fields        []string       `json:"fields"`    // at the top, aliases resolved, sorted
	Paths         []string       `json:"paths"`     // every field with its parents, e.g. "orders.customer.email", sorted
	Arguments     map[string]any `json:"arguments"` // by path, then by name; variables resolved
	Directives    []string       `json:"directives"`
	Depth         int            `json:"depth"`
	Size          int            `json:"size"` // fields selected, fragments expanded
	Introspection bool           `json:"introspection"`
	Variables     any            `json:"variables"`
	Text          string         `json:"text"`
}

// HTTPFindings are kinds of sensitive values found in what the agent sends,
// each list sorted. They are looked for when a policy reads them.
type HTTPFindings struct {
	URL     []string `json:"url"`
	Headers []string `json:"headers"`
	Body    []string `json:"body"`
}
