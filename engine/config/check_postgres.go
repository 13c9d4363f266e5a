package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

var settingPattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$`)

// ownSettings are parameters that regate sets itself: the agent's role, and
// those that decide how the server reads the text that policy was asked about.
var ownSettings = []string{
	"role", "session_authorization", "is_superuser", "standard_conforming_strings", "backslash_quote",
	"client_encoding", "transform_null_equals", "user", "database", "options", "replication",
}

func (c *checker) checkTargets() {
	if len(c.cfg.Targets)+len(c.cfg.HTTP.Targets)+len(c.cfg.HTTP.Listeners)+len(c.cfg.MCP.Targets)+len(c.cfg.MCP.Listeners) == 0 && !c.blamed("targets") {
		c.fail("targets", IDMissing, "no target: there is nothing behind the gateway", "name at least one")
	}
	var names []string
	for i, t := range c.cfg.Targets {
		names = append(names, t.Name)
		key := fmt.Sprintf("targets[%d]", i)
		if !c.reachable(t) && t.Name != "" {
			c.fail(key+".name", IDNoEffect, "has no effect: no listener serves this target", "add it to a listener's targets")
		}
		if t.Protocol == "kubernetes" {
			c.checkCluster(key, t)
			continue
		}
		c.idle("the target's protocol is "+t.Protocol, "remove it, or give protocol: kubernetes", key+".kubernetes")
		c.checkClientTLS(key, t)
		c.checkAuth(key, t)
		c.checkRole(key+".role", t)
		for _, s := range slices.Sorted(maps.Keys(t.Settings)) {
			at := key + ".settings." + s
			switch {
			case !settingPattern.MatchString(s):
				c.fail(at, IDInvalid, fmt.Sprintf("%q is not the name of a parameter", s), "")
			case slices.Contains(ownSettings, strings.ToLower(s)):
				c.fail(at, IDConflict, "regate sets this parameter itself", "remove it; roles belong under role")
			}
		}
		for j, s := range t.Match.Databases {
			if s == "" {
				c.fail(fmt.Sprintf("%s.match.databases[%d]", key, j), IDInvalid, "must not be empty", "")
			}
		}
		if len(t.Match.SNI) > 0 {
			c.idle("with match.sni the server name decides", "remove one of the two", key+".match.databases")
		}
	}
	c.duplicates(names, func(i int) string { return fmt.Sprintf("targets[%d].name", i) })
}

// reachable reports whether any listener serves a target.
func (c *checker) reachable(t Target) bool {
	if len(c.cfg.Postgres.Listeners)+len(c.cfg.Kubernetes.Listeners)+len(c.cfg.HTTP.Listeners)+len(c.cfg.MCP.Listeners) == 0 {
		return true // reported once, as the missing listener
	}
	if t.Protocol == "kubernetes" {
		return slices.ContainsFunc(c.cfg.Kubernetes.Listeners, func(l KubernetesListener) bool { return slices.Contains(l.Targets, t.Name) })
	}
	return slices.ContainsFunc(c.cfg.Postgres.Listeners, func(l Listener) bool { return slices.Contains(l.Targets, t.Name) })
}

func (c *checker) checkClientTLS(target string, t Target) {
	key := target + ".tls"
	if t.TLS.Mode == TLSDisable {
		c.idle("tls.mode is disable", "remove it, or use verify-full",
			key+".ca_file", key+".cert_file", key+".key_file", key+".server_name", key+".direct")
		if t.Address != "" && !strings.HasPrefix(t.Address, "/") && !loopback(t.Address) {
			c.warn(key+".mode", IDInsecure, "data crosses the network in clear to "+t.Address, "use verify-full")
		}
	} else if strings.HasPrefix(t.Address, "/") {
		c.fail(key, IDConflict, "PostgreSQL has no TLS on a Unix socket", "remove it")
	}
	switch {
	case t.TLS.CertFile != "" && t.TLS.KeyFile == "":
		c.fail(key+".key_file", IDMissing, "cert_file is given without its key", "")
	case t.TLS.CertFile == "" && t.TLS.KeyFile != "":
		c.fail(key+".cert_file", IDMissing, "key_file is given without its certificate", "")
	}
	c.checkPrivate(key+".key_file", t.TLS.KeyFile)
}

// checkAuth finds logins that can never succeed. Whatever is weaker than
// SCRAM or a certificate must be asked for.
func (c *checker) checkAuth(target string, t Target) {
	key := target + ".auth"
	certified := t.TLS.CertFile != "" && t.TLS.Mode != TLSDisable
	password := t.Password.IsSet()
	if len(t.Auth) == 0 {
		if !password && !certified && !c.blamed(key) && !c.blamed(target+".password") {
			c.fail(key, IDMissing, "neither a password nor a client certificate", "give one, or auth: [trust] if the server asks for nothing")
		}
		return
	}
	needsPassword := false
	for j, a := range t.Auth {
		at := fmt.Sprintf("%s[%d]", key, j)
		switch a {
		case "scram-sha-256-plus":
			if t.TLS.Mode == TLSDisable {
				c.fail(at, IDConflict, "it is bound to TLS, and tls.mode is disable", "")
			}
			if len(t.Auth) > 1 {
				c.fail(at, IDConflict, "it stands alone: listed beside others it demands nothing", "")
			}
			needsPassword = true
		case "scram-sha-256", "md5":
			needsPassword = true
		case "password":
			if t.TLS.Mode == TLSDisable {
				c.fail(at, IDInsecure, "it would send the password in clear without TLS", "")
			}
			needsPassword = true
		case "cert":
			if !certified {
				c.fail(at, IDMissing, "there is no tls.cert_file", "")
			}
		}
	}
	if needsPassword && !password && !c.blamed(target+".password") {
		c.fail(key, IDMissing, "there is no password", "give password")
	}
	if !needsPassword {
		c.idle("auth asks for none", "remove it, or list scram-sha-256", target+".password")
	}
}

func (c *checker) checkRole(key string, t Target) {
	r := t.Role
	if r.Claim == "" {
		c.idle("there is no role.claim to translate", "give role.claim", key+".map", key+".default")
	} else {
		if c.given(key + ".name") {
			c.fail(key+".name", IDConflict, "name and claim are both given", "a fixed role needs name, a mapped one claim and map")
		}
		if len(r.Map) == 0 {
			c.fail(key+".map", IDMissing, "a claim needs a map from its values to roles", "an agent's claim is never a role by itself")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(r.Map)) {
		if r.Map[k] == "" && !c.blamed(key+".map."+k) {
			c.fail(key+".map."+k, IDInvalid, "must not be empty", "remove it to refuse, or name a role")
		}
	}
}

func (c *checker) checkListeners() {
	listeners := c.cfg.Postgres.Listeners
	if len(listeners)+len(c.cfg.Kubernetes.Listeners)+len(c.cfg.HTTP.Listeners)+len(c.cfg.MCP.Listeners) == 0 && !c.blamed("postgres.listeners") && !c.blamed("kubernetes.listeners") {
		c.fail("postgres.listeners", IDMissing, "no listener: agents have nowhere to connect", "give at least one address")
	}
	for i, l := range listeners {
		key := fmt.Sprintf("postgres.listeners[%d]", i)
		c.checkServerTLS(key+".tls", l.TLS)
		c.checkPlaintext(key, l.Address, l.TLS, l.Plaintext)
		if l.Address == Off {
			c.fail(key+".address", IDInvalid, "a listener cannot be off", "remove it")
		}
		if c.given(key + ".targets") {
			for j, name := range l.Targets {
				at := fmt.Sprintf("%s.targets[%d]", key, j)
				if c.knownTarget(at, name) && c.target(name).Protocol != "postgres" {
					c.fail(at, IDConflict, fmt.Sprintf("the protocol of target %q is %s", name, c.target(name).Protocol), "")
				}
			}
			c.duplicates(l.Targets, func(j int) string { return fmt.Sprintf("%s.targets[%d]", key, j) })
		}
		c.checkMatch(key, l)
		c.checkOAuth(key+".oauthbearer", l.OAuthBearer)
	}
}

func (c *checker) checkPlaintext(key, address string, tls ServerTLS, plaintext bool) {
	given := c.given(key + ".plaintext")
	switch {
	case address == "" || c.blamed(key+".address"):
	case !tls.Enabled() && !plaintext && given:
		c.fail(key+".plaintext", IDConflict, "no TLS and no plaintext: nobody can connect", "give tls.cert and tls.key")
	case !tls.Enabled() && !plaintext:
		c.fail(key+".tls", IDInsecure, "tokens would cross the network in clear: "+address+" is not loopback",
			"give tls.cert and tls.key, or listen on 127.0.0.1")
	case plaintext && given && !loopback(address):
		c.warn(key+".plaintext", IDInsecure, "tokens and data may cross the network in clear", "give tls.cert and tls.key and remove plaintext")
	}
}

func (c *checker) checkOAuth(key string, o OAuthBearer) {
	if !o.Enabled {
		c.idle("oauthbearer is not enabled", "", key+".first", key+".issuer", key+".scope")
		return
	}
	var names []string
	for _, is := range c.cfg.Identity.Issuers {
		names = append(names, is.Name)
	}
	if o.Issuer != "" && !slices.Contains(names, o.Issuer) {
		fix := ""
		if near := nearest(o.Issuer, names); near != "" {
			fix = "did you mean " + near + "?"
		}
		c.fail(key+".issuer", IDUndefined, fmt.Sprintf("there is no issuer %q", o.Issuer), fix)
	}
}

// checkMatch finds targets of one listener that no connection could tell
// apart, and server names that no connection can send.
func (c *checker) checkMatch(key string, l Listener) {
	type member struct {
		key string
		t   Target
	}
	var members []member
	for i, t := range c.cfg.Targets {
		if t.Name != "" && slices.Contains(l.Targets, t.Name) {
			members = append(members, member{fmt.Sprintf("targets[%d]", i), t})
		}
	}
	for i, m := range members {
		if len(m.t.Match.SNI) > 0 && !l.TLS.Enabled() {
			c.fail(m.key+".match.sni", IDNoEffect, "has no effect: "+key+" has no TLS, so no client can send a server name", "give "+key+".tls or match by database")
		}
		for _, o := range members[:i] {
			if m.t.Name == o.t.Name { // reported as a duplicate
				continue
			}
			if what := overlap(m.t.Match, o.t.Match); what != "" {
				at := m.key + ".match"
				if !c.given(at) {
					at = m.key + ".database"
				}
				c.fail(at, IDConflict, fmt.Sprintf("%s also belongs to target %q on the listener %s", what, o.t.Name, l.Address),
					"give each its own match.databases or match.sni, or its own listener")
			}
		}
	}
}

// overlap says what two matches share so that a connection could mean either.
// A target with server names is found by them alone.
func overlap(a, b Match) string {
	if len(a.SNI) > 0 || len(b.SNI) > 0 {
		if sni := shared(a.SNI, b.SNI); sni != "" {
			return fmt.Sprintf("server name %q", sni)
		}
		return ""
	}
	if db := shared(a.Databases, b.Databases); db != "" {
		return fmt.Sprintf("database %q", db)
	}
	return ""
}

// shared returns the first name in both lists. Server names have no case, and
// two databases that differ only in case are a trap of their own.
func shared(a, b []string) string {
	for _, s := range a {
		if slices.ContainsFunc(b, func(o string) bool { return strings.EqualFold(s, o) }) {
			return s
		}
	}
	return ""
}
