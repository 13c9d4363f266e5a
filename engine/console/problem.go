package console

import (
	"encoding/json"
	"net/http"
)

// Reason ids of this package; those of identity and approval pass through.
const (
	ReasonForbidden   = "console/forbidden"          // the identity lacks the role
	ReasonDelegated   = "console/delegated"          // an agent's token cannot administer
	ReasonNotFound    = "console/not-found"          // no such thing
	ReasonMethod      = "console/method-not-allowed" // no such verb here
	ReasonMalformed   = "console/malformed"          // the body or a parameter is wrong
	ReasonTooLarge    = "console/too-large"          // the body is too long
	ReasonMediaType   = "console/media-type"         // the body is not JSON
	ReasonBusy        = "console/busy"               // too many requests at once
	ReasonAudit       = "console/not-recorded"       // the change could not be recorded and was not made
	ReasonUnavailable = "console/unavailable"        // something behind the API does not answer
	ReasonInternal    = "console/internal"           // a mistake in regate
)

// problem is an RFC 9457 problem document.
type problem struct {
	Type   string `json:"type"` // urn:regate:problem:<reason>
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
	Reason string `json:"reason"`
}

// Error implements error, so that a handler can return one.
func (p *problem) Error() string { return p.Reason + ": " + p.Detail }

func newProblem(status int, reason, detail, hint string) *problem {
	return &problem{
		Type: "urn:regate:problem:" + reason, Title: http.StatusText(status),
		Status: status, Reason: reason, Detail: detail, Hint: hint,
	}
}

func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="regate", error="invalid_token"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone; nobody is left to tell
}
