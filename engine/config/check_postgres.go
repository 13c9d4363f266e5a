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
	if len(c.cfg.Targets) == 0 && !c.blamed("targets") {
		c.fail("targets", IDMissing, "no target: there is nothing behind the gateway", "name at least one")
	}
	var names []string
	for i, t := range c.cfg.Targets {
		names = append(names, t.Name)
		key := fmt.Sprintf("targets[%d]", i)
		c.checkClientTLS(key, t)
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
		if !c.reachable(t.Name) && t.Name != "" {
			c.fail(key+".name", IDNoEffect, "has no effect: no listener serves this target", "add it to a listener's targets")
		}
	}
	c.duplicates(names, func(i int) string { return fmt.Sprintf("targets[%d].name", i) })
}

// reachable reports whether any listener serves a target.
func (c *checker) reachable(name string) bool {
	if len(c.cfg.Postgres.Listeners) == 0 {
		return true // reported once, as the missing listener
	}
	return slices.ContainsFunc(c.cfg.Postgres.Listeners, func(l Listener) bool { return slices.Contains(l.Targets, name) })
}

func (c *checker) checkClientTLS(target string, t Target) {
	key := target + ".tls"
	switch t.TLS.Mode {
	case TLSDisable:
		c.idle("tls.mode is disable", "remove it, or use verify-full", key+".ca_file", key+".cert_file", key+".key_file", key+".server_name")
		if !loopback(t.Address) && t.Address != "" {
			c.warn(key+".mode", IDInsecure, "data crosses the network in clear to "+t.Address, "use verify-full")
		}
	case TLSRequire:
		c.idle("tls.mode require checks no certificate", "use verify-full or verify-ca", key+".ca_file")
		c.warn(key+".mode", IDInsecure, "the server's certificate is not checked", "use verify-full")
	}
	switch {
	case t.TLS.CertFile != "" && t.TLS.KeyFile == "":
		c.fail(key+".key_file", IDMissing, "cert_file is given without its key", "")
	case t.TLS.CertFile == "" && t.TLS.KeyFile != "":
		c.fail(key+".cert_file", IDMissing, "key_file is given without its certificate", "")
	}
	c.checkPrivate(key+".key_file", t.TLS.KeyFile)
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
	if len(listeners) == 0 && !c.blamed("postgres.listeners") {
		c.fail("postgres.listeners", IDMissing, "no listener: agents have nowhere to connect", "give at least one address")
	}
	for i, l := range listeners {
		key := fmt.Sprintf("postgres.listeners[%d]", i)
		c.checkServerTLS(key+".tls", l.TLS)
		c.checkPlaintext(key, l)
		if l.Address == Off {
			c.fail(key+".address", IDInvalid, "a listener cannot be off", "remove it")
		}
		if c.given(key + ".targets") {
			for j, name := range l.Targets {
				c.knownTarget(fmt.Sprintf("%s.targets[%d]", key, j), name)
			}
			c.duplicates(l.Targets, func(j int) string { return fmt.Sprintf("%s.targets[%d]", key, j) })
		}
		c.checkMatch(key, l)
	}
}

func (c *checker) checkPlaintext(key string, l Listener) {
	given := c.given(key + ".plaintext")
	switch {
	case l.Address == "" || c.blamed(key+".address"):
	case !l.TLS.Enabled() && !l.Plaintext && given:
		c.fail(key+".plaintext", IDConflict, "no TLS and no plaintext: nobody can connect", "give tls.cert and tls.key")
	case !l.TLS.Enabled() && !l.Plaintext:
		c.fail(key+".tls", IDInsecure, "tokens would cross the network in clear: "+l.Address+" is not loopback",
			"give tls.cert and tls.key, or listen on 127.0.0.1")
	case l.Plaintext && given && !loopback(l.Address):
		c.warn(key+".plaintext", IDInsecure, "tokens and data may cross the network in clear", "give tls.cert and tls.key and remove plaintext")
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
		if len(m.t.Match.SNI) > 0 && !l.TLS.Enabled() && len(m.t.Match.Databases) == 0 {
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
func overlap(a, b Match) string {
	db := shared(a.Databases, b.Databases)
	sni := shared(a.SNI, b.SNI)
	switch {
	case len(a.SNI) == 0 && len(b.SNI) == 0 && db != "":
		return fmt.Sprintf("database %q", db)
	case sni != "" && (db != "" || len(a.Databases) == 0 || len(b.Databases) == 0):
		return fmt.Sprintf("server name %q", sni)
	default:
		return ""
	}
}

func shared(a, b []string) string {
	for _, s := range a {
		if slices.Contains(b, s) {
			return s
		}
	}
	return ""
}
