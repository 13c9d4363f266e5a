package request

import "fmt"

// Reason ids of requests that are refused before any policy is asked. They are
// API: agents, alerts and tests match on them.
const (
	ReasonMethod   = "kubernetes/method"       // an HTTP method that the API does not use here
	ReasonPath     = "kubernetes/path"         // a path that can be read in two ways
	ReasonQuery    = "kubernetes/query"        // a query that can be read in two ways
	ReasonHeader   = "kubernetes/header"       // a header that is there twice, or that cannot be read
	ReasonUpgrade  = "kubernetes/upgrade"      // a change of protocol where there is no stream
	ReasonEncoding = "kubernetes/encoding"     // a compressed body
	ReasonMedia    = "kubernetes/content-type" // a body of a kind that regate cannot read
	ReasonBody     = "kubernetes/body"         // a body that is not what its type says, or can be read in two ways
	ReasonTooLarge = "kubernetes/too-large"    // more than MaxBody
)

// MaxBody is the largest body in bytes: the API server's own limit
// (MaxRequestBodyBytes of its configuration).
const MaxBody = 3 << 20

// Refusal is why a request cannot be decided on.
type Refusal struct {
	Reason  string // one of the ids above
	Message string // one sentence for the agent
	Hint    string // what to do instead, may be empty
}

// Error implements error.
func (r *Refusal) Error() string { return r.Message + " (" + r.Reason + ")" }

func refuse(reason, hint, format string, args ...any) *Refusal {
	return &Refusal{Reason: reason, Message: fmt.Sprintf(format, args...), Hint: hint}
}
