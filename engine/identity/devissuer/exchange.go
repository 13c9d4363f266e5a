package devissuer

import (
	"context"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// Token exchange (RFC 8693): a client sends somebody's access token and gets
// one that says that it acts for them. With an actor token, that token's sub
// is the actor instead. The actors of the subject's token stay beneath.

func (s *storage) ValidateTokenExchangeRequest(_ context.Context, req op.TokenExchangeRequest) error {
	switch req.GetRequestedTokenType() {
	case "":
		req.SetRequestedTokenType(oidc.AccessTokenType)
	case oidc.AccessTokenType:
	default:
		return oidc.ErrInvalidRequest().WithDescription("only an access token can be requested")
	}
	if req.GetExchangeSubjectTokenType() != oidc.AccessTokenType {
		return oidc.ErrInvalidRequest().WithDescription("subject_token must be an access token")
	}
	// A revoked token must not live on in another.
	if _, err := s.live(req.GetExchangeSubjectTokenIDOrToken()); err != nil {
		return oidc.ErrInvalidRequest().WithDescription("subject_token is not active")
	}
	if req.GetExchangeActor() != "" {
		if req.GetExchangeActorTokenType() != oidc.AccessTokenType {
			return oidc.ErrInvalidRequest().WithDescription("actor_token must be an access token")
		}
		if _, err := s.live(req.GetExchangeActorTokenIDOrToken()); err != nil {
			return oidc.ErrInvalidRequest().WithDescription("actor_token is not active")
		}
	}
	if _, err := s.audience(req.GetAudience()); err != nil {
		return err
	}
	c, ok := s.clients[req.GetClientID()]
	if !ok {
		return oidc.ErrInvalidClient()
	}
	granted, err := c.grant(req.GetScopes())
	if err != nil {
		return err
	}
	req.SetCurrentScopes(granted)
	return nil
}

func (s *storage) CreateTokenExchangeRequest(context.Context, op.TokenExchangeRequest) error {
	return nil
}

func (s *storage) GetPrivateClaimsFromTokenExchangeRequest(_ context.Context, req op.TokenExchangeRequest) (map[string]any, error) {
	actor := s.clients[req.GetClientID()].Subject
	if a := req.GetExchangeActor(); a != "" {
		actor = a
	}
	act := map[string]any{"sub": actor, "client_id": req.GetClientID()}
	if groups := s.groups(actor); len(groups) > 0 {
		act["groups"] = groups
	}
	if prior, ok := req.GetExchangeSubjectTokenClaims()["act"]; ok {
		act["act"] = prior
	}
	claims := map[string]any{"groups": list(s.groups(req.GetSubject())), "act": act}
	if scopes := req.GetScopes(); len(scopes) > 0 {
		claims["scope"] = strings.Join(scopes, " ")
	}
	return claims, nil
}

func (s *storage) SetUserinfoFromTokenExchangeRequest(_ context.Context, info *oidc.UserInfo, req op.TokenExchangeRequest) error {
	s.describe(info, req.GetSubject())
	return nil
}
