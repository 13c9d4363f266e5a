package identity

import (
	"net/http"
	"time"

	"github.com/sirupsen/logrus"
)

// Config is the configuration of a Verifier. The zero value trusts nobody.
type Config struct {
	Issuers []Issuer
	// Clock tells the time; nil means time.Now.
	Clock func() time.Time
	// Transport carries requests to issuers that set no CAFile; nil means a
	// plain transport with the system's roots and proxy settings.
	Transport http.RoundTripper
	// CacheSize is how many verified tokens are remembered; 0 means 10,000,
	// negative means none.
	CacheSize int
	// Logger hears of issuers that fail and keys that are refused; nil means
	// silence. It never sees a token.
	Logger logrus.FieldLogger
}

// Profile names a shape of tokens that fills in an issuer's defaults.
type Profile string

// The profiles.
const (
	ProfileNone          Profile = ""               // RFC 9068 access tokens and ID tokens
	ProfileKubernetes    Profile = "kubernetes"     // projected service-account tokens
	ProfileGitHubActions Profile = "github-actions" // GitHub Actions' workflow tokens
	ProfileSPIFFE        Profile = "spiffe"         // SPIFFE JWT-SVIDs
)

// Issuer is one trusted issuer.
type Issuer struct {
	// Name is how configuration, logs and metrics call it. Unique.
	Name string
	// URL is the exact value of the claim iss, and where discovery starts.
	// Unique. For ProfileSPIFFE it may be empty: JWT-SVIDs need no iss; then
	// TrustDomain selects the issuer and JWKSURL is required.
	URL string
	// Profile fills in defaults for Types, Algorithms, RequiredClaims, Claims.
	Profile Profile
	// Audiences: the token must carry at least one of them in aud. Required.
	Audiences []string
	// Algorithms that may sign, of RS256, RS384, RS512, PS256, PS384, PS512,
	// ES256, ES384, ES512, EdDSA. Default RS256, ES256, EdDSA, PS256.
	Algorithms []string
	// Types are the accepted `typ` headers, compared without case; "" stands
	// for an absent header. Default at+jwt, application/at+jwt, JWT, "".
	Types []string
	// ClockSkew is tolerated on exp, nbf and iat. Default 30 s, at most 5 min;
	// negative means none.
	ClockSkew time.Duration
	// MaxTokenAge, when set, refuses tokens issued longer ago (and tokens
	// without iat) whatever their exp.
	MaxTokenAge time.Duration
	// RequiredClaims: for each claim path (see Claims), at least one of the
	// patterns must match the value, or one element of it when it is a list.
	// In a pattern `*` matches any run of characters, `:` and `/` included,
	// and `\*` a star. An empty list of patterns asks only that the claim be
	// present and not null. Patterns add to those of the profile.
	RequiredClaims map[string][]string
	// Claims says where groups, scopes and client id are.
	Claims Claims
	// GroupPrefix is put before every group of this issuer, so that groups of
	// two issuers cannot be taken for each other.
	GroupPrefix string
	// ActorIssuers are values of act.iss accepted beside the issuer's own.
	ActorIssuers []string
	// TrustDomain is the SPIFFE trust domain, e.g. "example.org": with
	// ProfileSPIFFE every subject must be in it. Required there.
	TrustDomain string

	// JWKSURL overrides the jwks_uri of discovery. With it discovery is
	// skipped, unless introspection needs it.
	JWKSURL string
	// DiscoveryURL is the full address of the discovery document where it is
	// not URL + "/.well-known/openid-configuration". Its issuer must still be
	// URL.
	DiscoveryURL string
	// CAFile is a PEM file of the roots that sign the issuer's certificate.
	CAFile string
	// TokenFile holds a bearer token sent with requests for discovery and
	// keys, read anew each time: a Kubernetes API server asks for one.
	TokenFile string
	// InsecureHTTP allows http:// to loopback addresses, for development.
	InsecureHTTP bool
	// Keys bounds how often keys are fetched and how long they are trusted.
	Keys KeyPolicy
	// Introspection asks the issuer about each token (RFC 7662). Nil: do not.
	Introspection *Introspection
}

// Claims says where a token carries what a Principal needs. Each entry is a
// claim path in one of two forms:
//
//   - dotted: "realm_access.roles". A backslash takes the next character as it
//     is: `kubernetes\.io.namespace`, `https://acme\.example/groups`.
//   - a JSON Pointer (RFC 6901) when it starts with a slash:
//     "/kubernetes.io/namespace"; "~1" stands for a slash, "~0" for a tilde.
//
// Nil means the profile's default.
type Claims struct {
	// Groups: the union of all paths; a string or a list of strings at each.
	// Default "groups".
	Groups []string
	// Scopes: the union of all paths; a list, or a string split at spaces.
	// Default "scope", "scp".
	Scopes []string
	// ClientID: the first path that holds a string. Default "client_id", "azp".
	ClientID []string
}

// KeyPolicy bounds an issuer's key set.
type KeyPolicy struct {
	// MaxAge: keys older than this are fetched again before they are used, so
	// a key that the issuer withdrew stops working within it. Default 5 min.
	MaxAge time.Duration
	// MinRefresh is the least time between fetches caused by tokens with an
	// unknown key. Default 10 s.
	MinRefresh time.Duration
	// StaleIfError is how much longer than MaxAge the last keys are used while
	// the issuer cannot be reached. Default 10 min, negative means none.
	StaleIfError time.Duration
	// NegativeFor is how long an unknown key id is refused without asking
	// again. Default 1 min.
	NegativeFor time.Duration
}

// Introspection is RFC 7662 for one issuer. It always fails closed: a token is
// refused when the issuer does not answer.
type Introspection struct {
	// URL of the endpoint; empty means the one of discovery.
	URL string
	// ClientID and ClientSecret authenticate regate (HTTP basic).
	ClientID     string
	ClientSecret string
	// CacheFor is how long "active" is believed. Default 10 s; negative asks
	// each time.
	CacheFor time.Duration
}
