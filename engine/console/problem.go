package console

import (
	"encoding/json"
	"errors"
	"net/http"
)

// Reason ids of this package; those of identity and approval pass through.
const (
	ReasonForbidden   = "console/forbidden"          // the identity lacks the role
	ReasonDelegated   = "console/delegated"          // an agent's token cannot administer
	ReasonNotFound    = "console/not-found"          // no such thing
	ReasonConflict    = "console/conflict"           // it is another by now
	ReasonMethod      = "console/method-not-allowed" // no such verb here
	ReasonMalformed   = "console/malformed"          // the body or a parameter is wrong
	ReasonTooLarge    = "console/too-large"          // the body is too long
	ReasonMediaType   = "console/media-type"         // the body is not JSON
	ReasonBusy        = "console/busy"               // too many requests at once
	ReasonAudit       = "console/not-recorded"       // the change could not be recorded and was not made
	ReasonUnavailable = "console/unavailable"        // something behind the API does not answer
	ReasonInternal    = "console/internal"           // a mistake in regate
)

// Problem is an RFC 9457 problem document.
type Problem struct {
	Type   string `json:"type"` // urn:regate:problem:<reason>
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
	Reason string `json:"reason"`
}

// Error implements error, so that a handler can return one.
func (p *Problem) Error() string { return p.Reason + ": " + p.Detail }

func newProblem(status int, reason, detail, hint string) *Problem {
	return &Problem{
		Type: "urn:regate:problem:" + reason, Title: http.StatusText(status),
		Status: status, Reason: reason, Detail: detail, Hint: hint,
	}
}

// ProblemOf returns err as a problem that may be shown. Errors that are none may
// name hosts and files: what is shown of them is that something does not answer.
func ProblemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	return newProblem(http.StatusServiceUnavailable, ReasonUnavailable, "something behind the admin API does not answer", "The gateway's log has the cause.")
}

func (p *Problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="regate", error="invalid_token"`)
	}
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone; nobody is left to tell
}
