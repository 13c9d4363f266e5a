package devissuer

import (
	"slices"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// client is an op.Client.
type client struct {
	Client
	public   bool
	redirect string // path that a public client comes back at
	lifetime time.Duration
}

func (c *client) GetID() string                    { return c.ID }
func (c *client) PostLogoutRedirectURIs() []string { return nil }
func (c *client) ResponseTypes() []oidc.ResponseType {
	return []oidc.ResponseType{oidc.ResponseTypeCode}
}
func (c *client) LoginURL(id string) string            { return "/login?id=" + id }
func (c *client) AccessTokenType() op.AccessTokenType  { return op.AccessTokenTypeJWT }
func (c *client) IDTokenLifetime() time.Duration       { return c.lifetime }
func (c *client) DevMode() bool                        { return false }
func (c *client) IsScopeAllowed(scope string) bool     { return slices.Contains(c.Scopes, scope) }
func (c *client) IDTokenUserinfoClaimsAssertion() bool { return true }
func (c *client) ClockSkew() time.Duration             { return 0 }
func (c *client) ApplicationType() op.ApplicationType  { return op.ApplicationTypeNative }
func (c *client) keepScopes(scopes []string) []string  { return scopes }

// RedirectURIs: a native client's loopback redirect matches whatever its port
// (RFC 8252 section 7.3).
func (c *client) RedirectURIs() []string {
	if c.public {
		return []string{"http://127.0.0.1" + c.redirect, "http://[::1]" + c.redirect, "http://localhost" + c.redirect}
	}
	return nil
}

func (c *client) AuthMethod() oidc.AuthMethod {
	if c.public {
		return oidc.AuthMethodNone
	}
	return oidc.AuthMethodBasic
}

func (c *client) GrantTypes() []oidc.GrantType {
	if c.public {
		return []oidc.GrantType{oidc.GrantTypeCode}
	}
	return []oidc.GrantType{oidc.GrantTypeClientCredentials, oidc.GrantTypeTokenExchange}
}

func (c *client) RestrictAdditionalIdTokenScopes() func([]string) []string     { return c.keepScopes }
func (c *client) RestrictAdditionalAccessTokenScopes() func([]string) []string { return c.keepScopes }
