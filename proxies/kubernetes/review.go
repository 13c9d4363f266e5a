package kubernetes

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/regate-dev/regate/engine"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// review answers a SelfSubjectAccessReview that policy would deny: `kubectl auth
// can-i` then says what would happen. Where policy would not, the API server
// answers, for whom it takes the request to be from. It reports whether it has
// answered.
func (s *Server) review(ctx context.Context, w http.ResponseWriter, session *session, turn *engine.Turn, r *request.Request) bool {
	about := r.Reviewed()
	if about == nil {
		return false
	}
	denial := session.Would(ctx, ask(about))
	if denial == nil {
		return false
	}
	out := &released{ctx: ctx, turn: turn, w: w, control: http.NewResponseController(w), whole: true, rows: 1}
	body, err := json.Marshal(map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": map[string]any{}, "spec": r.Detail.Object.(map[string]any)["spec"],
		"status": map[string]any{"allowed": false, "denied": true, "reason": "regate: " + denial.Message + " (" + strings.Join(denial.Reasons, ", ") + ")"},
	})
	if err == nil {
		w.Header().Set("Content-Type", "application/json")
		if err = out.head(http.StatusCreated); err == nil {
			err = out.write(append(body, '\n'))
		}
	}
	if err != nil {
		turn.Done(engine.Outcome{Code: ReasonTruncated, Message: "the answer ended early", Cancelled: ctx.Err() != nil})
		panic(http.ErrAbortHandler) // the agent must not take half an answer for all of it
	}
	turn.Done(engine.Outcome{Rows: 1, Bytes: out.bytes, Tag: "201"})
	return true
}
