package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// fillHTTP computes the defaults of the HTTP section that depend on others.
func (c *checker) fillHTTP() {
	h := &c.cfg.HTTP
	for i := range h.Listeners {
		l := &h.Listeners[i]
		if !c.given(fmt.Sprintf("http.listeners[%d].plaintext", i)) {
			l.Plaintext = loopback(l.Address)
		}
		if len(l.Targets) == 0 && !l.Forward {
			for _, t := range h.Targets {
				l.Targets = append(l.Targets, t.Name)
			}
		}
	}
}

func (c *checker) checkHTTP() {
	h := c.cfg.HTTP
	var names []string
	for i, t := range h.Targets {
		names = append(names, t.Name)
		c.checkHTTPTarget(fmt.Sprintf("http.targets[%d]", i), t)
	}
	c.duplicates(names, func(i int) string { return fmt.Sprintf("http.targets[%d].name", i) })
	for i, t := range h.Targets {
		if slices.ContainsFunc(c.cfg.Targets, func(o Target) bool { return o.Name == t.Name && t.Name != "" }) {
			c.fail(fmt.Sprintf("http.targets[%d].name", i), IDDuplicate, "there is a target of this name under targets", "give each its own")
		}
	}
	forward := false
	for i, l := range h.Listeners {
		key := fmt.Sprintf("http.listeners[%d]", i)
		c.checkServerTLS(key+".tls", l.TLS)
		c.checkPlaintext(key, l.Address, l.TLS, l.Plaintext)
		if l.Address == Off {
			c.fail(key+".address", IDInvalid, "a listener cannot be off", "remove it")
		}
		forward = forward || l.Forward
		if l.Forward {
			c.idle("the listener is the forward proxy", "remove it", key+".targets")
			continue
		}
		if len(l.Targets) == 0 && !c.blamed(key+".targets") {
			c.fail(key, IDNoEffect, "no HTTP target is behind this listener", "name one under http.targets, or set forward: true")
		}
		for j, name := range l.Targets {
			if c.given(key+".targets") && !slices.Contains(names, name) {
				c.fail(fmt.Sprintf("%s.targets[%d]", key, j), IDUndefined, fmt.Sprintf("there is no HTTP target %q", name), "")
			}
		}
		c.checkHTTPRoutes(key, l)
	}
	for i, t := range h.Targets {
		if len(h.Listeners) > 0 && t.Name != "" && !slices.ContainsFunc(h.Listeners, func(l HTTPListener) bool { return slices.Contains(l.Targets, t.Name) }) {
			c.fail(fmt.Sprintf("http.targets[%d].name", i), IDNoEffect, "has no effect: no listener serves this target", "add it to a listener's targets")
		}
	}
	if len(h.Listeners) == 0 && len(h.Targets) > 0 {
		c.fail("http.listeners", IDMissing, "no listener: agents have nowhere to connect", "give at least one address")
	}
	if !forward {
		c.idle("no listener is the forward proxy", "give one with forward: true", "http.forward.ca_cert", "http.forward.ca_key", "http.forward.networks", "http.forward.ports", "http.forward.credentials")
		return
	}
	c.checkForward(h.Forward)
}

func (c *checker) checkHTTPTarget(key string, t HTTPTarget) {
	if t.Upstream != "" {
		c.checkUpstream(key+".upstream", t.Upstream)
	}
	if t.Prefix != "" && (!strings.HasPrefix(t.Prefix, "/") || strings.HasSuffix(t.Prefix, "/") || strings.ContainsAny(t.Prefix, "%?#;\\ ") || strings.Contains(t.Prefix, "//")) {
		c.fail(key+".prefix", IDInvalid, fmt.Sprintf("%q is not a path", t.Prefix), "such as /u/billing")
	}
	c.checkNetworks(key+".networks", t.Networks)
	c.checkHTTPTLS(key+".tls", t.TLS)
	c.checkCredential(key+".credential", t.Credential)
	c.checkHTTPRequest(key+".request", t.Request)
}

// checkUpstream checks a URL of an API's root.
func (c *checker) checkUpstream(key, s string) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		c.fail(key, IDInvalid, "not the URL of an API's root", "such as https://api.example.com/v1")
	case clearURL(s):
		c.warn(key, IDInsecure, "data crosses the network in clear to "+u.Host, "use https")
	}
}

func (c *checker) checkHTTPTLS(key string, t HTTPClientTLS) {
	switch {
	case t.CertFile != "" && t.KeyFile == "":
		c.fail(key+".key_file", IDMissing, "cert_file is given without its key", "")
	case t.CertFile == "" && t.KeyFile != "":
		c.fail(key+".cert_file", IDMissing, "key_file is given without its certificate", "")
	}
	c.checkPrivate(key+".key_file", t.KeyFile)
}

func (c *checker) checkHTTPRequest(key string, r HTTPRequest) {
	if r.OpenAPI == "" {
		c.idle("there is no openapi", "give one", key+".openapi_base")
	}
	for j, m := range r.Methods {
		if m == "" || strings.ToUpper(m) != m || m == "CONNECT" || m == "TRACE" {
			c.fail(fmt.Sprintf("%s.methods[%d]", key, j), IDInvalid, fmt.Sprintf("%q is not a method that can be let through", m), "in capitals; never CONNECT or TRACE")
		}
	}
}

func (c *checker) checkNetworks(key string, list []string) {
	for j, s := range list {
		if _, err := netip.ParsePrefix(s); err != nil {
			c.fail(fmt.Sprintf("%s[%d]", key, j), IDInvalid, fmt.Sprintf("%q is not a network", s), "such as 10.1.0.0/16 or 127.0.0.1/32")
		}
	}
}

func (c *checker) checkCredential(key string, r HTTPCredential) {
	if !r.IsSet() {
		c.idle("there is no credential", "give header, query, user, token_url, aws_service or cert_file", key+".prefix", key+".path", key+".client_id", key+".scopes", key+".parameters", key+".aws_region", key+".aws_access_key_id", key+".aws_session_token")
		return
	}
	ways := 0
	for _, given := range []bool{r.Header != "", r.Query != "", r.User != "", r.TokenURL != "", r.AWSService != ""} {
		if given {
			ways++
		}
	}
	c.checkHTTPTLS(key, HTTPClientTLS{CertFile: r.CertFile, KeyFile: r.KeyFile})
	certificate := ways == 0 && r.CertFile != "" && !r.Secret.IsSet()
	if ways != 1 && !certificate {
		c.fail(key, IDConflict, "want exactly one of header, query, user, token_url and aws_service, or cert_file alone", "")
	}
	if !certificate && !r.Secret.IsSet() && !c.blamed(key+".secret") {
		c.fail(key+".secret", IDMissing, "a credential needs a secret", "write env:NAME or file:/path")
	}
	if r.AWSService == "" {
		c.idle("it is for AWS", "give aws_service", key+".aws_region", key+".aws_access_key_id", key+".aws_session_token")
	} else {
		for name, value := range map[string]string{".aws_region": r.AWSRegion, ".aws_access_key_id": r.AWSKeyID} {
			if value == "" {
				c.fail(key+name, IDMissing, "aws_service needs it", "")
			}
		}
	}
	if r.Header == "" {
		c.idle("it is for a header", "give header", key+".prefix")
	}
	if r.TokenURL == "" {
		c.idle("it is for OAuth", "give token_url", key+".client_id", key+".scopes", key+".parameters")
		return
	}
	if r.ClientID == "" {
		c.fail(key+".client_id", IDMissing, "token_url needs a client_id", "")
	}
	c.checkUpstream(key+".token_url", r.TokenURL)
}

// checkHTTPRoutes finds targets of one listener that no request could tell
// apart.
func (c *checker) checkHTTPRoutes(key string, l HTTPListener) {
	type route struct{ host, prefix string }
	seen := map[route]string{}
	for i, t := range c.cfg.HTTP.Targets {
		if t.Name == "" || !slices.Contains(l.Targets, t.Name) {
			continue
		}
		at := fmt.Sprintf("http.targets[%d]", i)
		hosts := t.Hosts
		if len(hosts) == 0 {
			if t.Prefix == "" && len(l.Targets) > 1 {
				c.fail(at, IDMissing, "it shares the listener "+l.Address+", and has neither hosts nor a prefix", "give one of them")
			}
			hosts = []string{""}
		}
		for _, h := range hosts {
			r := route{strings.ToLower(strings.TrimSuffix(h, ".")), t.Prefix}
			if other, twice := seen[r]; twice && other != t.Name {
				c.fail(at, IDConflict, fmt.Sprintf("the same requests belong to target %q on %s", other, key), "give each its own hosts or prefix")
			}
			seen[r] = t.Name
		}
	}
}

func (c *checker) checkForward(f HTTPForward) {
	const key = "http.forward"
	switch {
	case f.CACert == "" && f.CAKey == "":
		c.warn(key, IDMissing, "there is no ca_cert: CONNECT is refused, and with it every https request", "run 'regate ca create'")
	case f.CACert == "" || f.CAKey == "":
		c.fail(key, IDMissing, "ca_cert and ca_key belong together", "")
	}
	c.checkPrivate(key+".ca_key", f.CAKey)
	c.checkHTTPTLS(key+".tls", f.TLS)
	if f.TLS.CertFile != "" {
		c.fail(key+".tls.cert_file", IDConflict, "it would be shown to whatever upstream an agent chooses", "give it in http.forward.credentials, for one origin")
	}
	c.checkHTTPRequest(key+".request", f.Request)
	c.checkNetworks(key+".networks", f.Networks)
	for j, p := range f.Ports {
		if p < 1 || p > 65535 {
			c.fail(fmt.Sprintf("%s.ports[%d]", key, j), IDInvalid, fmt.Sprintf("%d is not a port", p), "")
		}
	}
	for j, o := range f.Credentials {
		at := fmt.Sprintf("%s.credentials[%d]", key, j)
		u, err := url.Parse(o.Origin)
		if o.Origin != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Path != "" || u.User != nil || u.RawQuery != "") {
			c.fail(at+".origin", IDInvalid, fmt.Sprintf("%q is not an origin", o.Origin), "such as https://api.example.com")
		}
		if !o.Credential.IsSet() {
			c.fail(at+".credential", IDMissing, "there is no credential", "give header, query, user, token_url, aws_service or cert_file")
			continue
		}
		c.checkCredential(at+".credential", o.Credential)
	}
}
