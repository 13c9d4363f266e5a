package console

import (
	"context"
	"strings"
	"time"

	"github.com/regate-dev/regate/engine/identity"
)

// sessionPrefix begins the token ids that stand for a person's session with the
// pages, in revocations: a session that was signed out of is one.
const sessionPrefix = "console-session:"

// AdmitSession is Admit for somebody who signed in before, whose session was
// not signed out of since.
func (c *Console) AdmitSession(id *identity.Identity, session string) (*Caller, error) {
	who, err := c.Admit(id)
	if err != nil {
		return nil, err
	}
	same := *id
	same.TokenID = sessionPrefix + session
	if c.cfg.Revocations.Match(&same, "") != nil {
		return nil, identityProblem(identity.Refusal(identity.ReasonRevoked, nil))
	}
	return who, nil
}

// SignedIn audits that a person came in. Without that nobody does.
func (c *Console) SignedIn(ctx context.Context, who *Caller, session string) error {
	return c.record(ctx, who, "console.sign-in", map[string]string{"session": session})
}

// SignOut ends a session everywhere: a copy of its cookie is worth nothing
// from now on.
func (c *Console) SignOut(ctx context.Context, who *Caller, session string, until time.Time) error {
	c.note(ctx, who, "console.sign-out", OutcomeOK, map[string]string{"session": session})
	return c.cfg.Revocations.Add(ctx, identity.Revocation{
		Kind: identity.RevokeToken, Value: sessionPrefix + session, Issuer: who.Identity.Subject.Issuer,
		Reason: "signed out", By: who.Identity.Subject.ID, At: c.now().UTC(), ExpiresAt: until,
	})
}

// Viewed audits that a person looks at a recording.
func (c *Console) Viewed(ctx context.Context, who *Caller, session string) {
	c.note(ctx, who, "session.view", OutcomeOK, map[string]string{"session": session})
}

// signOut reports whether a revocation only says that a person signed out.
func signOut(r identity.Revocation) bool {
	return r.Kind == identity.RevokeToken && strings.HasPrefix(r.Value, sessionPrefix)
}
