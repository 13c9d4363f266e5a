package httpproxy

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/http/request"
)

// Reason ids of this proxy, beside those of package request. They are API.
const (
	ReasonTarget        = "http/unknown-target"       // no target is for this host or path
	ReasonUpstream      = "http/upstream-unavailable" // the upstream does not answer
	ReasonEgress        = "http/egress"               // an address, or a port, that agents do not get to
	ReasonUnmaskable    = "http/unmaskable-response"  // a mask applies, and the body is of a kind that cannot be masked
	ReasonTruncated     = "http/response-truncated"   // the answer ended early
	ReasonCredential    = "http/credential"           // the gateway has no credential at present
	ReasonScope         = "http/outside-credential"   // the path is not one that the credential is for
	ReasonNoIntercept   = "http/no-interception"      // CONNECT, and the gateway has no authority to sign with
	ReasonRange         = "http/range-of-masked"      // a part of what has to be masked as a whole
	ReasonByteLimit     = "limit/bytes"               // the policy's limit of bytes
	ReasonTimeLimit     = "limit/seconds"             // the policy's limit of time
	ReasonBodyUnread    = "http/unread-body-approval" // a body too large to be shown to who would have to approve it
	ReasonSwitched      = "http/unasked-upgrade"      // the upstream changes the protocol, and nobody has asked
	ReasonNoUpgrade     = "http/no-websocket"         // the upstream does not open a WebSocket there
	ReasonForwardOnly   = "http/forward-proxy"        // a request that is not one to a proxy
	ReasonProtocolError = "http/malformed-response"   // the upstream's answer is not what it says
)

// problem is RFC 9457, with what else an agent can use.
type problem struct {
	Type       string   `json:"type"`
	Title      string   `json:"title"`
	Status     int      `json:"status"`
	Detail     string   `json:"detail"`
	Hint       string   `json:"hint,omitempty"`
	Reason     string   `json:"reason"`
	Reasons    []string `json:"reasons"`
	DecisionID string   `json:"decision_id,omitempty"`
	ApprovalID string   `json:"approval_id,omitempty"`
}

// retryAfter is when an agent should ask again for what waits for a person, in
// seconds.
const retryAfter = "15"

// statusOf is the HTTP status of a denial.
func statusOf(d *engine.Denial) int {
	switch reason := d.Reason(); {
	case strings.HasPrefix(reason, "identity/"):
		if reason == "identity/revocations-unavailable" || reason == "identity/issuer-unavailable" {
			return http.StatusServiceUnavailable
		}
		return http.StatusUnauthorized
	case reason == ReasonTarget:
		return http.StatusNotFound
	case reason == request.ReasonMisdirected:
		return http.StatusMisdirectedRequest
	case reason == ReasonUpstream, reason == ReasonCredential, reason == ReasonProtocolError, reason == ReasonTruncated, reason == ReasonSwitched, reason == ReasonNoUpgrade:
		return http.StatusBadGateway
	case reason == ReasonTimeLimit:
		return http.StatusGatewayTimeout
	case reason == engine.ReasonTooManySessions, reason == engine.ReasonDraining, reason == engine.ReasonRecordDown, reason == engine.ReasonHoldFailed:
		return http.StatusServiceUnavailable
	case reason == ReasonForwardOnly:
		return http.StatusBadRequest
	}
	return http.StatusForbidden
}

// deny answers with a denial. proxied: the agent asked a proxy, and its
// credentials are those of a proxy.
func deny(w http.ResponseWriter, d *engine.Denial, proxied bool) {
	denyAs(w, d, statusOf(d), proxied)
}

func denyAs(w http.ResponseWriter, d *engine.Denial, status int, proxied bool) {
	h := w.Header()
	switch {
	case status == http.StatusUnauthorized && proxied:
		status = http.StatusProxyAuthRequired
		h.Set("Proxy-Authenticate", `Bearer realm="regate", Basic realm="regate"`)
	case status == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "":
		h.Set("WWW-Authenticate", `Bearer realm="regate"`)
	}
	if d.ApprovalID != "" && d.Reason() == engine.ReasonPending {
		h.Set("Retry-After", retryAfter)
	} else if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", "5")
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An agent that is gone needs no answer.
	_, _ = w.Write(problemJSON(d, status))
}

func problemJSON(d *engine.Denial, status int) []byte {
	reasons := d.Reasons
	if len(reasons) == 0 {
		reasons = []string{engine.ReasonInternal}
	}
	raw, err := json.Marshal(problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: d.Message, Hint: d.Hint,
		Reason: d.Reason(), Reasons: reasons, DecisionID: d.DecisionID, ApprovalID: d.ApprovalID,
	})
	if err != nil {
		return []byte("{}")
	}
	return append(raw, '\n')
}

// statusOfError is the status for what a request is refused for.
func statusOfError(err error, d *engine.Denial) int {
	var refusal *request.Refusal
	if errors.As(err, &refusal) {
		return refusal.Status
	}
	return statusOf(d)
}

func asDenial(err error) *engine.Denial {
	var d *engine.Denial
	if errors.As(err, &d) {
		return d
	}
	var refusal *request.Refusal
	if errors.As(err, &refusal) {
		return denialOf(refusal)
	}
	return &engine.Denial{Reasons: []string{engine.ReasonInternal}, Message: "regate failed", Hint: "Tell the gateway's operator.", Fatal: true}
}
