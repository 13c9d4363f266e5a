package config

import (
	"fmt"
	"slices"
	"strings"
)

// postgresOnly are the settings of a target that only PostgreSQL has.
var postgresOnly = []string{"address", "database", "match", "user", "password", "auth", "tls", "role", "settings", "catalog", "limits"}

// checkCluster looks at a kubernetes target.
func (c *checker) checkCluster(target string, t Target) {
	for _, name := range postgresOnly {
		c.idle("the target's protocol is kubernetes", "remove it; a cluster's settings are under kubernetes", target+"."+name)
	}
	key, k := target+".kubernetes", t.Kubernetes
	ways := 0
	for _, given := range []bool{k.Kubeconfig != "", k.InCluster, k.Server != ""} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0 && !c.blamed(key+".kubeconfig") && !c.blamed(key+".server"):
		c.fail(key, IDMissing, "there is no API server", "give kubeconfig, server, or in_cluster: true")
	case ways > 1:
		c.fail(key, IDConflict, "kubeconfig, server and in_cluster each name an API server", "keep one of them")
	}
	if k.Kubeconfig == "" {
		c.idle("there is no kubeconfig", "give kubeconfig", key+".context")
	}
	if k.Server == "" {
		c.idle("there is no server", "a kubeconfig has this itself", key+".ca_file", key+".server_name", key+".token_file", key+".cert_file", key+".key_file")
	} else {
		if clearURL(k.Server) {
			c.warn(key+".server", IDInsecure, "the gateway's credential and all data cross the network in clear", "use https://")
		}
		switch {
		case k.CertFile != "" && k.KeyFile == "":
			c.fail(key+".key_file", IDMissing, "cert_file is given without its key", "")
		case k.CertFile == "" && k.KeyFile != "":
			c.fail(key+".cert_file", IDMissing, "key_file is given without its certificate", "")
		case k.CertFile == "" && k.TokenFile == "" && !c.blamed(key+".token_file") && !c.blamed(key+".cert_file"):
			c.fail(key, IDMissing, "neither a token nor a client certificate", "give token_file, or cert_file and key_file")
		}
	}
	c.checkPrivate(key+".kubeconfig", k.Kubeconfig)
	c.checkPrivate(key+".token_file", k.TokenFile)
	c.checkPrivate(key+".key_file", k.KeyFile)
	i := k.Impersonate
	if !i.Enabled {
		c.idle("impersonate.enabled is false", "give impersonate.enabled: true", key+".impersonate.user_prefix", key+".impersonate.group_prefix", key+".impersonate.groups")
	}
	for j, g := range i.Groups {
		if g == "" || strings.HasPrefix(g, "system:") {
			c.fail(fmt.Sprintf("%s.impersonate.groups[%d]", key, j), IDInvalid, fmt.Sprintf("%q is not a group that agents can have", g), "the cluster's own groups begin with system:")
		}
	}
	for j, h := range k.Hosts {
		if h == "" || h != strings.ToLower(h) || strings.ContainsAny(h, ":/ ") {
			c.fail(fmt.Sprintf("%s.hosts[%d]", key, j), IDInvalid, fmt.Sprintf("%q is not a host name", h), "lower case, without scheme and port")
		}
	}
}

func (c *checker) checkKubernetesListeners() {
	for i, l := range c.cfg.Kubernetes.Listeners {
		key := fmt.Sprintf("kubernetes.listeners[%d]", i)
		c.checkServerTLS(key+".tls", l.TLS)
		c.checkPlaintext(key, l.Address, l.TLS, l.Plaintext)
		if l.Address == Off {
			c.fail(key+".address", IDInvalid, "a listener cannot be off", "remove it")
		}
		for j, name := range l.Targets {
			at := fmt.Sprintf("%s.targets[%d]", key, j)
			if !c.given(key+".targets") || !c.knownTarget(at, name) {
				continue
			}
			if t := c.target(name); t.Protocol != "kubernetes" {
				c.fail(at, IDConflict, fmt.Sprintf("the protocol of target %q is %s", name, t.Protocol), "")
			}
		}
		c.duplicates(l.Targets, func(j int) string { return fmt.Sprintf("%s.targets[%d]", key, j) })
		hosts := map[string]string{}
		for j, t := range c.cfg.Targets {
			if !slices.Contains(l.Targets, t.Name) {
				continue
			}
			for n, h := range t.Kubernetes.Hosts {
				if other, taken := hosts[h]; taken && other != t.Name {
					c.fail(fmt.Sprintf("targets[%d].kubernetes.hosts[%d]", j, n), IDConflict, fmt.Sprintf("%s also belongs to target %q on the listener %s", h, other, l.Address), "give each its own")
				}
				hosts[h] = t.Name
			}
		}
	}
}

func (c *checker) target(name string) Target {
	for _, t := range c.cfg.Targets {
		if t.Name == name {
			return t
		}
	}
	return Target{}
}
