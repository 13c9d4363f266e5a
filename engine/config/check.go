package config

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// checker looks at a decoded Config as a whole: what is missing, what refers
// to nothing, what contradicts and what can never take effect.
type checker struct {
	cfg *Config
	*decoder
}

// given reports whether a setting, or anything below it, was written by
// somebody.
func (c *checker) given(key string) bool {
	if _, ok := c.origins[key]; ok {
		return true
	}
	for k := range c.origins {
		if strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[") {
			return true
		}
	}
	return false
}

// changes reports whether a setting, or anything below it, is not the default.
func (c *checker) changes(key string) bool {
	for k, yes := range c.changed {
		if yes && (k == key || strings.HasPrefix(k, key+".") || strings.HasPrefix(k, key+"[")) {
			return true
		}
	}
	return false
}

// idle reports settings that were given but cannot take effect. A default
// that is written out asks for nothing.
func (c *checker) idle(why, fix string, keys ...string) {
	for _, k := range keys {
		if c.changes(k) {
			c.fail(k, IDNoEffect, "has no effect: "+why, fix)
		}
	}
}

// fill computes the defaults that depend on other settings.
func (c *checker) fill() {
	cfg := c.cfg
	if cfg.State.NATS.URL != "" && !c.changes("state.sync") {
		cfg.State.Sync = "" // not ours to decide
	}
	if cfg.Record.Gateway == "" {
		host, _ := os.Hostname()
		cfg.Record.Gateway = gatewayName(host)
	}
	if cfg.Record.Archive.URL == "" {
		dir, err := filepath.Abs(filepath.Join(cfg.State.Dir, "archive"))
		if err != nil {
			dir = filepath.Join("/", cfg.State.Dir, "archive")
		}
		cfg.Record.Archive.URL = (&url.URL{Scheme: "file", Path: filepath.ToSlash(dir)}).String()
	}
	if cfg.Record.Index.Path == "" {
		cfg.Record.Index.Path = filepath.Join(cfg.State.Dir, "index.db")
	}
	for i := range cfg.Postgres.Listeners {
		l := &cfg.Postgres.Listeners[i]
		if !c.given(fmt.Sprintf("postgres.listeners[%d].plaintext", i)) {
			l.Plaintext = loopback(l.Address)
		}
		if len(l.Targets) == 0 {
			for _, t := range cfg.Targets {
				if t.Protocol == "postgres" && t.Name != "" {
					l.Targets = append(l.Targets, t.Name)
				}
			}
		}
	}
	for i := range cfg.Kubernetes.Listeners {
		l := &cfg.Kubernetes.Listeners[i]
		if !c.given(fmt.Sprintf("kubernetes.listeners[%d].plaintext", i)) {
			l.Plaintext = loopback(l.Address)
		}
		if len(l.Targets) == 0 {
			for _, t := range cfg.Targets {
				if t.Protocol == "kubernetes" && t.Name != "" {
					l.Targets = append(l.Targets, t.Name)
				}
			}
		}
	}
	c.fillConsole()
	c.fillHTTP()
	c.fillMCP()
	for i := range cfg.Targets {
		t := &cfg.Targets[i]
		if t.Protocol != "postgres" {
			continue
		}
		if len(t.Match.Databases) == 0 && len(t.Match.SNI) == 0 {
			if t.Database != "" {
				t.Match.Databases = []string{t.Database}
			} else if t.Name != "" {
				t.Match.Databases = []string{t.Name}
			}
		}
		if strings.HasPrefix(t.Address, "/") && !c.given(fmt.Sprintf("targets[%d].tls", i)) {
			t.TLS.Mode = TLSDisable // PostgreSQL has no TLS on a Unix socket
		}
		if t.TLS.ServerName == "" && t.TLS.Mode != TLSDisable {
			t.TLS.ServerName, _, _ = net.SplitHostPort(t.Address)
		}
	}
}

func (c *checker) check() {
	c.required("", reflect.ValueOf(c.cfg).Elem())
	c.checkAdmin()
	c.checkConsole()
	c.checkState()
	c.checkRecord()
	c.checkIdentity()
	c.checkPolicy()
	c.checkTargets()
	c.checkListeners()
	c.checkKubernetesListeners()
	c.checkHTTP()
	c.checkMCP()
	c.checkAddresses()
}

// required reports settings without which their section means nothing; those of
// one protocol where that is the section's.
func (c *checker) required(key string, v reflect.Value) {
	for _, f := range fieldsOf(v.Type()).list {
		fv := v.Field(f.index)
		at := joinKey(key, f.name)
		switch {
		case f.tag.Get("required") == "true" || f.tag.Get("required") != "" && f.tag.Get("required") == v.FieldByName("Protocol").String():
			_, written := c.origins[at]
			if fv.Len() > 0 || written && c.blamed(at) {
				continue
			}
			c.fail(at, IDMissing, "required but not given", f.tag.Get("doc"))
		case fv.Kind() == reflect.Struct && fv.Type() != typeSecret:
			c.required(at, fv)
		case fv.Kind() == reflect.Slice && fv.Type().Elem().Kind() == reflect.Struct:
			for i := range fv.Len() {
				if item := fmt.Sprintf("%s[%d]", at, i); !c.blamed(item) {
					c.required(item, fv.Index(i))
				}
			}
		}
	}
}

// blamed reports whether a key has a problem already.
func (c *checker) blamed(key string) bool {
	return slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Key == key })
}

func (c *checker) checkServerTLS(key string, t ServerTLS) {
	switch {
	case t.Cert != "" && t.Key == "":
		c.fail(key+".key", IDMissing, "tls.cert is given without its key", "")
	case t.Cert == "" && t.Key != "":
		c.fail(key+".cert", IDMissing, "tls.key is given without its certificate", "")
	case t.Cert == "" && t.ClientCA != "":
		c.idle("there is no certificate, so there is no TLS", "give tls.cert and tls.key", key+".client_ca")
	}
	c.checkPrivate(key+".key", t.Key)
}

// checkPrivate refuses private keys that every user of the machine can read.
func (c *checker) checkPrivate(key, name string) {
	if name == "" || c.skip {
		return
	}
	if st, err := os.Stat(name); err == nil && st.Mode().Perm()&0o004 != 0 {
		c.fail(key, IDInsecure, "every user of this machine can read "+name, "chmod 640 or 600 the file")
	}
}

func (c *checker) checkAdmin() {
	a := c.cfg.Admin
	if !a.Enabled() {
		c.idle("the admin API is off", "give admin.address", "admin.tls", "admin.roles")
		if c.cfg.State.NATS.URL == "" {
			c.warn("admin.address", IDNoEffect, "a request that a policy holds can never be approved: the admin API is off", "")
			c.idle("nothing can be approved while the admin API is off", "give admin.address", "approval")
		}
		return
	}
	c.checkServerTLS("admin.tls", a.TLS)
	if !a.TLS.Enabled() && !loopback(a.Address) && !c.blamed("admin.address") {
		c.fail("admin.address", IDInsecure, "tokens would cross the network in clear: "+a.Address+" is not loopback",
			"give admin.tls.cert and admin.tls.key, or listen on 127.0.0.1")
	}
	for role, m := range map[string]Members{"viewer": a.Roles.Viewer, "approver": a.Roles.Approver, "auditor": a.Roles.Auditor, "operator": a.Roles.Operator} {
		for list, items := range map[string][]string{"groups": m.Groups, "subjects": m.Subjects} {
			for i, s := range items {
				if s == "" {
					c.fail(fmt.Sprintf("admin.roles.%s.%s[%d]", role, list, i), IDInvalid, "must not be empty", "")
				}
			}
		}
		if c.given("admin.roles."+role) && m.Empty() && !c.blamed("admin.roles."+role) {
			c.fail("admin.roles."+role, IDNoEffect, "has no effect: it names neither groups nor subjects", "")
		}
	}
}

func (c *checker) checkState() {
	s := c.cfg.State
	if s.NATS.URL == "" {
		c.idle("the embedded server is used", "give state.nats.url", "state.nats.credentials_file", "state.nats.replicas")
		return
	}
	c.idle("an external NATS cluster decides itself when it calls fsync", "remove it, or remove state.nats.url", "state.sync")
	for server := range strings.SplitSeq(s.NATS.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		if err == nil && (u.Scheme == "nats" || u.Scheme == "ws") && u.Host != "" && !loopbackHost(u.Hostname()) {
			c.warn("state.nats.url", IDInsecure, "recordings cross the network in clear unless the server demands TLS", "write tls://"+u.Host)
		}
	}
	if !c.cfg.Policy.MaskKey.IsSet() {
		c.warn("policy.mask_key", IDConflict, "each gateway makes its own key, so hashes and tokens differ between gateways of one cluster", "give policy.mask_key")
	}
	if c.cfg.Record.Recorder && !c.given("record.archive.url") {
		c.warn("record.archive.url", IDConflict, "each gateway of the cluster keeps its own archive in state.dir", "give record.archive.url")
	}
}

// maxGateway is the longest name of a gateway, in bytes.
const maxGateway = 64

// gatewayPattern is what engine/record takes: the name is part of subjects in
// NATS.
var gatewayPattern = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// gatewayName makes a host's name one that a gateway can have.
func gatewayName(host string) string {
	name := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-':
			return r
		}
		return '-'
	}, host)
	if name == "" {
		return "gateway"
	}
	return name[:min(len(name), maxGateway)]
}

func (c *checker) checkRecord() {
	r := c.cfg.Record
	if !gatewayPattern.MatchString(r.Gateway) {
		c.fail("record.gateway", IDInvalid, fmt.Sprintf("%q is not the name of a gateway", r.Gateway), "letters, digits, _ and -, at most 64")
	}
	if u, err := url.Parse(r.Archive.URL); err == nil && u.Scheme == "mem" {
		c.warn("record.archive.url", IDInsecure, "recordings are lost when the gateway stops", "use a folder (file:///…) or a bucket")
	}
	c.checkPrivate("record.key_file", r.KeyFile)
	if !r.Recorder {
		c.idle("record.recorder is false", "remove it, or let this gateway archive",
			"record.archive", "record.index", "record.recorder_name", "record.retention")
		if c.cfg.State.NATS.URL == "" {
			c.fail("record.recorder", IDConflict, "nobody else can archive the embedded journal, which would fill up", "remove it")
		}
	}
}

// checkAddresses finds two listeners that cannot both be opened.
func (c *checker) checkAddresses() {
	type at struct{ key, address string }
	var all []at
	if c.cfg.Admin.Enabled() {
		all = append(all, at{"admin.address", c.cfg.Admin.Address})
	}
	for i, l := range c.cfg.Postgres.Listeners {
		all = append(all, at{fmt.Sprintf("postgres.listeners[%d].address", i), l.Address})
	}
	for i, l := range c.cfg.Kubernetes.Listeners {
		all = append(all, at{fmt.Sprintf("kubernetes.listeners[%d].address", i), l.Address})
	}
	for i, l := range c.cfg.HTTP.Listeners {
		all = append(all, at{fmt.Sprintf("http.listeners[%d].address", i), l.Address})
	}
	for i, l := range c.cfg.MCP.Listeners {
		all = append(all, at{fmt.Sprintf("mcp.listeners[%d].address", i), l.Address})
	}
	for i, a := range all {
		for _, b := range all[:i] {
			if sameAddress(a.address, b.address) {
				key, other := a.key, b.key
				if _, ok := c.origins[key]; !ok { // blame what somebody wrote, not a default
					key, other = other, key
				}
				c.fail(key, IDConflict, "the same address as "+other, "give each its own port")
			}
		}
	}
}

func sameAddress(a, b string) bool {
	ha, pa, errA := net.SplitHostPort(a)
	hb, pb, errB := net.SplitHostPort(b)
	if errA != nil || errB != nil || pa != pb || pa == "0" {
		return false
	}
	wild := func(h string) bool { return h == "" || h == "0.0.0.0" || h == "::" }
	return ha == hb || wild(ha) || wild(hb)
}

// duplicates reports names given twice; at gives the key of the i-th.
func (c *checker) duplicates(names []string, at func(i int) string) {
	first := make(map[string]int, len(names))
	for i, n := range names {
		if n == "" {
			continue
		}
		if j, ok := first[n]; ok {
			msg := fmt.Sprintf("%q is already %s", n, at(j))
			if o := c.where(at(j)); o.line > 0 {
				msg += fmt.Sprintf(" on line %d", o.line)
			}
			c.fail(at(i), IDDuplicate, msg, "")
			continue
		}
		first[n] = i
	}
}
