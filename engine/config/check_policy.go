package config

import (
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// minMaskKey is the least key length that engine/mask takes: HMAC-SHA-256.
const minMaskKey = 32

var packagePattern = regexp.MustCompile(`^[A-Za-z0-9_.*?\[\]^-]+$`)

func (c *checker) checkPolicy() {
	p := c.cfg.Policy
	if len(p.Bundles) == 0 && !c.blamed("policy.bundles") {
		c.fail("policy.bundles", IDMissing, "no bundle: everything would be denied", "name at least one bundle")
	}
	if len(p.Bundles) > 0 && !slices.ContainsFunc(p.Bundles, func(b Bundle) bool { return b.Mode != "shadow" }) {
		c.fail("policy.bundles", IDNoEffect, "has no effect: every bundle is in shadow, so everything would be denied", "set mode: enforce on one")
	}
	var names []string
	for i, b := range p.Bundles {
		names = append(names, b.Name)
		c.checkBundle(fmt.Sprintf("policy.bundles[%d]", i), b)
	}
	c.duplicates(names, func(i int) string { return fmt.Sprintf("policy.bundles[%d].name", i) })
	if k := p.MaskKey.Reveal(); k != "" && len(k) < minMaskKey {
		c.fail("policy.mask_key", IDInvalid, fmt.Sprintf("%d bytes are too short", len(k)), fmt.Sprintf("at least %d bytes, such as `openssl rand -hex 32` prints", minMaskKey))
	}
	c.checkAllowFrom()
}

func (c *checker) checkBundle(key string, b Bundle) {
	switch {
	case b.URL == "" && len(b.Paths) == 0:
		if !c.blamed(key+".url") && !c.blamed(key+".paths") {
			c.fail(key, IDMissing, "neither paths nor url: there is no bundle", "give one of them")
		}
	case b.URL != "" && len(b.Paths) > 0:
		c.fail(key+".paths", IDConflict, "paths and url are both given", "give one of them, or make two bundles")
	}
	if b.URL == "" {
		c.idle("only url is polled; folders are watched", "", key+".polling")
		c.idle("only url needs credentials", "", key+".auth")
	}
	if b.Polling.MinDelay > b.Polling.MaxDelay {
		c.fail(key+".polling.min_delay", IDConflict, "larger than max_delay", "")
	}
	signed := b.Signing.KeyFile != ""
	if !signed {
		c.idle("no signature is demanded without signing.key_file", "give signing.key_file",
			key+".signing.key_id", key+".signing.algorithm", key+".signing.scope")
	}
	if signed && b.Signing.KeyID == "" {
		c.fail(key+".signing.key_id", IDMissing, "a signature names its key", "give the key id that the bundle is signed with")
	}
	c.checkBundleAuth(key+".auth", b)
	if clearURL(b.URL) {
		if b.Auth.Bearer.IsSet() {
			c.fail(key+".url", IDInsecure, "the token would cross the network in clear", "use https")
		} else if !signed {
			c.fail(key+".url", IDInsecure, "anybody on the way could replace the policy", "use https, or demand a signature")
		}
	}
}

func (c *checker) checkBundleAuth(key string, b Bundle) {
	a := b.Auth
	if strings.HasPrefix(b.URL, "s3:") {
		c.idle("s3 has credentials of its own", "give profile or metadata, or AWS_ACCESS_KEY_ID in the environment", key+".bearer", key+".cert_file", key+".key_file")
	} else if b.URL != "" {
		c.idle("url is not s3", "", key+".region", key+".endpoint", key+".profile", key+".metadata")
	}
	if a.Profile != "" && a.Metadata {
		c.fail(key+".metadata", IDConflict, "profile and metadata are both given", "give one of them")
	}
	if a.Bearer.IsSet() && a.CertFile != "" {
		c.fail(key+".cert_file", IDConflict, "bearer and cert_file are both given", "give one of them")
	}
	switch {
	case a.CertFile != "" && a.KeyFile == "":
		c.fail(key+".key_file", IDMissing, "cert_file is given without its key", "")
	case a.CertFile == "" && a.KeyFile != "":
		c.fail(key+".cert_file", IDMissing, "key_file is given without its certificate", "")
	}
	c.checkPrivate(key+".key_file", a.KeyFile)
}

func (c *checker) checkAllowFrom() {
	targets := c.cfg.Targets
	covered := make(map[string]bool)
	for i, a := range c.cfg.Policy.AllowFrom {
		key := fmt.Sprintf("policy.allow_from[%d]", i)
		for j, p := range a.Packages {
			if _, err := path.Match(p, ""); err != nil || !packagePattern.MatchString(p) || strings.HasPrefix(p, "regate.policies.") {
				c.fail(fmt.Sprintf("%s.packages[%d]", key, j), IDInvalid, fmt.Sprintf("%q is not a package below regate.policies", p), "such as acme.sql or acme.*")
			}
		}
		blamed := false
		for j, name := range a.Targets {
			at := fmt.Sprintf("%s.targets[%d]", key, j)
			if strings.ContainsAny(name, `*?[\`) {
				if _, err := path.Match(name, ""); err != nil {
					c.fail(at, IDInvalid, fmt.Sprintf("%q is not a glob", name), "")
					blamed = true
				}
				continue
			}
			blamed = !c.knownTarget(at, name) || blamed
		}
		hits := 0
		for _, t := range targets {
			if a.Covers(t) {
				covered[t.Name] = true
				hits++
			}
		}
		if hits == 0 && !blamed && len(targets) > 0 {
			c.fail(key, IDNoEffect, "has no effect: no target has this name and these labels", "")
		}
	}
	if len(c.cfg.Policy.AllowFrom) == 0 {
		return
	}
	for i, t := range targets {
		if t.Name != "" && !covered[t.Name] {
			c.fail(fmt.Sprintf("targets[%d].name", i), IDNoEffect, "has no effect: policy.allow_from lets no package allow anything on it", "add it to an allow_from")
		}
	}
}

// knownTarget reports a reference to a target that does not exist.
func (c *checker) knownTarget(key, name string) bool {
	var names []string
	for _, t := range c.cfg.Targets {
		names = append(names, t.Name)
	}
	if slices.Contains(names, name) {
		return true
	}
	fix := ""
	if near := nearest(name, names); near != "" {
		fix = "did you mean " + near + "?"
	}
	c.fail(key, IDUndefined, fmt.Sprintf("there is no target %q", name), fix)
	return false
}
