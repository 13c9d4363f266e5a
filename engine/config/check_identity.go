package config

import (
	"fmt"
	"slices"
	"strings"
)

// algorithms that a token may be signed with. HMAC is not among them: a
// gateway that can verify an HMAC can also forge it, and a public key taken
// for an HMAC key is the oldest JWT forgery.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

func (c *checker) checkIdentity() {
	issuers := c.cfg.Identity.Issuers
	if len(issuers) == 0 && !c.blamed("identity.issuers") {
		c.fail("identity.issuers", IDMissing, "no issuer: nobody can connect", "name at least one OIDC issuer")
	}
	var names, urls []string
	for i, is := range issuers {
		key := fmt.Sprintf("identity.issuers[%d]", i)
		names, urls = append(names, is.Name), append(urls, is.URL)
		for name, u := range map[string]string{"url": is.URL, "jwks_url": is.JWKSURL, "discovery_url": is.DiscoveryURL, "introspection.url": is.Introspection.URL} {
			if clearURL(u) {
				c.fail(key+"."+name, IDInsecure, "keys and tokens would cross the network in clear", "use https")
			}
		}
		for j, a := range is.Algorithms {
			if !slices.Contains(algorithms, a) {
				c.fail(fmt.Sprintf("%s.algorithms[%d]", key, j), IDInvalid, fmt.Sprintf("%q is not accepted", a), "one of "+strings.Join(algorithms, ", "))
			}
		}
		for j, a := range is.Audiences {
			if a == "" {
				c.fail(fmt.Sprintf("%s.audiences[%d]", key, j), IDInvalid, "must not be empty", "")
			}
		}
		c.checkIssuerURL(key, is)
		c.checkIntrospection(key+".introspection", is.Introspection)
	}
	c.duplicates(names, func(i int) string { return fmt.Sprintf("identity.issuers[%d].name", i) })
	c.duplicates(urls, func(i int) string { return fmt.Sprintf("identity.issuers[%d].url", i) })
}

func (c *checker) checkIssuerURL(key string, is Issuer) {
	spiffe := is.Profile == ProfileSPIFFE
	switch {
	case is.URL == "" && !spiffe && !c.blamed(key+".url"):
		c.fail(key+".url", IDMissing, "required but not given", "the iss claim of the issuer's tokens")
	case is.URL == "" && spiffe && is.JWKSURL == "":
		c.fail(key+".jwks_url", IDMissing, "there is neither url nor jwks_url to find keys", "")
	}
	switch {
	case spiffe && is.TrustDomain == "":
		c.fail(key+".trust_domain", IDMissing, "the profile spiffe needs it", "such as example.org")
	case !spiffe:
		c.idle("only the profile spiffe has a trust domain", "", key+".trust_domain")
	}
	if is.JWKSURL != "" && !is.Introspection.Enabled() {
		c.idle("with jwks_url nothing is discovered", "remove one of the two", key+".discovery_url")
	}
	if is.InsecureHTTP {
		if !strings.HasPrefix(is.URL, "http:") && !strings.HasPrefix(is.JWKSURL, "http:") && !strings.HasPrefix(is.DiscoveryURL, "http:") {
			c.idle("no address of this issuer is http", "remove it", key+".insecure_http")
		}
		return
	}
	for name, u := range map[string]string{"url": is.URL, "jwks_url": is.JWKSURL, "discovery_url": is.DiscoveryURL, "introspection.url": is.Introspection.URL} {
		if strings.HasPrefix(u, "http:") && !clearURL(u) {
			c.fail(key+"."+name, IDInsecure, "plain http", "use https, or set insecure_http: true for development on this machine")
		}
	}
}

func (c *checker) checkIntrospection(key string, in Introspection) {
	if !in.Enabled() {
		c.idle("introspection is on only with client_id", "give it, or remove the rest", key+".url", key+".client_secret", key+".cache_for")
		return
	}
	if !in.ClientSecret.IsSet() {
		c.fail(key+".client_secret", IDMissing, "the issuer must know who asks", "")
	}
}
