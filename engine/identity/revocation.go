package identity

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
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
// issued up to At: a token issued later works again. iat has whole seconds, so
// tokens of the second of At are covered too; where an issuer's clock may be
// ahead of the gateway's, set At ahead by as much. One of kind token or target
// holds until it is removed or expires.
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

// maxValue bounds value, issuer, reason and author.
const maxValue = 2048

func (r Revocation) valid() error {
	switch r.Kind {
	case RevokeToken, RevokeSubject, RevokeClient:
	case RevokeTarget:
		if r.Issuer != "" {
			return errors.New("a revocation of a target has no issuer")
		}
	default:
		return fmt.Errorf("kind %q is not one of token, subject, client, target", r.Kind)
	}
	if r.Value == "" {
		return errors.New("value is empty")
	}
	if r.At.IsZero() {
		return errors.New("at is not set")
	}
	for _, s := range []string{r.Value, r.Issuer, r.Reason, r.By} {
		if len(s) > maxValue {
			return fmt.Errorf("a field is longer than %d bytes", maxValue)
		}
	}
	return nil
}

func (r *Revocation) expired(now time.Time) bool {
	return !r.ExpiresAt.IsZero() && !now.Before(r.ExpiresAt)
}

// covers tells whether the revocation holds for a principal of the issuer.
// since: only tokens issued up to At.
func (r *Revocation) covers(issuer string, issuedAt time.Time, since bool, now time.Time) bool {
	switch {
	case r.expired(now):
		return false
	case r.Issuer != "" && r.Issuer != issuer:
		return false
	case since && issuedAt.After(r.At):
		return false
	}
	return true
}
