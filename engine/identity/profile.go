package identity

import (
	"fmt"
	"strings"
)

var (
	defaultAlgorithms = []string{"RS256", "ES256", "EdDSA", "PS256"}
	defaultTypes      = []string{"at+jwt", "application/at+jwt", "JWT", ""}
	defaultGroups     = []string{"groups"}
	defaultScopes     = []string{"scope", "scp"}
	defaultClientID   = []string{"client_id", "azp"}

	// spiffeAlgorithms: JWT-SVID section 3 allows these and no EdDSA.
	spiffeAlgorithms = []string{"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}
)

// defaults are what a profile fills in.
type defaults struct {
	algorithms, types        []string
	groups, scopes, clientID []string
	required                 map[string][]string
	derive                   func(claims map[string]any) []string
	uses                     []string // accepted values of a key's `use`
	subPrefix                string   // every sub starts so, and a token without iss is then accepted
}

// of returns the defaults for an issuer.
func (p Profile) of(iss *Issuer) (defaults, error) {
	d := defaults{
		algorithms: defaultAlgorithms,
		types:      defaultTypes,
		groups:     defaultGroups,
		scopes:     defaultScopes,
		clientID:   defaultClientID,
		uses:       []string{"", "sig"},
	}
	switch p {
	case ProfileNone:
	case ProfileKubernetes:
		// Source: kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin
		d.types = []string{"", "JWT"}
		d.groups, d.scopes = nil, nil
		d.clientID = []string{"sub"}
		d.required = map[string][]string{
			"sub":                      {"system:serviceaccount:*"},
			"/kubernetes.io/namespace": nil,
		}
		d.derive = kubernetesGroups
	case ProfileGitHubActions:
		// Source: docs.github.com, "OpenID Connect reference"
		d.types = []string{"JWT"}
		d.algorithms = []string{"RS256"}
		d.groups, d.scopes = nil, nil
		d.clientID = []string{"repository"}
		d.required = map[string][]string{"repository": nil, "repository_owner_id": nil, "sub": nil}
		d.derive = githubGroups
	case ProfileSPIFFE:
		// Source: the JWT-SVID specification of SPIFFE, sections 2 and 3
		d.types = []string{"", "JWT", "JOSE"}
		d.algorithms = spiffeAlgorithms
		d.groups, d.scopes = nil, nil
		d.clientID = []string{"sub"}
		d.subPrefix = "spiffe://" + iss.TrustDomain + "/"
		d.uses = []string{"", "sig", "jwt-svid"}
	default:
		return d, fmt.Errorf("profile %q is not one of kubernetes, github-actions, spiffe", p)
	}
	return d, nil
}

// kubernetesGroups are the groups that the API server itself gives a service
// account. The namespace is in the signed claim, not guessed from sub.
func kubernetesGroups(claims map[string]any) []string {
	ns, ok := claimPath{"kubernetes.io", "namespace"}.in(claims).(string)
	if !ok || ns == "" {
		return nil
	}
	return []string{"system:serviceaccounts", "system:serviceaccounts:" + ns, "system:authenticated"}
}

// githubGroups makes "name:value" groups of the claims that people write trust
// rules on.
func githubGroups(claims map[string]any) []string {
	var groups []string
	for _, name := range []string{"repository", "repository_owner", "repository_visibility", "environment", "ref", "event_name", "job_workflow_ref", "runner_environment"} {
		if s, ok := claims[name].(string); ok && s != "" {
			groups = append(groups, name+":"+s)
		}
	}
	return groups
}

// validTrustDomain checks the SPIFFE ID specification's character set.
func validTrustDomain(s string) bool {
	return s != "" && len(s) <= 255 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789.-_") == ""
}
