package kubetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Gateway is regate's own program in front of an API server, with an issuer for
// its agents.
type Gateway struct {
	URL, CAFile string // for agents
	PID         int
	Dir         string

	program, issuer string
	running         []*process
}

// GatewayOptions say what it runs with. Everything but CPUProfile is required.
type GatewayOptions struct {
	Program string // bin/regate
	Dir     string // for its files; it is made
	// Server, CAFile and Token are the API server and the gateway's credential.
	Server, CAFile, Token string
	Policy                string // Rego of package regate.policies.test.<name>
	CPUProfile            string
}

const gatewayConfig = `
log: {level: info}
admin: {address: 127.0.0.1:%[1]d}
state: {dir: %[2]s/state}
record: {mode: strict, journal: {max_bytes: 8GiB}}
identity:
  issuers:
    - {name: dev, url: %[3]q, audiences: [regate], insecure_http: true}
policy:
  bundles:
    - {name: test, paths: [%[2]s/policy]}
kubernetes:
  listeners:
    - {address: "127.0.0.1:%[4]d", tls: {cert: %[2]s/gateway.pem, key: %[2]s/gateway.pem}}
targets:
  - name: cluster
    protocol: kubernetes
    kubernetes: {server: %[5]q, ca_file: %[6]q, token_file: %[2]s/token}
`

// StartGateway starts one. It dies with this process.
func StartGateway(ctx context.Context, o GatewayOptions) (g *Gateway, err error) {
	g = &Gateway{Dir: o.Dir, program: o.Program}
	defer func() {
		if err != nil {
			g.Stop()
		}
	}()
	ports, err := freePorts(3)
	if err != nil {
		return g, err
	}
	admin, front := ports[0], ports[2]
	g.issuer = fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	g.URL, g.CAFile = fmt.Sprintf("https://127.0.0.1:%d", front), filepath.Join(o.Dir, "gateway.pem")
	if err := os.MkdirAll(filepath.Join(o.Dir, "policy"), 0o700); err != nil {
		return g, err
	}
	if err := WriteServerCertificate(g.CAFile); err != nil {
		return g, err
	}
	for name, text := range map[string]string{
		"policy/policy.rego": o.Policy,
		"policy/.manifest":   `{"revision":"1","roots":["regate/policies/test"]}`,
		"token":              o.Token,
		"regate.yaml":        fmt.Sprintf(gatewayConfig, admin, o.Dir, g.issuer, front, o.Server, o.CAFile),
	} {
		if err := os.WriteFile(filepath.Join(o.Dir, name), []byte(text), 0o600); err != nil {
			return g, err
		}
	}
	if _, err := g.run("issuer.log", "dev-issuer", "--listen", strings.TrimPrefix(g.issuer, "http://"), "--token-lifetime", "12h", "--client", "agent:secret:agents", "--client", "masked:secret:masked"); err != nil {
		return g, err
	}
	if err := g.answers(ctx, "issuer.log", g.issuer+"/.well-known/openid-configuration"); err != nil {
		return g, err
	}
	args := []string{"serve", "-c", filepath.Join(o.Dir, "regate.yaml")}
	if o.CPUProfile != "" {
		args = append(args, "--cpu-profile", o.CPUProfile)
	}
	p, err := g.run("gateway.log", args...)
	if err != nil {
		return g, err
	}
	g.PID = p.cmd.Process.Pid
	return g, g.answers(ctx, "gateway.log", fmt.Sprintf("http://127.0.0.1:%d/readyz", admin))
}

func (g *Gateway) run(logName string, args ...string) (*process, error) {
	out, err := os.Create(filepath.Join(g.Dir, logName))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(g.program, args...)
	cmd.Stdout, cmd.Stderr = out, out
	p, err := startProcess(cmd)
	if err != nil {
		return nil, err
	}
	g.running = append(g.running, p)
	return p, nil
}

// answers waits until a URL answers 200.
func (g *Gateway) answers(ctx context.Context, logName, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			err = errors.New(resp.Status)
		}
		select {
		case <-ctx.Done():
			raw, _ := os.ReadFile(filepath.Join(g.Dir, logName))
			return fmt.Errorf("%s: %w\n%s", url, err, raw)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Token is a token of "agent", of the group agents, or "masked", of the group
// masked. It is good for hours.
func (g *Gateway) Token(ctx context.Context, client string) (string, error) {
	cmd := exec.CommandContext(ctx, g.program, "token", "--issuer", g.issuer, "--client-id", client, "--client-secret", "env:SECRET", "--audience", "regate")
	cmd.Env = append(os.Environ(), "SECRET=secret", "XDG_CACHE_HOME="+g.Dir)
	var text strings.Builder
	cmd.Stderr = &text
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("regate token: %w: %s", err, text.String())
	}
	return strings.TrimSpace(string(out)), nil
}

// Stop ends it. It is given time to write its profile.
func (g *Gateway) Stop() {
	for _, p := range g.running {
		_ = p.cmd.Process.Signal(os.Interrupt)
		select {
		case <-p.done:
		case <-time.After(20 * time.Second):
		}
		p.stop()
	}
}
