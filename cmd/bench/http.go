package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// route is one way to the HTTP backend.
type route struct {
	name    string
	address string // where to connect
	tunnel  string // what to CONNECT to, then TLS; "" for none
	pid     int    // of the proxy; 0 for none
	token   string
}

// httpServers is the backend, an nginx, and each proxy before it.
type httpServers struct {
	servers
	plain, secure int // the backend's ports
	events        int // of the server of events
	pool          *x509.CertPool
	ways          []route
	regate        route // reverse, also for large answers and events
}

// pinned runs a proxy on the first core; everything else has the others.
func (h *httpServers) pinned(log string, env []string, program string, args ...string) (int, error) {
	f, err := os.Create(filepath.Join(h.dir, log+".log"))
	if err != nil {
		return 0, err
	}
	defer f.Close()
	cmd := exec.Command("taskset", append([]string{"-c", "0", program}, args...)...)
	cmd.Env = append(append(os.Environ(), "GOMAXPROCS=1"), env...)
	cmd.Stdout, cmd.Stderr = f, f
	cmd.SysProcAttr = childAttr()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	h.procs = append(h.procs, cmd)
	return cmd.Process.Pid, nil
}

const backendConfig = `daemon off; master_process off; pid %[1]s/backend.pid; error_log %[1]s/backend.err;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path %[1]s/b1; proxy_temp_path %[1]s/b2; fastcgi_temp_path %[1]s/b3; uwsgi_temp_path %[1]s/b4; scgi_temp_path %[1]s/b5;
 types { application/json json; }
 server { listen 127.0.0.1:%[2]d; listen 127.0.0.1:%[3]d ssl; ssl_certificate %[1]s/backend.pem; ssl_certificate_key %[1]s/backend.key; root %[1]s/www; }
}
`

const httpNginxConfig = `daemon off; master_process off; pid %[1]s/proxy.pid; error_log %[1]s/proxy.err;
events { worker_connections 1024; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path %[1]s/p1; proxy_temp_path %[1]s/p2; fastcgi_temp_path %[1]s/p3; uwsgi_temp_path %[1]s/p4; scgi_temp_path %[1]s/p5;
 upstream b { server 127.0.0.1:%[2]d; keepalive 64; keepalive_requests 100000000; }
 server { listen 127.0.0.1:%[3]d; location / { proxy_pass http://b; proxy_http_version 1.1; proxy_set_header Connection ""; } }
}
`

const haproxyConfig = `global
 nbthread 1
defaults
 mode http
 timeout connect 5s
 timeout client 60s
 timeout server 60s
 http-reuse always
frontend f
 bind 127.0.0.1:%d
 default_backend b
backend b
 server b 127.0.0.1:%d
`

const httpGatewayConfig = `admin: {address: "127.0.0.1:%[1]d", roles: {operator: {groups: [none]}}}
state: {dir: %[2]s/state}
identity: {issuers: [{name: dev, url: "http://127.0.0.1:%[3]d", audiences: [regate], insecure_http: true}]}
policy: {bundles: [{name: bench, paths: [%[2]s/policy]}]}
http:
  listeners: [{address: "127.0.0.1:%[4]d"}, {address: "127.0.0.1:%[5]d", forward: true}]
  targets: [{name: api, upstream: "http://127.0.0.1:%[6]d", prefix: /api}, {name: events, upstream: "http://127.0.0.1:%[7]d", prefix: /events}]
  forward: {ca_cert: %[2]s/ca/ca.pem, ca_key: %[2]s/ca/ca-key.pem, networks: [127.0.0.1/32], ports: [%[8]d], tls: {ca_file: %[2]s/backend.pem}}
`

// httpPolicy reads who asks and what for, masks a field and a detected kind, and
// everything is recorded.
const httpPolicy = `package regate.policies.bench.api

allow contains {"id": "bench.api/all"} if "bench" in input.subject.groups

deny contains {"id": "bench.api/admin"} if "admin" in input.resource.segments

mask contains {"id": "bench.api/email", "field": "email", "method": "partial"} if input.stage == "request"

mask contains {"id": "bench.api/card", "detect": "credit_card", "method": "redact"} if input.stage == "request"
`

func startHTTP(ctx context.Context, o options) (_ *httpServers, err error) {
	dir, err := filepath.Abs(filepath.Join(o.dir, "http"))
	if err != nil {
		return nil, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	h := &httpServers{servers: servers{dir: dir}, pool: x509.NewCertPool()}
	defer func() {
		if err != nil {
			h.stop()
		}
	}()
	for _, d := range []string{"www", "policy"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	var ports [9]int
	for i := range ports {
		if ports[i], err = freePort(); err != nil {
			return nil, err
		}
	}
	h.plain, h.secure = ports[0], ports[1]
	object := `{"id":12345,"email":"jane@example.com","name":"Jane Roe","price":12.5,"note":"some words about it"},`
	files := map[string]string{
		"www/small.json": "[" + strings.Repeat(object, 10) + "0]", "www/large.json": "[" + strings.Repeat(object, 10<<20/len(object)) + "0]",
		"policy/policy.rego": httpPolicy, "policy/.manifest": `{"revision": "1", "roots": ["regate/policies/bench"]}`,
		"backend.conf": fmt.Sprintf(backendConfig, dir, h.plain, h.secure), "nginx.conf": fmt.Sprintf(httpNginxConfig, dir, h.plain, ports[2]),
		"haproxy.cfg": fmt.Sprintf(haproxyConfig, ports[3], h.plain),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	if err := h.certificate(); err != nil {
		return nil, err
	}
	if _, err := h.launch("nginx", "-c", filepath.Join(dir, "backend.conf"), "-p", dir); err != nil {
		return nil, err
	}
	if err := await(ctx, "the backend", dialable(h.secure)); err != nil {
		return nil, err
	}
	if h.events, err = serveEvents(ctx); err != nil {
		return nil, err
	}
	if err := h.startRegate(ctx, o, ports[4:9]); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	plain, tunnel := fmt.Sprintf("127.0.0.1:%d", h.plain), fmt.Sprintf("127.0.0.1:%d", h.secure)
	h.ways = append([]route{{name: "direct", address: plain}}, h.ways...)
	for _, p := range []struct {
		name, program string
		port          int
		tunnel        string
		args          []string
	}{
		{"nginx", "nginx", ports[2], "", []string{"-c", filepath.Join(dir, "nginx.conf"), "-p", dir}},
		{"haproxy", "haproxy", ports[3], "", []string{"-db", "-f", filepath.Join(dir, "haproxy.cfg")}},
		{"goproxy", self, 0, tunnel, []string{"-goproxy", filepath.Join(dir, "ca") + "," + filepath.Join(dir, "backend.pem")}},
		{"mitmproxy", "mitmdump", 0, tunnel, []string{"-q", "--set", "ssl_insecure=true", "--set", "confdir=" + filepath.Join(dir, "mitm")}},
	} {
		if p.port == 0 {
			if p.port, err = freePort(); err != nil {
				return nil, err
			}
			if p.name == "goproxy" {
				p.args[1] += fmt.Sprintf(",127.0.0.1:%d", p.port)
			} else {
				p.args = append(p.args, "--listen-host", "127.0.0.1", "--listen-port", fmt.Sprint(p.port))
			}
		}
		pid, err := h.pinned(p.name, nil, p.program, p.args...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p.name, err)
		}
		if err := await(ctx, p.name, dialable(p.port)); err != nil {
			return nil, err
		}
		h.ways = append(h.ways, route{name: p.name, address: fmt.Sprintf("127.0.0.1:%d", p.port), tunnel: p.tunnel, pid: pid})
	}
	return h, nil
}

// certificate makes the backend's, for 127.0.0.1.
func (h *httpServers) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(h.dir, "backend.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(filepath.Join(h.dir, "backend.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
}

func (h *httpServers) startRegate(ctx context.Context, o options, ports []int) error {
	admin, issuer, front, forward := ports[0], ports[1], ports[2], ports[3]
	config := fmt.Sprintf(httpGatewayConfig, admin, h.dir, issuer, front, forward, h.plain, h.events, h.secure)
	path := filepath.Join(h.dir, "regate.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return err
	}
	regate, err := filepath.Abs(o.regate)
	if err != nil {
		return err
	}
	if out, err := exec.CommandContext(ctx, regate, "ca", "create", "--dir", filepath.Join(h.dir, "ca")).CombinedOutput(); err != nil {
		return fmt.Errorf("regate ca: %w: %s", err, out)
	}
	if _, err := h.launch(regate, "dev-issuer", "--listen", fmt.Sprintf("127.0.0.1:%d", issuer), "--client", "bench:bench-secret:bench"); err != nil {
		return err
	}
	if err := await(ctx, "the issuer", dialable(issuer)); err != nil {
		return err
	}
	args := []string{"serve", "-c", path}
	if o.profile != "" {
		args = append(args, "--cpu-profile", o.profile)
	}
	pid, err := h.pinned("regate", nil, regate, args...)
	if err != nil {
		return err
	}
	if err := await(ctx, "regate", func() error {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/readyz", admin))
		if err != nil {
			return err
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return errors.New(resp.Status)
		}
		return nil
	}); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, regate, "token", "--issuer", fmt.Sprintf("http://127.0.0.1:%d", issuer), "--client-id", "bench", "--client-secret", "env:BENCH_SECRET", "--audience", "regate")
	cmd.Env = append(os.Environ(), "BENCH_SECRET=bench-secret", "XDG_CACHE_HOME="+h.dir)
	raw, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("regate token: %w", err)
	}
	token := strings.TrimSpace(string(raw))
	h.regate = route{name: "regate", address: fmt.Sprintf("127.0.0.1:%d", front), pid: pid, token: token}
	h.ways = []route{h.regate, {name: "regate forward", address: fmt.Sprintf("127.0.0.1:%d", forward), tunnel: fmt.Sprintf("127.0.0.1:%d", h.secure), pid: pid, token: token}}
	return nil
}

// elsewhere keeps this process and what it starts from the proxies' core.
func elsewhere() error {
	if runtime.NumCPU() < 2 {
		return errors.New("the HTTP benchmark needs two cores: one is the proxy's")
	}
	out, err := exec.Command("taskset", "-a", "-cp", fmt.Sprintf("1-%d", runtime.NumCPU()-1), fmt.Sprint(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset: %w: %s", err, out)
	}
	return nil
}

// trust is the TLS of a client in a tunnel: the benchmark measures proxies, not
// whether their certificates are good.
var trust = &tls.Config{InsecureSkipVerify: true, ServerName: "127.0.0.1", NextProtos: []string{"http/1.1"}}
