package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// The kinds of revocation.
const (
	RevokeToken   = "token"   // one token, by jti (or Identity.TokenID)
	RevokeSubject = "subject" // a sub, as subject or as actor
	RevokeClient  = "client"  // a client id, of subject or actor
	RevokeTarget  = "target"  // everybody, at one target
)

// Revocation cuts somebody off. One of kind subject or client covers tokens
// issued up to At: a token issued later works again. One of kind token or
// target holds until it is removed or expires.
type Revocation struct {
	Kind      string    `json:"kind"`
	Value     string    `json:"value"`            // jti, sub, client id or target name
	Issuer    string    `json:"issuer,omitempty"` // only principals of this iss; "" means any. Not for targets.
	Reason    string    `json:"reason,omitempty"` // for people
	By        string    `json:"by,omitempty"`     // who revoked
	At        time.Time `json:"at"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // zero: never
}

// Key names the revocation in the bucket: one for each kind, issuer and value.
func (r Revocation) Key() string {
	sum := sha256.Sum256([]byte(r.Kind + "\x00" + r.Issuer + "\x00" + r.Value))
	return r.Kind + "." + hex.EncodeToString(sum[:16])
}
