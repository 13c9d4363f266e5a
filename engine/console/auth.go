package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
)

// Members are who holds a role: any listed group or subject id.
type Members struct {
	Groups   []string
	Subjects []string
}

// Empty reports whether nobody is named.
func (m Members) Empty() bool { return len(m.Groups) == 0 && len(m.Subjects) == 0 }

func (m Members) has(p input.Principal) bool {
	return slices.Contains(m.Subjects, p.ID) ||
		slices.ContainsFunc(m.Groups, func(g string) bool { return slices.Contains(p.Groups, g) })
}

// Roles of the API. A role that names nobody is held by nobody.
type Roles struct {
	Viewer   Members // reads status, sessions, approvals, revocations
	Approver Members // approves and denies; empty: whoever a policy's requirement names
	Auditor  Members // reads sessions
	Operator Members // reads everything, revokes
}

// caller is who sent a request.
type caller struct {
	id                                  *identity.Identity
	viewer, approver, auditor, operator bool
}

// any reports whether the caller holds a role at all.
func (c *caller) any() bool { return c.viewer || c.approver || c.auditor || c.operator }

// authenticate verifies the bearer token. The error is a *problem.
func (c *Console) authenticate(ctx context.Context, r *http.Request) (*caller, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	if strings.TrimSpace(token) == "" || len(r.Header.Values("Authorization")) != 1 {
		return nil, identityProblem(identity.Refusal(identity.ReasonMissing, nil))
	}
	id, err := c.cfg.Verifier.Verify(ctx, strings.TrimSpace(token))
	if err != nil {
		return nil, identityProblem(err)
	}
	if err := c.cfg.Revocations.Healthy(); err != nil {
		return nil, identityProblem(identity.Refusal(identity.ReasonRevocationsStale, err))
	}
	// No target is involved: revocations of targets do not match.
	if c.cfg.Revocations.Match(id, "") != nil {
		return nil, identityProblem(identity.Refusal(identity.ReasonRevoked, nil))
	}
	if !c.now().Before(id.ExpiresAt) {
		return nil, identityProblem(identity.Refusal(identity.ReasonExpired, nil))
	}
	if id.Actor != nil {
		return nil, newProblem(http.StatusForbidden, ReasonDelegated,
			"the token acts on behalf of somebody else", "use a token of your own, without an act claim")
	}
	who := &caller{id: id}
	who.viewer = c.cfg.Roles.Viewer.has(id.Subject)
	who.approver = c.cfg.Roles.Approver.has(id.Subject)
	who.auditor = c.cfg.Roles.Auditor.has(id.Subject)
	who.operator = c.cfg.Roles.Operator.has(id.Subject)
	return who, nil
}

func identityProblem(err error) *problem {
	var refused *identity.Error
	if !errors.As(err, &refused) {
		return newProblem(http.StatusServiceUnavailable, ReasonUnavailable, "the identity could not be verified", "Try again.")
	}
	status := http.StatusUnauthorized
	switch refused.Reason {
	case identity.ReasonIssuerUnavailable, identity.ReasonIntrospection, identity.ReasonRevocationsStale:
		status = http.StatusServiceUnavailable // the token may be good
	}
	return newProblem(status, refused.Reason, refused.Message, refused.Hint)
}

func forbidden(role string) *problem {
	return newProblem(http.StatusForbidden, ReasonForbidden, "this needs the role "+role, "Ask the gateway's operator; roles are set under admin.roles.")
}
