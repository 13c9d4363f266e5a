package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

// clusterWay is one way to the upstream.
type clusterWay struct {
	name   string
	url    string
	caFile string
	token  string // "": it needs none
	masked string // token of an agent for whom values are masked; "": it masks nothing
	pid    int    // of the proxy, 0 for none
}

// client is a client of its own: connections are not shared.
func (w *clusterWay) client() (*http.Client, error) {
	transport := &http.Transport{ForceAttemptHTTP2: true, DisableCompression: true, MaxIdleConnsPerHost: 2000, MaxConnsPerHost: 0}
	if w.caFile != "" {
		raw, err := os.ReadFile(w.caFile)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(raw)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool}
	}
	return &http.Client{Transport: transport}, nil
}

type clusterWays struct {
	list []*clusterWay
	ends []func()
}

func (w *clusterWays) stop() {
	for i := len(w.ends) - 1; i >= 0; i-- {
		w.ends[i]()
	}
}

// startKubernetesPeers starts every proxy in front of an upstream.
func startKubernetesPeers(ctx context.Context, o options, dir string, up upstream) (w *clusterWays, err error) {
	w = &clusterWays{}
	defer func() {
		if err != nil {
			w.stop()
		}
	}()
	if err := os.RemoveAll(dir); err != nil {
		return w, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return w, err
	}
	w.list = append(w.list, &clusterWay{name: "direct", url: up.url, caFile: up.caFile, token: up.token})

	port, err := freePort()
	if err != nil {
		return w, err
	}
	kubeconfig := filepath.Join(dir, "kubeconfig")
	if err := kubetest.WriteKubeconfig(kubeconfig, up.url, up.caFile, up.token); err != nil {
		return w, err
	}
	kubectl, err := w.launch(dir, o.kubectl, "proxy", "--kubeconfig="+kubeconfig, fmt.Sprintf("--port=%d", port), "--reject-paths=^$")
	if err != nil {
		return w, err
	}
	w.list = append(w.list, &clusterWay{name: "kubectl proxy", url: fmt.Sprintf("http://127.0.0.1:%d", port), pid: kubectl})
	if err := await(ctx, "kubectl proxy", dialable(port)); err != nil {
		return w, err
	}

	if port, err = freePort(); err != nil {
		return w, err
	}
	certificate := filepath.Join(dir, "nginx.pem")
	if err := kubetest.WriteServerCertificate(certificate); err != nil {
		return w, err
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, clusterNginx, dir, up.url[len("https://"):], port, certificate, up.token), 0o600); err != nil {
		return w, err
	}
	nginx, err := w.launch(dir, "nginx", "-p", dir, "-c", conf, "-e", filepath.Join(dir, "nginx-error.log"))
	if err != nil {
		return w, err
	}
	w.list = append(w.list, &clusterWay{name: "nginx", url: fmt.Sprintf("https://127.0.0.1:%d", port), caFile: certificate, pid: nginx})
	if err := await(ctx, "nginx", dialable(port)); err != nil {
		return w, err
	}

	plain, err := startReverseProxy(ctx, dir, up)
	if err != nil {
		return w, err
	}
	w.ends = append(w.ends, plain.stop)
	w.list = append(w.list, &clusterWay{name: "ReverseProxy", url: plain.url, caFile: plain.caFile, pid: plain.cmd.Process.Pid})

	regate, err := filepath.Abs(o.regate)
	if err != nil {
		return w, err
	}
	options := kubetest.GatewayOptions{Program: regate, Dir: filepath.Join(dir, "regate"), Server: up.url, CAFile: up.caFile, Token: up.token, Policy: benchPolicy}
	if o.profile != "" {
		options.CPUProfile = o.profile + "-" + up.name
	}
	gateway, err := kubetest.StartGateway(ctx, options)
	if err != nil {
		return w, err
	}
	w.ends = append(w.ends, gateway.Stop)
	through := &clusterWay{name: "regate", url: gateway.URL, caFile: gateway.CAFile, pid: gateway.PID}
	if through.token, err = gateway.Token(ctx, "agent"); err != nil {
		return w, err
	}
	if through.masked, err = gateway.Token(ctx, "masked"); err != nil {
		return w, err
	}
	w.list = append(w.list, through)
	return w, nil
}

// clusterNginx: folder, upstream, port, certificate, token. It checks no address in
// the upstream's certificate, as nginx knows host names only. One
// process, so that its CPU time is all there is.
const clusterNginx = `
daemon off; master_process off; pid %[1]s/nginx.pid; worker_rlimit_nofile 8192;
events { worker_connections 4096; }
http {
	access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	upstream api { server %[2]s; keepalive 100; }
	map $http_upgrade $connection_upgrade { default upgrade; "" ""; }
	server {
		listen 127.0.0.1:%[3]d ssl http2; http2_max_concurrent_streams 250;
		ssl_certificate %[4]s; ssl_certificate_key %[4]s;
		location / {
			proxy_pass https://api; proxy_http_version 1.1; proxy_buffering off; proxy_read_timeout 1h;
			proxy_set_header Host $host; proxy_set_header Authorization "Bearer %[5]s";
			proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
			proxy_ssl_verify off; proxy_ssl_session_reuse on;
		}
	}
}
`

// launch starts a program that ends with the peers, and returns its id.
func (w *clusterWays) launch(dir, program string, args ...string) (int, error) {
	log, err := os.Create(filepath.Join(dir, filepath.Base(program)+".log"))
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	w.ends = append(w.ends, func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	})
	return cmd.Process.Pid, nil
}
