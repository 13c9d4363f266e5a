// Package console is the admin HTTP API: health, metrics, what is held for
// approval, revocations, and the state of the gateway.
//
//	GET    /healthz                          the process answers
//	GET    /readyz                           requests can be decided and recorded; 503 with what is in the way
//	GET    /metrics                          Prometheus
//	GET    /api/v1/status                    bundles, targets, dependencies
//	GET    /api/v1/sessions                  live sessions
//	GET    /api/v1/decisions/{id}/explain    why a recorded decision is what it is
//	GET    /api/v1/approvals[?state=…]       held requests
//	GET    /api/v1/approvals/{id}
//	POST   /api/v1/approvals/{id}/approve
//	POST   /api/v1/approvals/{id}/deny       {"reason": "…"}
//	GET    /api/v1/revocations
//	POST   /api/v1/revocations               {"kind", "value", "issuer", "reason", "expires_at"}
//	DELETE /api/v1/revocations/{key}
//
// Everything below /api needs "Authorization: Bearer" with a token of a
// configured issuer. Cookies count for nothing there, so a browser cannot be made to send
// anything on behalf of its user. A token that carries an actor (an agent
// acting for a person) has no role here: an agent must not approve its own
// requests with the authority of the person it works for.
//
// Errors are RFC 9457 problem documents with the stable id in "reason". Every
// change is audited: what grants (approve, lifting a revocation) is recorded
// before it happens and does not happen if it cannot be recorded; what
// restricts (deny, revoke) happens first.
//
// The package may import engine/identity, engine/approval and engine/input.
// It knows the gate and the policy engine only as functions that it is given.
package console
