package config

import "time"

// Identity is who may connect.
type Identity struct {
	Issuers   []Issuer `key:"issuers" doc:"OIDC issuers; without any, nobody can connect"`
	CacheSize int      `key:"cache_size" default:"10000" min:"0" doc:"verified tokens kept until they expire; 0: none"`
}

// Issuer is one OIDC issuer that regate trusts. Settings that are not given
// take the defaults of the profile. engine/identity says what each means.
type Issuer struct {
	Name           string              `key:"name" required:"true" is:"name" doc:"short name in records"`
	URL            string              `key:"url" is:"url:https,http" doc:"the iss claim, and where discovery starts"`
	Profile        string              `key:"profile" oneof:"kubernetes github-actions spiffe" doc:"shape of the tokens; default: RFC 9068 access tokens and ID tokens"`
	Audiences      []string            `key:"audiences" required:"true" doc:"a token must be for one of these"`
	Algorithms     []string            `key:"algorithms" doc:"signature algorithms; default: RS256, ES256, EdDSA and PS256"`
	Types          []string            `key:"types" doc:"accepted typ headers; default: at+jwt, application/at+jwt, JWT and none"`
	ClockSkew      time.Duration       `key:"clock_skew" default:"30s" max:"5m" doc:"tolerance for exp, nbf and iat"`
	MaxTokenAge    time.Duration       `key:"max_token_age" doc:"refuse tokens issued longer ago; default: only exp counts"`
	RequiredClaims map[string][]string `key:"required_claims" doc:"for each claim, patterns of which one must match; * is any text"`
	Claims         Claims              `key:"claims" doc:"where groups, scopes and client id are"`
	GroupPrefix    string              `key:"group_prefix" doc:"put before every group of this issuer"`
	ActorIssuers   []string            `key:"actor_issuers" doc:"values of act.iss accepted beside the issuer's own"`
	TrustDomain    string              `key:"trust_domain" doc:"SPIFFE trust domain, for the profile spiffe"`
	JWKSURL        string              `key:"jwks_url" is:"url:https,http" doc:"where the keys are; default: from discovery"`
	DiscoveryURL   string              `key:"discovery_url" is:"url:https,http" doc:"discovery document; default: below url"`
	CAFile         string              `key:"ca_file" is:"file" doc:"PEM file with the authorities of the issuer's certificate"`
	TokenFile      string              `key:"token_file" is:"file" doc:"bearer token for discovery and keys, as a Kubernetes API server asks"`
	InsecureHTTP   bool                `key:"insecure_http" doc:"allow http to loopback, for development"`
	Keys           IssuerKeys          `key:"keys" doc:"how often keys are fetched and how long they are trusted"`
	Introspection  Introspection       `key:"introspection" print:"given" doc:"ask the issuer about each token (RFC 7662)"`
}

// The profiles of issuers.
const (
	ProfileKubernetes    = "kubernetes"
	ProfileGitHubActions = "github-actions"
	ProfileSPIFFE        = "spiffe"
)

// Claims says where a token carries what regate needs. Each entry is a path:
// dotted (realm_access.roles) or a JSON Pointer (/kubernetes.io/namespace).
type Claims struct {
	Groups   []string `key:"groups" doc:"paths of groups, joined; default: groups"`
	Scopes   []string `key:"scopes" doc:"paths of scopes, joined; default: scope, scp"`
	ClientID []string `key:"client_id" doc:"paths of the client id, the first that is there; default: client_id, azp"`
}

// IssuerKeys bounds an issuer's key set.
type IssuerKeys struct {
	MaxAge       time.Duration `key:"max_age" default:"5m" min:"10s" doc:"a withdrawn key stops working within this"`
	MinRefresh   time.Duration `key:"min_refresh" default:"10s" min:"1s" doc:"least time between fetches caused by unknown keys"`
	StaleIfError time.Duration `key:"stale_if_error" default:"10m" doc:"use the last keys this much longer while the issuer is away; 0s: not at all"`
	NegativeFor  time.Duration `key:"negative_for" default:"1m" min:"1s" doc:"how long an unknown key id is refused without asking"`
}

// Introspection is RFC 7662 token introspection, on when client_id is given.
type Introspection struct {
	URL          string        `key:"url" is:"url:https,http" doc:"endpoint; default: from discovery"`
	ClientID     string        `key:"client_id" doc:"the gateway's client id; switches introspection on"`
	ClientSecret Secret        `key:"client_secret" doc:"the gateway's client secret"`
	CacheFor     time.Duration `key:"cache_for" default:"10s" max:"5m" doc:"how long an answer is trusted; 0s: ask each time"`
}

// Enabled reports whether the issuer is asked about tokens.
func (i Introspection) Enabled() bool { return i.ClientID != "" }
