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

// revocationView is a revocation with the key that removes it.
type revocationView struct {
	Key string `json:"key"`
	identity.Revocation
}

func (c *Console) listRevocations(_ context.Context, who *caller, _ *http.Request) (int, any, error) {
	if !who.any() {
		return 0, nil, forbidden("viewer")
	}
	out := []revocationView{}
	for _, r := range c.cfg.Revocations.List() {
		out = append(out, revocationView{r.Key(), r})
	}
	slices.SortFunc(out, func(a, b revocationView) int { return cmp.Or(b.At.Compare(a.At), cmp.Compare(a.Key, b.Key)) })
	return http.StatusOK, struct {
		Revocations []revocationView `json:"revocations"`
	}{out}, nil
}

type revocationRequest struct {
	Kind      string    `json:"kind"`
	Value     string    `json:"value"`
	Issuer    string    `json:"issuer"`
	Reason    string    `json:"reason"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (c *Console) addRevocation(ctx context.Context, who *caller, r *http.Request) (int, any, error) {
	if !who.operator {
		return 0, nil, forbidden("operator")
	}
	var in revocationRequest
	if err := readJSON(r, &in, false); err != nil {
		return 0, nil, err
	}
	kinds := []string{identity.RevokeToken, identity.RevokeSubject, identity.RevokeClient, identity.RevokeTarget}
	switch {
	case !slices.Contains(kinds, in.Kind):
		return 0, nil, malformed("kind must be token, subject, client or target")
	case in.Value == "" || len(in.Value) > maxText:
		return 0, nil, malformed(fmt.Sprintf("value must have 1 to %d bytes", maxText))
	case len(in.Issuer) > maxText || len(in.Reason) > maxText:
		return 0, nil, malformed(fmt.Sprintf("issuer and reason have at most %d bytes", maxText))
	case in.Kind == identity.RevokeTarget && in.Issuer != "":
		return 0, nil, malformed("a target has no issuer")
	case !in.ExpiresAt.IsZero() && !in.ExpiresAt.After(c.now()):
		return 0, nil, malformed("expires_at is in the past")
	}
	rev := identity.Revocation{
		Kind: in.Kind, Value: in.Value, Issuer: in.Issuer, Reason: in.Reason,
		By: who.id.Subject.ID, At: c.now().UTC(), ExpiresAt: in.ExpiresAt,
	}
	// Cutting somebody off comes first: a journal in trouble must not keep a
	// stolen token alive.
	if err := c.cfg.Revocations.Add(ctx, rev); err != nil {
		return 0, nil, fmt.Errorf("add revocation: %w", err)
	}
	c.note(ctx, who, "revocation.add", OutcomeOK, revocationDetail(rev))
	return http.StatusCreated, revocationView{rev.Key(), rev}, nil
}

func (c *Console) removeRevocation(ctx context.Context, who *caller, r *http.Request) (int, any, error) {
	if !who.operator {
		return 0, nil, forbidden("operator")
	}
	key := r.PathValue("key")
	list := c.cfg.Revocations.List()
	i := slices.IndexFunc(list, func(r identity.Revocation) bool { return r.Key() == key })
	if i < 0 {
		return 0, nil, newProblem(http.StatusNotFound, ReasonNotFound, "there is no such revocation", "")
	}
	detail := revocationDetail(list[i])
	// Lifting a revocation gives access back: only if it is recorded.
	if err := c.record(ctx, who, "revocation.remove", detail); err != nil {
		return 0, nil, err
	}
	if err := c.cfg.Revocations.Remove(ctx, key); err != nil {
		c.note(ctx, who, "revocation.remove", ReasonUnavailable, detail)
		return 0, nil, fmt.Errorf("remove revocation: %w", err)
	}
	c.note(ctx, who, "revocation.remove", OutcomeOK, detail)
	return http.StatusNoContent, nil, nil
}

func revocationDetail(r identity.Revocation) map[string]string {
	return map[string]string{"key": r.Key(), "kind": r.Kind, "value": r.Value, "issuer": r.Issuer, "reason": r.Reason}
}

func malformed(detail string) *problem {
	return newProblem(http.StatusBadRequest, ReasonMalformed, detail, "")
}
