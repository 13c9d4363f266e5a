package identity

import (
	"time"

	"github.com/regate-dev/regate/engine/input"
)

// Identity is what one verified token says. It is immutable and shared by
// every request that carries the same token.
type Identity struct {
	// Subject is whose authority the request uses.
	Subject input.Principal
	// Actor is who acts for the subject: the outermost RFC 8693 `act`. Nil
	// when the token names none. Deeper actors are history; they stay in
	// Subject.Claims and take no part in a decision.
	Actor *input.Principal
	// TokenID is the claim jti, or "sha256:" and the hex digest of the token
	// where it has none. Never empty.
	TokenID string
	// IssuerName is the issuer's name in the configuration.
	IssuerName string
	// IssuedAt is the claim iat; zero where the token has none, which every
	// revocation of its subject or client then covers.
	IssuedAt time.Time
	// ExpiresAt is the claim exp. Connections that use the token end then.
	ExpiresAt time.Time

	proof *verified // what it rests on, for Verifier.Still
}
