package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/pin"
	"github.com/regate-dev/regate/proxies/mcp"
)

// mcpTarget translates one MCP target of the configuration. Its files are read
// here.
func mcpTarget(t config.MCPTarget) (mcp.Target, error) {
	out := mcp.Target{Name: t.Name, Labels: t.Labels, Path: t.Path, Upstream: t.Upstream, Pinning: mcp.Pinning(t.Pinning), Command: t.Command, Dir: t.Dir}
	out.Env = func() ([]string, error) {
		var env []string
		for _, v := range t.Env {
			env = append(env, v.Name+"="+v.Value.Reveal())
		}
		return env, nil
	}
	var err error
	if out.TLS, err = httpClientTLS(t.TLS); err != nil {
		return out, fmt.Errorf("target %q: %w", t.Name, err)
	}
	if out.Egress.Networks, err = networks(t.Networks); err != nil {
		return out, fmt.Errorf("target %q: %w", t.Name, err)
	}
	if t.Credential.IsSet() {
		if out.Credential, err = httpCredential(t.Credential); err != nil {
			return out, fmt.Errorf("target %q: %w", t.Name, err)
		}
	}
	if t.ApprovedTools == "" {
		return out, nil
	}
	raw, err := os.ReadFile(t.ApprovedTools)
	if err == nil {
		out.Approved, err = mcp.ReadTools(raw)
	}
	if err != nil {
		return out, fmt.Errorf("target %q: %s: %w", t.Name, t.ApprovedTools, err)
	}
	return out, nil
}

func (g *gateway) openMCP(ctx context.Context) error {
	var targets []mcp.Target
	var errs []error
	for _, t := range g.cfg.MCP.Targets {
		target, err := mcpTarget(t)
		errs = append(errs, err)
		targets = append(targets, target)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	keyring, err := g.keyring()
	if err != nil {
		return err
	}
	var issuers []string
	for _, i := range g.cfg.Identity.Issuers {
		issuers = append(issuers, i.URL)
	}
	key, err := maskKey(g.cfg)
	if err != nil {
		return err
	}
	kv, err := g.state.KV(ctx, pin.Bucket())
	if err != nil {
		return err
	}
	if g.tools, err = pin.Open(ctx, kv, nil, g.log.WithField("component", "mcp")); err != nil {
		return err
	}
	g.onClose("tools", func(context.Context) error { g.tools.Close(); return nil })
	if kv, err = g.state.KV(ctx, mcp.TaskBucket()); err != nil {
		return err
	}
	g.mcp, err = mcp.New(mcp.Config{
		Key: key, Tools: g.tools, Tasks: kv,
		Gate: g.gate, Keyring: keyring, Targets: targets, Issuers: issuers,
		Reads:  func(path ...string) bool { return g.policy.Reads(input.MCP, path...) },
		Logger: g.log.WithField("component", "mcp"),
	})
	return err
}
