package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

// The people of the show, beside the operator.
const (
	clusterAgent    = "deploy-agent" // an AI agent that looks after the shop's deployment
	clusterApprover = "petra"        // of the platform team
)

// What the cluster holds that the agent does not get to see.
const (
	databasePassword = "hunter2-4711"
	cardNumber       = "4111 1111 1111 1111"
)

// kubernetesShow is an agent that works with a cluster.
type kubernetesShow struct {
	*stage
	control    *kubetest.Cluster
	proxy      string // host:port
	kubeconfig string
	approval   string // of the first scale
}

func (s *kubernetesShow) people() []person {
	return []person{
		{clusterAgent, "deployers", []string{"approver"}}, // of others' requests
		{clusterApprover, "platform", []string{"viewer", "approver"}},
		{operator, "operators", []string{"viewer", "auditor", "operator"}},
	}
}

func (s *kubernetesShow) bundles() []string {
	return []string{"bundles/demo-kubernetes", "policies/lib", "policies/kubernetes/destruction", "policies/kubernetes/no_node_access"}
}

func (s *kubernetesShow) env() []string { return nil }

func (s *kubernetesShow) close(context.Context) error {
	if s.control != nil {
		s.control.Stop()
	}
	return nil
}

// open starts a control plane with a kubelet and puts the shop there.
func (s *kubernetesShow) open(ctx context.Context, on *stage) error {
	s.stage = on
	var err error
	if s.proxy, err = freeAddress(); err != nil {
		return err
	}
	if s.control, err = kubetest.Start(ctx, kubetest.Options{}); err != nil {
		return fmt.Errorf("start Kubernetes: %w", err)
	}
	if err := os.WriteFile(s.path("cluster-token"), []byte(s.control.Admin), 0o600); err != nil {
		return fmt.Errorf("the gateway's credential: %w", err)
	}
	if err := os.WriteFile(s.path("customers.txt"), []byte("Ann Example  "+cardNumber+"\n"), 0o600); err != nil {
		return fmt.Errorf("fill the shop: %w", err)
	}
	for _, args := range [][]string{{"create", "namespace", "shop"}, {"-n", "shop", "create", "deployment", "web", "--image=shop/web:1.4", "--replicas=3"}} {
		if _, err := s.admin(ctx, args...); err != nil {
			return err
		}
	}
	if err := s.control.AddPod(ctx, "shop", "web-0", "ready\n", [][2]string{{"LOG_LEVEL", "info"}, {"DATABASE_PASSWORD", databasePassword}}); err != nil {
		return fmt.Errorf("make a pod: %w", err)
	}
	return s.certificate()
}

// certificate makes the one that agents see.
func (s *kubernetesShow) certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "regate demo"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	for name, block := range map[string]*pem.Block{"tls.crt": {Type: "CERTIFICATE", Bytes: der}, "tls.key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(s.path(name), pem.EncodeToMemory(block), 0o600); err != nil {
			return fmt.Errorf("certificate: %w", err)
		}
	}
	return nil
}

func (s *kubernetesShow) config() (string, error) {
	return fmt.Sprintf(`kubernetes:
  listeners:
    - address: %q
      tls: {cert: tls.crt, key: tls.key}
targets:
  - name: prod
    protocol: kubernetes
    labels: {env: prod}
    kubernetes: {server: %q, ca_file: %q, token_file: cluster-token}
`, s.proxy, s.control.URL, s.control.CAFile), nil
}

func (s *kubernetesShow) intro() {
	s.out.line(s.out.paint(bold, "regate") + " stands between an agent and a cluster. Everything below is real:")
	s.out.say("cluster   kube-apiserver and etcd at %s, which know nothing of regate", s.control.URL)
	s.out.say("          (no container runtime: a kubelet for tests runs commands on this machine)")
	s.out.say("identity  OpenID Connect issuer at %s", s.issuerURL)
	s.out.say("gateway   https://%s, policies from bundles/demo-kubernetes, configuration in %s", s.proxy, s.shown("regate.yaml"))
}

func (s *kubernetesShow) invite() {
	s.out.line("  export KUBECONFIG=" + s.kubeconfig)
	s.out.line(fmt.Sprintf("  %s -n shop get pods", s.program()))
	s.out.line(fmt.Sprintf("  %s approvals list --profile %s", s.command(), clusterApprover))
	s.out.line(fmt.Sprintf("  %s sessions list", s.command()))
}

// program is kubectl.
func (s *kubernetesShow) program() string { return filepath.Join(s.control.Programs, "kubectl") }

// admin runs kubectl on the API server itself, past the gateway.
func (s *kubernetesShow) admin(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"--server=" + s.control.URL, "--certificate-authority=" + s.control.CAFile, "--token=" + s.control.Admin}, args...)
	cmd := exec.CommandContext(ctx, s.program(), args...)
	cmd.Env = append(s.stage.env(), "HOME="+s.path("admin-home"), "KUBECONFIG=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s, past the gateway: %w: %s", strings.Join(args[3:], " "), err, out)
	}
	return string(out), nil
}

// kubectl is one of the agent's, shown.
func (s *kubernetesShow) kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := s.agents(ctx, s.program(), args...)
	s.out.act("agent", "kubectl "+strings.Join(args, " "))
	out, err := cmd.CombinedOutput()
	s.out.output(string(out))
	return string(out), err
}

// agents is a program in the agent's environment: its kubeconfig, and regate in
// PATH, which kubectl calls for a token.
func (s *kubernetesShow) agents(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(append(s.stage.env(), s.settings()...), "HOME="+s.path("home"), "KUBECONFIG="+s.kubeconfig, "PATH="+filepath.Dir(s.program())+":"+os.Getenv("PATH"), "TERM=xterm")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}
