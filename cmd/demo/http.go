package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// httpShow is an agent that works with an HTTP API.
type httpShow struct {
	*stage
	api     string // URL of the API itself
	reverse string // of the API through the gateway
	forward string // of the forward proxy
	key     string // the API's own

	token string
	held  string // the approval of the change
}

// The people of the show, beside those of the other.
const lead = "lena" // leads the shop

func (h *httpShow) people() []person {
	return []person{
		{agent, "analysts", nil},
		{lead, "leads", []string{"viewer", "approver"}},
		{operator, "operators", []string{"viewer", "auditor", "operator"}},
	}
}

// apiEnv is the environment variable of the API's key, which the agent never
// gets.
const apiEnv = "API_KEY"

// open starts the API: json-server, as npm has it, with the shop's customers.
func (h *httpShow) open(ctx context.Context, s *stage) error {
	h.stage, h.key = s, "key-"+rand.Text()
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	type row struct {
		ID     int    `json:"id"`
		Name   string `json:"name"`
		Email  string `json:"email"`
		Card   string `json:"card"`
		Credit int    `json:"credit"`
	}
	var rows []row
	for _, c := range customers {
		rows = append(rows, row{c.id, c.name, c.email, c.card, 0})
	}
	raw, err := json.MarshalIndent(map[string]any{"customers": rows, "notes": []any{}}, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("shop.json"), raw, 0o600); err != nil {
		return err
	}
	var at [3]string
	for i := range at {
		if at[i], err = freeAddress(); err != nil {
			return err
		}
	}
	h.api, h.reverse, h.forward = "http://"+at[0], "http://"+at[1], "http://"+at[2]
	folder, err := filepath.Abs("testdata/http/json-server")
	if err != nil {
		return err
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return fmt.Errorf("the API needs Node.js, run .ci/setup node npm: %w", err)
	}
	host, port, _ := strings.Cut(at[0], ":")
	server, err := s.spawn("api", append(s.env(), h.env()...), node, filepath.Join(folder, "node_modules/json-server/lib/cli/bin.js"),
		s.path("shop.json"), "--quiet", "--host", host, "--port", port, "--snapshots", s.dir, "--middlewares", filepath.Join(folder, "key.js"))
	if err != nil {
		return err
	}
	for { // it answers: 401, to who has no key
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.api+"/customers", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
			break
		}
		if err := server.ended(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the API: %w", ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	_, err = s.quiet(ctx, "ca", "create", "--dir", s.path("ca"))
	return err
}

func (h *httpShow) bundles() []string {
	return append([]string{"bundles/demo-http"}, prefixed("policies/", []string{"lib", "http/no_leaks"})...)
}

func (h *httpShow) env() []string { return []string{apiEnv + "=" + h.key} }

func (h *httpShow) config() (string, error) {
	u, err := url.Parse(h.api)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`http:
  listeners:
    - {address: %q}
    - {address: %q, forward: true}
  targets:
    - name: shop
      labels: {env: prod}
      upstream: %q
      credential: {header: X-Api-Key, secret: "env:%s"}
  forward:
    ca_cert: %q
    ca_key: %q
    networks: [127.0.0.1/32]
    ports: [%s]
`, strings.TrimPrefix(h.reverse, "http://"), strings.TrimPrefix(h.forward, "http://"), h.api, apiEnv, h.path("ca/ca.pem"), h.path("ca/ca-key.pem"), u.Port()), nil
}

func (h *httpShow) intro() {
	h.out.line(h.out.paint(bold, "regate") + " stands between an agent and an HTTP API. Everything below is real:")
	h.out.say("API       json-server at %s, which wants a key that the agent does not have", h.api)
	h.out.say("identity  OpenID Connect issuer at %s", h.issuerURL)
	h.out.say("gateway   the API at %s, a forward proxy at %s; policies from bundles/demo-http, configuration in %s", h.reverse, h.forward, h.shown("regate.yaml"))
}

func (h *httpShow) invite() {
	regate := h.command()
	h.out.line(fmt.Sprintf("  curl -H \"Authorization: Bearer $(%s token --no-cache --profile %s)\" %s/customers", regate, agent, h.reverse))
	h.out.line(fmt.Sprintf("  curl --proxy http://x:$(%s token --no-cache --profile %s)@%s --cacert %s https://example.com/", regate, agent, strings.TrimPrefix(h.forward, "http://"), h.shown("ca/trusted.pem")))
	h.out.line(fmt.Sprintf("  %s approvals list --profile %s", regate, lead))
}

func (h *httpShow) close(context.Context) error { return nil }

// client is the agent's: it knows the proxy and the gateway's authority.
func (h *httpShow) client() (*http.Client, error) {
	proxy, err := url.Parse(h.forward)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(h.path("ca/trusted.pem"))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(raw)
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}, nil
}
