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
		for name, u := range map[string]string{"url": is.URL, "jwks_url": is.JWKSURL, "introspection.url": is.Introspection.URL} {
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
		in := is.Introspection
		if in.URL == "" {
			c.idle("introspection.url is not given", "give it, or remove the rest",
				key+".introspection.client_id", key+".introspection.client_secret", key+".introspection.cache")
			continue
		}
		if in.ClientID == "" {
			c.fail(key+".introspection.client_id", IDMissing, "the issuer must know who asks", "")
		}
		if !in.ClientSecret.IsSet() {
			c.fail(key+".introspection.client_secret", IDMissing, "the issuer must know who asks", "")
		}
	}
	c.duplicates(names, func(i int) string { return fmt.Sprintf("identity.issuers[%d].name", i) })
	c.duplicates(urls, func(i int) string { return fmt.Sprintf("identity.issuers[%d].url", i) })
}
