package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	// minRSABits: NIST SP 800-131A disallows less than 2048.
	minRSABits = 2048
	// maxRSABits: verifying costs grow with the square; nobody signs tokens
	// with more.
	maxRSABits = 8192
	// maxKeys bounds a set. Issuers publish two to about ten.
	maxKeys = 128
)

// thumbprint is a key's RFC 7638 thumbprint, which names the key whatever its
// kid.
type thumbprint [32]byte

// key is one accepted verification key.
type key struct {
	kid   string
	alg   string // "" where the set does not bind it
	pub   crypto.PublicKey
	thumb thumbprint
}

// keySnapshot is an issuer's keys at one moment. Immutable.
type keySnapshot struct {
	keys    []*key
	byKID   map[string][]*key
	thumbs  map[thumbprint]struct{}
	fetched time.Time
}

// keyFilter says which keys of a document may verify tokens.
type keyFilter struct {
	uses []string
}

// parseKeys reads a JWKS document. A key that cannot be accepted is left out
// and named in refused: one odd key must not take the others down. A document
// that is no JWKS is an error.
func parseKeys(raw []byte, f keyFilter) (snap *keySnapshot, refused []error, err error) {
	var doc struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, nil, fmt.Errorf("the document is not a JWKS: %w", err)
	}
	if doc.Keys == nil {
		return nil, nil, errors.New("the document has no keys member")
	}
	if len(doc.Keys) > maxKeys {
		return nil, nil, fmt.Errorf("the document has %d keys, more than %d", len(doc.Keys), maxKeys)
	}
	var all []*key
	for i, raw := range doc.Keys {
		k, err := parseKey(raw, f)
		if err != nil {
			refused = append(refused, fmt.Errorf("key %d: %w", i, err))
			continue
		}
		all = append(all, k)
	}
	snap = &keySnapshot{byKID: map[string][]*key{}, thumbs: map[thumbprint]struct{}{}}
	for _, k := range all {
		if _, same := snap.thumbs[k.thumb]; same && slices.ContainsFunc(snap.byKID[k.kid], func(o *key) bool { return o.thumb == k.thumb }) {
			continue // the same key listed twice
		}
		// Two different keys of one type under one kid: which of them the
		// issuer means cannot be told, so neither is taken.
		if slices.ContainsFunc(all, func(o *key) bool {
			return o.kid == k.kid && o.thumb != k.thumb && k.kid != "" && family(o.pub) == family(k.pub)
		}) {
			refused = append(refused, fmt.Errorf("key id %q stands for two keys", k.kid))
			continue
		}
		snap.keys = append(snap.keys, k)
		snap.byKID[k.kid] = append(snap.byKID[k.kid], k)
		snap.thumbs[k.thumb] = struct{}{}
	}
	return snap, refused, nil
}

func parseKey(raw []byte, f keyFilter) (*key, error) {
	var head struct {
		Kty string   `json:"kty"`
		Use string   `json:"use"`
		Ops []string `json:"key_ops"`
		D   any      `json:"d"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, errors.New("not a JSON object")
	}
	switch {
	case head.Kty == "oct":
		return nil, errors.New("symmetric")
	case head.D != nil:
		return nil, errors.New("a private key is published; it can sign for anybody")
	case !slices.Contains(f.uses, head.Use):
		return nil, fmt.Errorf("use is %q", head.Use)
	case head.Ops != nil && !slices.Contains(head.Ops, "verify"):
		return nil, errors.New("key_ops has no verify")
	}
	var jwk jose.JSONWebKey
	if err := jwk.UnmarshalJSON(raw); err != nil {
		return nil, err
	}
	if !jwk.Valid() || !jwk.IsPublic() {
		return nil, errors.New("not a valid public key")
	}
	if jwk.Algorithm != "" {
		if _, ok := asymmetric[jwk.Algorithm]; !ok {
			return nil, fmt.Errorf("alg is %q", jwk.Algorithm)
		}
	}
	if pub, ok := jwk.Key.(*rsa.PublicKey); ok {
		if n := pub.N.BitLen(); n < minRSABits || n > maxRSABits {
			return nil, fmt.Errorf("RSA key of %d bits", n)
		}
		if pub.E < 3 || pub.E%2 == 0 {
			return nil, errors.New("RSA exponent")
		}
	}
	if family(jwk.Key) == "" {
		return nil, fmt.Errorf("key type %T", jwk.Key)
	}
	k := &key{kid: jwk.KeyID, alg: jwk.Algorithm, pub: jwk.Key}
	sum, err := jwk.Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, err
	}
	copy(k.thumb[:], sum)
	return k, nil
}

// family names what a key can sign with: "RS" stands for RS and PS.
func family(pub crypto.PublicKey) string {
	switch k := pub.(type) {
	case *rsa.PublicKey:
		return "RS"
	case ed25519.PublicKey:
		return "EdDSA"
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return "ES256"
		case elliptic.P384():
			return "ES384"
		case elliptic.P521():
			return "ES512"
		}
	}
	return ""
}

// verifies tells whether the key may verify the algorithm.
func (k *key) verifies(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	f := family(k.pub)
	if f == "RS" {
		return strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")
	}
	return f == alg
}

// maxTries is how many keys are tried on a token without a kid; more would let
// a stranger buy much work with one token.
const maxTries = 8

// candidates returns the keys that may verify a token: those with its kid or,
// where it names none, every key of the algorithm's family, if those are few.
func (s *keySnapshot) candidates(t *jwt) []*key {
	list := s.keys
	if t.hasKID {
		list = s.byKID[t.kid]
	}
	var fit []*key
	for _, k := range list {
		if k.verifies(t.alg) {
			fit = append(fit, k)
		}
	}
	if len(fit) > maxTries {
		return nil
	}
	return fit
}
