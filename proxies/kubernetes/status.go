package kubernetes

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// Reason ids of this proxy. They are API. Those of package request come on top.
const (
	ReasonUpstream    = "kubernetes/upstream"           // the API server cannot be reached
	ReasonUnmaskable  = "kubernetes/unmaskable"         // the answer has a form that cannot be masked
	ReasonWrittenBack = "kubernetes/masked-write"       // the body holds what a mask left
	ReasonStream      = "kubernetes/stream"             // a stream that regate does not terminate
	ReasonTarget      = "kubernetes/no-target"          // no cluster by this name
	ReasonImpersonate = "kubernetes/impersonation"      // the token names one of the cluster's own users or groups
	ReasonTooMany     = "kubernetes/too-many-sessions"  // more sessions than the listener takes
	ReasonOutcome     = "kubernetes/outcome"            // what a patch makes of its object cannot be told, or is not what was decided on
	ReasonTruncated   = "kubernetes/answer-not-carried" // the answer could not be passed on to its end
)

// httpStatus is the code and the Kubernetes reason of a denial.
func httpStatus(d *engine.Denial) (int, metav1.StatusReason) {
	switch id := d.Reason(); {
	case id == request.ReasonMethod:
		return http.StatusMethodNotAllowed, metav1.StatusReasonMethodNotAllowed
	case id == request.ReasonMedia, id == request.ReasonEncoding:
		return http.StatusUnsupportedMediaType, metav1.StatusReasonUnsupportedMediaType
	case id == request.ReasonTooLarge:
		return http.StatusRequestEntityTooLarge, metav1.StatusReasonRequestEntityTooLarge
	case id == request.ReasonPath, id == request.ReasonQuery, id == request.ReasonHeader, id == request.ReasonBody, id == request.ReasonUpgrade:
		return http.StatusBadRequest, metav1.StatusReasonBadRequest
	case id == ReasonTarget:
		return http.StatusNotFound, metav1.StatusReasonNotFound
	case id == ReasonUpstream, id == engine.ReasonDraining, id == engine.ReasonRecordDown, id == engine.ReasonHoldFailed:
		return http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable
	case id == ReasonUnmaskable:
		return http.StatusNotAcceptable, metav1.StatusReasonNotAcceptable
	case strings.HasPrefix(id, "identity/"):
		return http.StatusUnauthorized, metav1.StatusReasonUnauthorized
	}
	return http.StatusForbidden, metav1.StatusReasonForbidden
}

// statusOf is a denial as Kubernetes' clients read it: kubectl prints the
// message, programs find the ids in the causes.
func statusOf(d *engine.Denial) *metav1.Status {
	code, reason := httpStatus(d)
	message := "regate: " + d.Message
	if d.Hint != "" {
		message += ". " + strings.TrimSuffix(d.Hint, ".")
	}
	message += " (" + d.Reason()
	if d.ApprovalID != "" {
		message += ", approval " + d.ApprovalID
	}
	if d.DecisionID != "" {
		message += ", decision " + d.DecisionID
	}
	message += ")"
	s := &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusFailure, Code: int32(code), Reason: reason, Message: message,
		Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{}},
	}
	for _, id := range d.Reasons {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: metav1.CauseType(id), Message: d.Message})
	}
	if d.ApprovalID != "" {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: "approval", Message: d.ApprovalID})
	}
	if d.DecisionID != "" {
		s.Details.Causes = append(s.Details.Causes, metav1.StatusCause{Type: "decision", Message: d.DecisionID})
	}
	return s
}

// deny answers with a denial.
func deny(w http.ResponseWriter, d *engine.Denial) {
	status := statusOf(d)
	body, err := json.Marshal(status)
	if err != nil {
		panic(err) // a struct of strings: it marshals
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-cache, private")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	if status.Code == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="regate"`)
	}
	if d.Fatal {
		h.Set("Connection", "close")
	}
	w.WriteHeader(int(status.Code))
	_, _ = w.Write(append(body, '\n'))
}
