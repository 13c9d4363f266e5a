package identity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/sirupsen/logrus"
)

const defaultCacheSize = 10_000

// Verifier checks bearer tokens against the configured issuers. It is safe for
// concurrent use.
type Verifier struct {
	issuers  []*issuer
	byURL    map[string]*issuer
	unnamed  []*issuer // take tokens without iss, by the prefix of sub
	clock    func() time.Time
	verified *lru.Cache[[sha256.Size]byte, *verified] // nil: none
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// verified is a remembered token.
type verified struct {
	id       *Identity
	issuer   *issuer
	validity validity
	key      thumbprint

	mu          sync.Mutex
	activeUntil time.Time // as introspection said
}

// New returns a Verifier. It does not wait for issuers: until the keys of one
// are fetched its tokens are refused with ReasonIssuerUnavailable, and fetching
// goes on in the background until Close, or until ctx ends. The error lists
// every problem of the configuration.
func New(ctx context.Context, cfg Config) (*Verifier, error) {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.Logger == nil {
		silent := logrus.New()
		silent.SetOutput(io.Discard)
		cfg.Logger = silent
	}
	v := &Verifier{byURL: map[string]*issuer{}, clock: cfg.Clock}
	var errs []error
	names, domains := map[string]bool{}, map[string]bool{}
	for _, c := range cfg.Issuers {
		iss, err := c.compile(&cfg)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if names[c.Name] {
			errs = append(errs, fmt.Errorf("issuer %q is configured twice", c.Name))
		}
		names[c.Name] = true
		if _, dup := v.byURL[c.URL]; dup && c.URL != "" {
			errs = append(errs, fmt.Errorf("issuer %q: another issuer has the url %q; list both audiences in one issuer", c.Name, c.URL))
		}
		if c.URL != "" {
			v.byURL[c.URL] = iss
		}
		if iss.unnamed != nil {
			if domains[c.TrustDomain] {
				errs = append(errs, fmt.Errorf("issuer %q: another issuer has the trust domain %q", c.Name, c.TrustDomain))
			}
			domains[c.TrustDomain] = true
			v.unnamed = append(v.unnamed, iss)
		}
		v.issuers = append(v.issuers, iss)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	size := cfg.CacheSize
	if size == 0 {
		size = defaultCacheSize
	}
	if size > 0 {
		cache, err := lru.New[[sha256.Size]byte, *verified](size)
		if err != nil {
			return nil, fmt.Errorf("identity: cache: %w", err)
		}
		v.verified = cache
	}
	ctx, v.stop = context.WithCancel(ctx)
	for _, iss := range v.issuers {
		iss.keys.life = ctx
		v.wg.Go(func() { iss.keys.keep(ctx) })
	}
	return v, nil
}

// Close ends the background work and the fetches under way. Tokens are refused
// from when the keys at hand have grown old.
func (v *Verifier) Close() {
	v.stop()
	v.wg.Wait()
}

// Ready returns nil when the keys of every issuer are at hand, else an error
// that names those whose are not.
func (v *Verifier) Ready() error {
	var errs []error
	for _, iss := range v.issuers {
		if err := iss.keys.ready(); err != nil {
			errs = append(errs, fmt.Errorf("issuer %q: %w", iss.name, err))
		}
	}
	return errors.Join(errs...)
}

// Verify checks a token and returns what it says. The error is always an
// *Error and holds nothing of the token. It may wait for a fetch from the
// issuer, at most some seconds.
//
// What is checked, in this order: size and shape; the issuer; algorithm and
// type against the issuer's lists; the signature; exp, nbf, iat; audience;
// subject, required claims, actor; introspection where configured. Before the
// signature is proven nothing is said about the claims.
func (v *Verifier) Verify(ctx context.Context, token string) (*Identity, error) {
	if token == "" {
		return nil, Refusal(ReasonMissing, nil)
	}
	if len(token) > maxToken {
		return nil, Refusal(ReasonOversized, nil)
	}
	digest := sha256.Sum256([]byte(token))
	if v.verified != nil {
		if e, ok := v.verified.Get(digest); ok {
			id, err := v.again(ctx, e, digest, token)
			if id != nil || err != nil {
				return id, err
			}
			v.verified.Remove(digest)
		}
	}
	e, err := v.verify(ctx, digest, token)
	if err != nil {
		return nil, err
	}
	if v.verified != nil {
		v.verified.Add(digest, e)
	}
	return e.id, nil
}

// again checks what may have changed since a token was verified. Nil and nil
// mean that it must be verified anew.
func (v *Verifier) again(ctx context.Context, e *verified, digest [sha256.Size]byte, token string) (*Identity, error) {
	now := v.clock()
	// Past exp the skew decides, and that is not for the cache.
	if !now.Before(e.validity.expires) || e.validity.check(now, e.issuer.skew, e.issuer.maxAge) != nil {
		return nil, nil
	}
	if ok, err := e.issuer.keys.trusts(ctx, e.key); err != nil {
		return nil, err
	} else if !ok {
		return nil, nil
	}
	if err := e.introspect(ctx, now, digest, token); err != nil {
		return nil, err
	}
	return e.id, nil
}

func (e *verified) introspect(ctx context.Context, now time.Time, digest [sha256.Size]byte, token string) error {
	if e.issuer.introspector == nil {
		return nil
	}
	e.mu.Lock()
	until := e.activeUntil
	e.mu.Unlock()
	if now.Before(until) {
		return nil
	}
	until, err := e.issuer.introspector.check(ctx, string(digest[:]), token)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.activeUntil = until
	e.mu.Unlock()
	return nil
}

func (v *Verifier) verify(ctx context.Context, digest [sha256.Size]byte, token string) (*verified, error) {
	t, err := parseJWT(token)
	if err != nil {
		return nil, err
	}
	iss, named, err := v.issuerOf(t.claims)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(iss.algorithms, t.alg) {
		return nil, Refusal(ReasonAlgorithm, nil)
	}
	if !slices.Contains(iss.types, strings.ToLower(t.typ)) {
		return nil, Refusal(ReasonType, nil)
	}
	frame := iss.signed
	if !named {
		frame = iss.unnamed
	}
	req := &request{token: t}
	if _, err := frame.Verify(context.WithValue(ctx, requestKey{}, req), token); err != nil {
		var refusal *Error
		if errors.As(req.err, &refusal) {
			return nil, refusal
		}
		return nil, Refusal(ReasonMalformed, nil)
	}
	if req.key == nil {
		return nil, Refusal(ReasonBadSignature, nil)
	}
	e := &verified{issuer: iss, key: req.key.thumb}
	if e.validity, err = readValidity(t.claims); err != nil {
		return nil, err
	}
	if err := e.validity.check(v.clock(), iss.skew, iss.maxAge); err != nil {
		return nil, err
	}
	if e.id, err = iss.identity(t.claims, e.validity, digest); err != nil {
		return nil, err
	}
	e.id.proof = e
	if err := e.introspect(ctx, v.clock(), digest, token); err != nil {
		return nil, err
	}
	return e, nil
}

// Still returns nil while an identity of this Verifier may go on being used on
// a live connection, else a refusal: it has expired, its token is older than
// the issuer's tokens may be, the issuer withdrew the key that signed it, or
// the issuer's keys are not known any more. It asks nobody and takes no lock:
// keys are refreshed in the background. Revocations are asked separately.
func (v *Verifier) Still(id *Identity) error {
	if id == nil || id.proof == nil {
		return Refusal(ReasonUnknownKey, nil)
	}
	e, now := id.proof, v.clock()
	if !now.Before(id.ExpiresAt) {
		return Refusal(ReasonExpired, nil)
	}
	if err := e.validity.check(now, e.issuer.skew, e.issuer.maxAge); err != nil {
		return err
	}
	return e.issuer.keys.still(e.key)
}

// issuerOf picks the issuer by the unproven iss; go-oidc compares again with
// what is signed. named is false for a token without iss.
func (v *Verifier) issuerOf(claims map[string]any) (iss *issuer, named bool, err error) {
	if raw, present := claims["iss"]; present {
		name, ok := raw.(string)
		if !ok || name == "" {
			return nil, false, Refusal(ReasonMalformed, nil)
		}
		if iss, ok := v.byURL[name]; ok {
			return iss, true, nil
		}
		return nil, false, Refusal(ReasonUnknownIssuer, nil)
	}
	if sub, ok := claims["sub"].(string); ok {
		for _, iss := range v.unnamed {
			if strings.HasPrefix(sub, iss.subPrefix) {
				return iss, false, nil
			}
		}
	}
	return nil, false, Refusal(ReasonUnknownIssuer, nil)
}

// Unproven returns what a token with these claims would say, by the mapping of
// the issuer that they name. Nothing is proven, so Still refuses what it
// returns: it is for showing what policies see, never for letting anyone in.
// The error is always an *Error.
func (v *Verifier) Unproven(claims map[string]any) (*Identity, error) {
	iss, _, err := v.issuerOf(claims)
	if err != nil {
		return nil, err
	}
	val, err := readValidity(claims)
	if err != nil {
		return nil, err
	}
	return iss.identity(claims, val, [sha256.Size]byte{})
}

// identity checks the claims of a token whose signature and time are right.
func (iss *issuer) identity(claims map[string]any, val validity, digest [sha256.Size]byte) (*Identity, error) {
	if !slices.ContainsFunc(audiences(claims), func(a string) bool { return slices.Contains(iss.audiences, a) }) {
		return nil, Refusal(ReasonWrongAudience, nil)
	}
	sub, ok := claims["sub"].(string)
	if !ok || sub == "" || !strings.HasPrefix(sub, iss.subPrefix) {
		return nil, Refusal(ReasonMissingClaim, nil)
	}
	for _, r := range iss.required {
		if !r.met(claims) {
			return nil, Refusal(ReasonMissingClaim, nil)
		}
	}
	id := &Identity{
		Subject:    iss.mapping.principal(claims, val.expires),
		IssuerName: iss.name,
		IssuedAt:   val.issuedAt,
		ExpiresAt:  val.expires,
	}
	id.Subject.ID = sub
	id.Subject.Issuer = iss.url
	if iss.url == "" {
		id.Subject.Issuer = strings.TrimSuffix(iss.subPrefix, "/")
	}
	if jti, present := claims["jti"]; !present {
		id.TokenID = "sha256:" + hex.EncodeToString(digest[:])
	} else if id.TokenID, ok = jti.(string); !ok || id.TokenID == "" {
		return nil, Refusal(ReasonMalformed, nil)
	}
	var err error
	id.Actor, err = iss.mapping.actor(claims, id.Subject.Issuer, iss.actorIssuers, val.expires)
	if err != nil {
		return nil, err
	}
	return id, nil
}
