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

// Caller is who sent a request, with the roles that they hold.
type Caller struct {
	Identity                            *identity.Identity
	Viewer, Approver, Auditor, Operator bool
}

// Any reports whether the caller holds a role at all.
func (c *Caller) Any() bool { return c.Viewer || c.Approver || c.Auditor || c.Operator }

// Recordings reports whether the caller may see what was asked and answered in
// sessions of others.
func (c *Caller) Recordings() bool { return c.Auditor || c.Operator }

// authenticate verifies the bearer token. The error is a *Problem.
func (c *Console) authenticate(ctx context.Context, r *http.Request) (*Caller, error) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		token = ""
	}
	if strings.TrimSpace(token) == "" || len(r.Header.Values("Authorization")) != 1 {
		return nil, identityProblem(identity.Refusal(identity.ReasonMissing, nil))
	}
	return c.Verify(ctx, strings.TrimSpace(token))
}

// Verify checks a token and admits whom it names. The error is a *Problem.
func (c *Console) Verify(ctx context.Context, token string) (*Caller, error) {
	id, err := c.cfg.Verifier.Verify(ctx, token)
	if err != nil {
		return nil, identityProblem(err)
	}
	return c.Admit(id)
}

// Admit says what an identity that was verified before may do now. The error
// is a *Problem.
func (c *Console) Admit(id *identity.Identity) (*Caller, error) {
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
	who := &Caller{Identity: id}
	who.Viewer = c.cfg.Roles.Viewer.has(id.Subject)
	who.Approver = c.cfg.Roles.Approver.has(id.Subject)
	who.Auditor = c.cfg.Roles.Auditor.has(id.Subject)
	who.Operator = c.cfg.Roles.Operator.has(id.Subject)
	return who, nil
}

func identityProblem(err error) *Problem {
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

func forbidden(role string) *Problem {
	return newProblem(http.StatusForbidden, ReasonForbidden, "this needs the role "+role, "Ask the gateway's operator; roles are set under admin.roles.")
}
