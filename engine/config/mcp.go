package config

import (
	"fmt"
	"slices"
	"strings"
)

// MCP is the proxy for servers of the Model Context Protocol.
type MCP struct {
	Listeners []MCPListener `key:"listeners" doc:"addresses for agents"`
	Targets   []MCPTarget   `key:"targets" doc:"MCP servers behind the gateway"`
}

// MCPListener is one address.
type MCPListener struct {
	Address   string    `key:"address" required:"true" is:"listen" doc:"host:port"`
	TLS       ServerTLS `key:"tls" doc:"certificate that agents see; needed beyond loopback"`
	Plaintext bool      `key:"plaintext" doc:"accept connections without TLS; default: only on loopback"`
	Targets   []string  `key:"targets" doc:"names of the MCP targets behind this address; default: all"`
	Origins   []string  `key:"origins" doc:"origins of web pages that may use it; default: none"`
}

// MCPTarget is one server, over streamable HTTP.
type MCPTarget struct {
	Name          string            `key:"name" required:"true" is:"name" doc:"name in policies, records and revocations"`
	Labels        map[string]string `key:"labels" doc:"input.target.labels"`
	Path          string            `key:"path" doc:"where agents find it; default: /mcp/ and the name"`
	Upstream      string            `key:"upstream" doc:"the server's endpoint: https://tools.example.com/mcp"`
	Command       []string          `key:"command" doc:"instead: program and arguments of a server on standard input and output, one process for each session of an agent"`
	Dir           string            `key:"dir" is:"dir" doc:"its working folder"`
	Env           []MCPVariable     `key:"env" doc:"what it gets beside PATH, HOME, LANG and TMPDIR"`
	TLS           HTTPClientTLS     `key:"tls" doc:"TLS towards the server"`
	Networks      []string          `key:"networks" doc:"networks that the server's address may be in, beside public and private ones"`
	Credential    HTTPCredential    `key:"credential" doc:"what the gateway adds to requests; an agent's own token never is"`
	Pinning       string            `key:"pinning" default:"strict" oneof:"strict first_use off" doc:"tools that nobody has approved: kept back; approved as first seen; or left to policies"`
	ApprovedTools string            `key:"approved_tools" is:"file" doc:"an answer to tools/list, as somebody has approved it, beside what 'regate tools approve' approves"`
}

// MCPVariable is one variable of a server's environment.
type MCPVariable struct {
	Name  string `key:"name" required:"true" doc:"name of the variable"`
	Value Secret `key:"value" required:"true" doc:"env:NAME, file:/path, or the value itself"`
}

func (c *checker) fillMCP() {
	m := &c.cfg.MCP
	for i := range m.Targets {
		if t := &m.Targets[i]; t.Path == "" && t.Name != "" {
			t.Path = "/mcp/" + t.Name
		}
	}
	for i := range m.Listeners {
		l := &m.Listeners[i]
		if !c.given(fmt.Sprintf("mcp.listeners[%d].plaintext", i)) {
			l.Plaintext = loopback(l.Address)
		}
		if len(l.Targets) == 0 {
			for _, t := range m.Targets {
				l.Targets = append(l.Targets, t.Name)
			}
		}
	}
}

// checkMCPServer wants an endpoint or a command, and nothing that only the other
// one uses.
func (c *checker) checkMCPServer(key string, t MCPTarget) {
	switch {
	case t.Upstream == "" && len(t.Command) == 0:
		c.fail(key+".upstream", IDMissing, "there is no server", "give upstream or command")
		return
	case t.Upstream != "" && len(t.Command) > 0:
		c.fail(key+".command", IDConflict, "the server is given twice", "keep upstream or command")
		return
	case t.Upstream != "":
		c.checkUpstream(key+".upstream", t.Upstream)
		if len(t.Env) > 0 || t.Dir != "" {
			c.fail(key+".env", IDNoEffect, "has no effect without command", "remove it")
		}
		return
	}
	if t.Command[0] == "" {
		c.fail(key+".command", IDInvalid, "the program has no name", "")
	}
	if t.Credential.IsSet() || len(t.Networks) > 0 {
		c.fail(key+".credential", IDNoEffect, "has no effect with command", "give it to the server by env")
	}
	for i, v := range t.Env {
		if strings.ContainsAny(v.Name, "=\x00") {
			c.fail(fmt.Sprintf("%s.env[%d].name", key, i), IDInvalid, fmt.Sprintf("%q is no name of a variable", v.Name), "")
		}
	}
}

func (c *checker) checkMCP() {
	m := c.cfg.MCP
	var names, paths []string
	for i, t := range m.Targets {
		key := fmt.Sprintf("mcp.targets[%d]", i)
		names, paths = append(names, t.Name), append(paths, t.Path)
		c.checkMCPServer(key, t)
		if !strings.HasPrefix(t.Path, "/") || len(t.Path) < 2 || strings.ContainsAny(t.Path, "%?#;\\ ") || strings.Contains(t.Path, "//") || strings.HasPrefix(t.Path, "/.well-known/") {
			c.fail(key+".path", IDInvalid, fmt.Sprintf("%q is not a path", t.Path), "such as /mcp/files")
		}
		c.checkNetworks(key+".networks", t.Networks)
		c.checkHTTPTLS(key+".tls", t.TLS)
		c.checkCredential(key+".credential", t.Credential)
		if t.Credential.CertFile != "" {
			c.fail(key+".credential.cert_file", IDConflict, "an MCP server's client certificate is under tls", "move it to "+key+".tls.cert_file")
		}
		if t.Pinning == "off" && t.ApprovedTools != "" {
			c.fail(key+".approved_tools", IDNoEffect, "has no effect with pinning: off", "choose strict, or leave it out")
		}
		taken := slices.ContainsFunc(c.cfg.Targets, func(o Target) bool { return o.Name == t.Name }) ||
			slices.ContainsFunc(c.cfg.HTTP.Targets, func(o HTTPTarget) bool { return o.Name == t.Name })
		if taken && t.Name != "" {
			c.fail(key+".name", IDDuplicate, "there is a target of this name for another protocol", "give each its own")
		}
		if len(m.Listeners) > 0 && t.Name != "" && !slices.ContainsFunc(m.Listeners, func(l MCPListener) bool { return slices.Contains(l.Targets, t.Name) }) {
			c.fail(key+".name", IDNoEffect, "has no effect: no listener serves this target", "add it to a listener's targets")
		}
	}
	c.duplicates(names, func(i int) string { return fmt.Sprintf("mcp.targets[%d].name", i) })
	c.duplicates(paths, func(i int) string { return fmt.Sprintf("mcp.targets[%d].path", i) })
	for i, l := range m.Listeners {
		key := fmt.Sprintf("mcp.listeners[%d]", i)
		c.checkServerTLS(key+".tls", l.TLS)
		c.checkPlaintext(key, l.Address, l.TLS, l.Plaintext)
		if l.Address == Off {
			c.fail(key+".address", IDInvalid, "a listener cannot be off", "remove it")
		}
		if len(m.Targets) == 0 {
			c.fail(key, IDNoEffect, "no MCP target is behind this listener", "name one under mcp.targets")
		}
		for j, name := range l.Targets {
			if c.given(key+".targets") && !slices.Contains(names, name) {
				c.fail(fmt.Sprintf("%s.targets[%d]", key, j), IDUndefined, fmt.Sprintf("there is no MCP target %q", name), "")
			}
		}
	}
	if len(m.Listeners) == 0 && len(m.Targets) > 0 {
		c.fail("mcp.listeners", IDMissing, "no listener: agents have nowhere to connect", "give at least one address")
	}
}
