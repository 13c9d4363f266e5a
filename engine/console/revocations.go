package console

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/regate-dev/regate/engine/identity"
)

// maxText bounds a value or a reason of a request.
const maxText = 1024

// Revoked is a revocation with the key that removes it.
type Revoked struct {
	Key string `json:"key"`
	identity.Revocation
}

func (c *Console) listRevocations(_ context.Context, who *Caller, _ *http.Request) (int, any, error) {
	out, err := c.Revocations(who)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, struct {
		Revocations []Revoked `json:"revocations"`
	}{out}, nil
}

// Revocations lists what is revoked, the newest first.
func (c *Console) Revocations(who *Caller) ([]Revoked, error) {
	if !who.Any() {
		return nil, forbidden("viewer")
	}
	out := []Revoked{}
	for _, r := range c.cfg.Revocations.List() {
		if !signOut(r) {
			out = append(out, Revoked{r.Key(), r})
		}
	}
	slices.SortFunc(out, func(a, b Revoked) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Key, b.Key)) })
	return out, nil
}

// Revocation says whom or what to cut off.
type Revocation struct {
	Kind      string    `json:"kind"`
	Value     string    `json:"value"`
	Issuer    string    `json:"issuer"`
	Reason    string    `json:"reason"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (c *Console) addRevocation(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	if !who.Operator { // before the body is looked at
		return 0, nil, forbidden("operator")
	}
	var in Revocation
	if err := readJSON(r, &in, false); err != nil {
		return 0, nil, err
	}
	rev, err := c.Revoke(ctx, who, in)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, rev, nil
}

// Revoke cuts somebody off, or a target.
func (c *Console) Revoke(ctx context.Context, who *Caller, in Revocation) (Revoked, error) {
	kinds := []string{identity.RevokeToken, identity.RevokeSubject, identity.RevokeClient, identity.RevokeTarget}
	switch {
	case !who.Operator:
		return Revoked{}, forbidden("operator")
	case !slices.Contains(kinds, in.Kind):
		return Revoked{}, malformed("kind must be token, subject, client or target")
	case in.Value == "" || len(in.Value) > maxText:
		return Revoked{}, malformed(fmt.Sprintf("value must have 1 to %d bytes", maxText))
	case len(in.Issuer) > maxText || len(in.Reason) > maxText:
		return Revoked{}, malformed(fmt.Sprintf("issuer and reason have at most %d bytes", maxText))
	case in.Kind == identity.RevokeTarget && in.Issuer != "":
		return Revoked{}, malformed("a target has no issuer")
	case !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(c.now()):
		return Revoked{}, malformed("expires_at is in the past")
	}
	rev := identity.Revocation{
		Kind: in.Kind, Value: in.Value, Issuer: in.Issuer, Reason: in.Reason,
		By: who.Identity.Subject.ID, At: c.now().UTC(), ExpiresAt: in.ExpiresAt,
	}
	// Cutting somebody off comes first: a journal in trouble must not keep a
	// stolen token alive.
	if err := c.cfg.Revocations.Add(ctx, rev); err != nil {
		return Revoked{}, fmt.Errorf("add revocation: %w", err)
	}
	c.note(ctx, who, "revocation.add", OutcomeOK, revocationDetail(rev))
	return Revoked{rev.Key(), rev}, nil
}

func (c *Console) removeRevocation(ctx context.Context, who *Caller, r *http.Request) (int, any, error) {
	return http.StatusNoContent, nil, c.Restore(ctx, who, r.PathValue("key"))
}

// Restore removes a revocation, once that is recorded.
func (c *Console) Restore(ctx context.Context, who *Caller, key string) error {
	if !who.Operator {
		return forbidden("operator")
	}
	list := c.cfg.Revocations.List()
	i := slices.IndexFunc(list, func(r identity.Revocation) bool { return r.Key() == key })
	if i < 0 {
		return newProblem(http.StatusNotFound, ReasonNotFound, "there is no such revocation", "")
	}
	detail := revocationDetail(list[i])
	// Lifting a revocation gives access back: only if it is recorded.
	if err := c.record(ctx, who, "revocation.remove", detail); err != nil {
		return err
	}
	if err := c.cfg.Revocations.Remove(ctx, key); err != nil {
		c.note(ctx, who, "revocation.remove", ReasonUnavailable, detail)
		return fmt.Errorf("remove revocation: %w", err)
	}
	c.note(ctx, who, "revocation.remove", OutcomeOK, detail)
	return nil
}

func revocationDetail(r identity.Revocation) map[string]string {
	return map[string]string{"key": r.Key(), "kind": r.Kind, "value": r.Value, "issuer": r.Issuer, "reason": r.Reason}
}

func malformed(detail string) *Problem {
	return newProblem(http.StatusBadRequest, ReasonMalformed, detail, "")
}
