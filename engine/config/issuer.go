package config

import "time"

// Identity is who may connect.
type Identity struct {
	Issuers   []Issuer `key:"issuers" doc:"OIDC issuers; without any, nobody can connect"`
	CacheSize int      `key:"cache_size" default:"10000" min:"0" doc:"verified tokens kept until they expire"`
}

// Issuer is one OIDC issuer that regate trusts.
type Issuer struct {
	Name           string            `key:"name" required:"true" is:"name" doc:"short name in records"`
	URL            string            `key:"url" required:"true" is:"url:https,http" doc:"the iss claim, and where discovery starts"`
	Audiences      []string          `key:"audiences" required:"true" doc:"a token must be for one of these"`
	Algorithms     []string          `key:"algorithms" doc:"signature algorithms; default: RS256, ES256, EdDSA and PS256"`
	Types          []string          `key:"types" doc:"accepted typ headers; default: at+jwt, JWT and none"`
	JWKSURL        string            `key:"jwks_url" is:"url:https,http" doc:"where the keys are; default: from discovery"`
	CAFile         string            `key:"ca_file" is:"file" doc:"PEM file with the issuer's authorities"`
	ClockSkew      time.Duration     `key:"clock_skew" default:"30s" max:"10m" doc:"tolerance for exp, nbf and iat"`
	RequiredClaims map[string]string `key:"required_claims" doc:"claims that must have exactly this value"`
	Claims         Claims            `key:"claims" doc:"where groups, scopes and client id are"`
	Introspection  Introspection     `key:"introspection" doc:"ask the issuer about each token (RFC 7662)"`
}

// Claims maps an issuer's claims; a path has dots: realm_access.roles.
type Claims struct {
	Subject  string `key:"subject" doc:"claim of the subject; default: sub"`
	Groups   string `key:"groups" doc:"claim of the groups; default: groups"`
	Scopes   string `key:"scopes" doc:"claim of the scopes; default: scope, then scp"`
	ClientID string `key:"client_id" doc:"claim of the client; default: client_id, then azp"`
}

// Introspection is RFC 7662 token introspection.
type Introspection struct {
	URL          string        `key:"url" is:"url:https,http" doc:"endpoint; empty: no introspection"`
	ClientID     string        `key:"client_id" doc:"the gateway's client id"`
	ClientSecret Secret        `key:"client_secret" doc:"the gateway's client secret"`
	Cache        time.Duration `key:"cache" default:"10s" max:"5m" doc:"how long an answer is trusted"`
}
