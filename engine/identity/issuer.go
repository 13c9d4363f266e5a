package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"
)

// issuer is a compiled Issuer.
type issuer struct {
	name         string
	url          string
	audiences    []string
	algorithms   []string
	types        []string // lower case
	skew         time.Duration
	maxAge       time.Duration
	required     []requirement
	mapping      mapping
	actorIssuers []string
	subPrefix    string // every sub must start so; "" for no bound
	keys         *keySet
	source       *source
	introspector *introspector // nil: not asked

	// signed checks signature and iss with go-oidc; unnamed does the same for
	// tokens without iss.
	signed, unnamed *oidc.IDTokenVerifier
}

var asymmetric = map[string]jose.SignatureAlgorithm{
	"RS256": jose.RS256, "RS384": jose.RS384, "RS512": jose.RS512,
	"PS256": jose.PS256, "PS384": jose.PS384, "PS512": jose.PS512,
	"ES256": jose.ES256, "ES384": jose.ES384, "ES512": jose.ES512,
	"EdDSA": jose.EdDSA,
}

// compile checks the configuration of an issuer and returns every problem.
func (c Issuer) compile(cfg *Config) (*issuer, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }

	d, err := c.Profile.of(&c)
	if err != nil {
		errs = append(errs, err)
	}
	iss := &issuer{
		name:         c.Name,
		url:          c.URL,
		audiences:    c.Audiences,
		algorithms:   or(c.Algorithms, d.algorithms),
		skew:         c.ClockSkew,
		maxAge:       c.MaxTokenAge,
		actorIssuers: c.ActorIssuers,
		subPrefix:    d.subPrefix,
	}
	if c.Name == "" {
		bad("name is empty")
	}
	if len(c.Audiences) == 0 || slices.Contains(c.Audiences, "") {
		bad("audiences: at least one is needed and none may be empty, else a token meant for another service would be taken")
	}
	for _, a := range iss.algorithms {
		if _, ok := asymmetric[a]; !ok {
			bad("algorithms: %q is not an asymmetric signature algorithm", a)
		}
	}
	for _, t := range or(c.Types, d.types) {
		iss.types = append(iss.types, strings.ToLower(t))
	}
	switch {
	case iss.skew == 0:
		iss.skew = 30 * time.Second
	case iss.skew < 0:
		iss.skew = 0
	case iss.skew > 5*time.Minute:
		bad("clock skew %s is more than 5m", iss.skew)
	}
	if c.MaxTokenAge < 0 {
		bad("max token age is negative")
	}

	paths := func(what string, given, def []string) []claimPath {
		list, err := parsePaths(or(given, def))
		if err != nil {
			bad("claims: %s: %w", what, err)
		}
		return list
	}
	iss.mapping = mapping{
		groups:   paths("groups", c.Claims.Groups, d.groups),
		scopes:   paths("scopes", c.Claims.Scopes, d.scopes),
		clientID: paths("client_id", c.Claims.ClientID, d.clientID),
		prefix:   c.GroupPrefix,
		derive:   d.derive,
	}
	for _, set := range []map[string][]string{d.required, c.RequiredClaims} {
		for path, patterns := range set {
			r := requirement{}
			if r.path, err = parsePath(path); err != nil {
				bad("required claims: %w", err)
			}
			for _, s := range patterns {
				p, err := parsePattern(s)
				if err != nil {
					bad("required claims: %s: %w", path, err)
				}
				r.patterns = append(r.patterns, p)
			}
			iss.required = append(iss.required, r)
		}
	}

	switch {
	case c.Profile == ProfileSPIFFE && !validTrustDomain(c.TrustDomain):
		bad("trust domain: the spiffe profile needs one, of lower-case letters, digits, dots, dashes and underscores")
	case c.Profile != ProfileSPIFFE && c.TrustDomain != "":
		bad("trust domain has no effect without the spiffe profile")
	}
	switch {
	case c.URL == "" && c.Profile != ProfileSPIFFE:
		bad("url is empty")
	case c.URL == "" && c.JWKSURL == "":
		bad("without url, jwks_url is needed")
	}
	// With explicit keys the issuer is a mere name, such as the "kubernetes/serviceaccount" of old.
	if c.URL != "" && (c.JWKSURL == "" || strings.Contains(c.URL, "://")) && c.DiscoveryURL == "" {
		if err := fetchable(c.URL, c.InsecureHTTP); err != nil {
			bad("url: %w", err)
		}
	}
	if c.JWKSURL != "" {
		if err := fetchable(c.JWKSURL, c.InsecureHTTP); err != nil {
			bad("jwks_url: %w", err)
		}
	}
	if c.DiscoveryURL != "" {
		if err := fetchable(c.DiscoveryURL, c.InsecureHTTP); err != nil {
			bad("discovery_url: %w", err)
		}
		if c.JWKSURL != "" && (c.Introspection == nil || c.Introspection.URL != "") {
			bad("discovery_url has no effect beside jwks_url")
		}
	}
	if i := c.Introspection; i != nil {
		if i.URL != "" {
			if err := fetchable(i.URL, c.InsecureHTTP); err != nil {
				bad("introspection: url: %w", err)
			}
		}
		if i.ClientID == "" || i.ClientSecret == "" {
			bad("introspection: client_id and client_secret are needed")
		}
		if i.URL == "" && c.URL == "" {
			bad("introspection: url is needed where the issuer has none")
		}
	}
	policy, err := c.Keys.normal()
	if err != nil {
		errs = append(errs, err)
	}
	client, err := c.client(cfg.Transport)
	if err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("issuer %q: %w", c.Name, errors.Join(errs...))
	}

	iss.source = newSource(c, client, cfg.Clock)
	iss.keys = newKeySet(c.Name, policy, iss.source.keys, keyFilter{uses: d.uses}, cfg.Clock, cfg.Logger)
	if c.Introspection != nil {
		iss.introspector = newIntrospector(*c.Introspection, client, iss.source, cfg.Clock)
	}
	// Expiry and audience are this package's own: any of several audiences, and
	// one skew for exp, nbf and iat.
	frame := oidc.Config{SkipClientIDCheck: true, SkipExpiryCheck: true, SupportedSigningAlgs: iss.algorithms}
	iss.signed = oidc.NewVerifier(c.URL, iss.keys, &frame)
	if c.Profile == ProfileSPIFFE {
		open := frame
		open.SkipIssuerCheck = true
		iss.unnamed = oidc.NewVerifier(c.URL, iss.keys, &open)
	}
	return iss, nil
}

func or[T any](a, b []T) []T {
	if a != nil {
		return a
	}
	return b
}

// fetchable tells whether regate may fetch from the address: https, or http to
// loopback where that is allowed.
func fetchable(raw string, insecure bool) error {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return fmt.Errorf("%q is not an absolute address without user and fragment", raw)
	}
	switch {
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && insecure && loopback(u.Hostname()):
		return nil
	case u.Scheme == "http" && insecure:
		return fmt.Errorf("%q: http is allowed to loopback addresses only", raw)
	}
	return fmt.Errorf("%q is not https", raw)
}

// loopback reports whether the host is a loopback address. The name localhost
// counts: RFC 6761 binds it to loopback.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

const (
	// fetchTimeout bounds one request to an issuer.
	fetchTimeout = 5 * time.Second
	// maxBody bounds a response of an issuer. Large sets of keys with
	// certificates are some tens of KB.
	maxBody = 1 << 20
)

// client makes the HTTP client for one issuer.
func (c Issuer) client(shared http.RoundTripper) (*http.Client, error) {
	rt := shared
	if rt == nil {
		rt = http.DefaultTransport
	}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("ca_file: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca_file: no certificate in %s", c.CAFile)
		}
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
		rt = t
	}
	hosts := map[string]bool{}
	for _, raw := range []string{c.URL, c.DiscoveryURL, c.JWKSURL} {
		if u, err := url.Parse(raw); err == nil && u.Host != "" {
			hosts[u.Scheme+"://"+u.Host] = true
		}
	}
	insecure := c.InsecureHTTP
	return &http.Client{
		Timeout:   fetchTimeout,
		Transport: &transport{next: rt, insecure: insecure, tokenFile: c.TokenFile, tokenHosts: hosts},
		CheckRedirect: func(req *http.Request, via []*http.Request) error {
			switch {
			case via[0].Method != http.MethodGet:
				// Introspection: the body holds the token, which is for the
				// configured address alone.
				return errors.New("a redirect is not followed here")
			case len(via) >= 3:
				return errors.New("too many redirects")
			}
			return nil
		},
	}, nil
}
