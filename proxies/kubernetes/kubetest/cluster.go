package kubetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// Cluster is a running control plane.
type Cluster struct {
	Dir      string // everything of it
	Programs string // folder of the programs
	URL      string // https://127.0.0.1:port
	CAFile   string
	// Admin may do everything (group system:masters). Gateway is the user
	// "gateway" without rights but those that tests give it.
	Admin, Gateway string // bearer tokens
	AuditLog       string // one JSON event a line, level Metadata

	etcd, server, kubelet, controllers *process
}

var (
	sharedOnce sync.Once
	shared     *Cluster
	sharedErr  error
)

// Shared returns the one control plane of a test binary. The package's TestMain
// calls Main.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	sharedOnce.Do(func() { shared, sharedErr = Start(context.Background(), Options{}) })
	if sharedErr != nil {
		t.Fatal(sharedErr)
	}
	return shared
}

// Main runs a package's tests and stops the shared control plane after them.
func Main(m *testing.M) {
	code := m.Run()
	if shared != nil {
		shared.Stop()
	}
	os.Exit(code)
}

// Options say how a control plane differs from the usual one.
type Options struct {
	// Flags of kube-apiserver, by name without dashes, in place of the usual
	// ones or on top; "" leaves one out.
	Flags map[string]string
	// Tokens are more lines of the file of tokens: token,user,uid,groups.
	Tokens string
	// Controllers is the program kube-controller-manager; "" runs none.
	Controllers string
}

// Start starts a control plane. It dies with this process.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	programs, err := Programs()
	if err != nil {
		return nil, err
	}
	// A port that was free can be taken by somebody else before it is used.
	for try := 0; ; try++ {
		c := &Cluster{Programs: programs}
		err := c.start(ctx, o)
		if err == nil {
			return c, nil
		}
		c.Stop()
		if try == 2 || ctx.Err() != nil {
			return nil, fmt.Errorf("start a control plane: %w", err)
		}
	}
}

const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

func (c *Cluster) start(ctx context.Context, o Options) error {
	var err error
	if c.Dir, err = os.MkdirTemp("", "regate-kubernetes-"); err != nil {
		return err
	}
	ports, err := freePorts(5)
	if err != nil {
		return err
	}
	c.URL = fmt.Sprintf("https://127.0.0.1:%d", ports[0])
	c.AuditLog = c.file("audit.log")
	c.Admin, c.Gateway = token(), token()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"tokens.csv": fmt.Appendf(nil, "%s,admin,admin,system:masters\n%s,gateway,gateway,\n%s", c.Admin, c.Gateway, o.Tokens),
		"sa.key":     pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"audit.yaml": []byte(auditPolicy),
	} {
		if err := os.WriteFile(c.file(name), content, 0o600); err != nil {
			return err
		}
	}
	if err := c.makeCertificates(); err != nil {
		return err
	}
	if c.kubelet, err = c.run(filepath.Join(c.Programs, "kubelet"), fmt.Sprintf("-address=127.0.0.1:%d", ports[3]), "-cert="+c.file("kubelet.pem"), "-client-ca="+c.file("kubelet-ca.pem"), "-logs="+c.file("logs")); err != nil {
		return err
	}
	etcd, peer := fmt.Sprintf("http://127.0.0.1:%d", ports[1]), fmt.Sprintf("http://127.0.0.1:%d", ports[2])
	if c.etcd, err = c.run(filepath.Join(c.Programs, "etcd"), "--name=test", "--data-dir="+c.file("etcd"), "--unsafe-no-fsync",
		"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls="+peer,
		"--initial-advertise-peer-urls="+peer, "--initial-cluster=test="+peer); err != nil {
		return err
	}
	flags := map[string]string{
		"etcd-servers": etcd, "bind-address": "127.0.0.1", "advertise-address": "192.0.2.1", "secure-port": strconv.Itoa(ports[0]),
		"cert-dir": c.file("certs"), "token-auth-file": c.file("tokens.csv"), "authorization-mode": "RBAC", "anonymous-auth": "false",
		"service-cluster-ip-range": "10.0.0.0/24", "service-account-issuer": "https://kubernetes.default.svc",
		"service-account-signing-key-file": c.file("sa.key"), "service-account-key-file": c.file("sa.key"),
		// Nobody makes the default service accounts here, which pods would need.
		"disable-admission-plugins": "ServiceAccount", "enable-priority-and-fairness": "false",
		"kubelet-certificate-authority": c.file("kubelet-ca.pem"), "kubelet-client-certificate": c.file("client.pem"), "kubelet-client-key": c.file("client.pem"),
		"max-requests-inflight": "0", "max-mutating-requests-inflight": "0",
		"audit-policy-file": c.file("audit.yaml"), "audit-log-path": c.AuditLog,
	}
	maps.Copy(flags, o.Flags)
	var args []string
	for name, value := range flags {
		if value != "" {
			args = append(args, "--"+name+"="+value)
		}
	}
	slices.Sort(args)
	if c.server, err = c.run(filepath.Join(c.Programs, "kube-apiserver"), args...); err != nil {
		return err
	}
	c.CAFile = filepath.Join(c.file("certs"), "apiserver.crt")
	if err := c.await(ctx); err != nil {
		return err
	}
	if o.Controllers != "" {
		if err := c.startControllers(o.Controllers, ports[4]); err != nil {
			return err
		}
	}
	return c.makeNode(ctx, ports[3])
}

// startControllers starts kube-controller-manager, which makes the default
// service accounts, pods of deployments, and so on.
func (c *Cluster) startControllers(program string, port int) (err error) {
	config := c.file("controllers.kubeconfig")
	if err := WriteKubeconfig(config, c.URL, c.CAFile, c.Admin); err != nil {
		return err
	}
	c.controllers, err = c.run(program, "--kubeconfig="+config, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port), "--cert-dir="+c.file("controllers"),
		"--leader-elect=false", "--service-account-private-key-file="+c.file("sa.key"), "--root-ca-file="+c.CAFile)
	return err
}

func (c *Cluster) file(name string) string { return filepath.Join(c.Dir, name) }

func (c *Cluster) run(program string, args ...string) (*process, error) {
	out, err := os.Create(c.file(filepath.Base(program) + ".log"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = c.Dir, out, out
	return startProcess(cmd)
}

// await waits until the API server is ready.
func (c *Cluster) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		if c.ready(ctx) {
			return nil
		}
		select {
		case <-c.etcd.done:
			return errors.New("etcd ended: " + c.tail("etcd"))
		case <-c.server.done:
			return errors.New("kube-apiserver ended: " + c.tail("kube-apiserver"))
		case <-ctx.Done():
			return errors.New("kube-apiserver is not ready: " + c.tail("kube-apiserver"))
		case <-tick.C:
		}
	}
}

func (c *Cluster) ready(ctx context.Context) bool {
	client, err := rest.HTTPClientFor(c.Config(c.Admin))
	if err != nil {
		return false // the certificate is not there yet
	}
	defer client.CloseIdleConnections()
	// The namespace is made a little after the server is ready.
	for _, path := range []string{"/readyz", "/api/v1/namespaces/default"} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL+path, nil)
		if err != nil {
			return false
		}
		resp, err := client.Do(req)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return false
		}
	}
	return true
}

func (c *Cluster) tail(program string) string {
	raw, _ := os.ReadFile(c.file(program + ".log"))
	if len(raw) > 3000 {
		raw = raw[len(raw)-3000:]
	}
	return string(raw)
}

// Config is how to reach the API server with a token.
func (c *Cluster) Config(token string) *rest.Config {
	return &rest.Config{Host: c.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAFile: c.CAFile}, QPS: -1}
}

// WriteKubeconfig writes a kubeconfig for a server and a token.
func WriteKubeconfig(file, server, caFile, token string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: %q, certificate-authority: %q}}]
users: [{name: c, user: {token: %q}}]
contexts: [{name: c, context: {cluster: c, user: c}}]
`, server, caFile, token)
	return os.WriteFile(file, []byte(text), 0o600)
}

// Kubectl returns a kubectl that talks to a server with a token. Its home is a
// folder of the test's own, since it caches there what a server offers. First
// arguments such as "env:KEY=value" are its environment, a last one such as
// "stdin:text" its input; "tty:" before all others gives it a terminal.
func (c *Cluster) Kubectl(t testing.TB, server, caFile, token string) func(args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	config := filepath.Join(home, "config")
	if err := WriteKubeconfig(config, server, caFile, token); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (string, error) {
		env := []string{"HOME=" + home, "KUBECONFIG=" + config, "PATH=" + os.Getenv("PATH")}
		for len(args) > 0 && strings.HasPrefix(args[0], "env:") {
			env, args = append(env, strings.TrimPrefix(args[0], "env:")), args[1:]
		}
		terminal := len(args) > 0 && args[0] == "tty:"
		if terminal {
			args = args[1:]
		}
		cmd := exec.CommandContext(t.Context(), filepath.Join(c.Programs, "kubectl"), args...)
		cmd.Env, cmd.Dir = env, home
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if i := len(args) - 1; i >= 0 && strings.HasPrefix(args[i], "stdin:") {
			cmd.Args = cmd.Args[:len(cmd.Args)-1]
			cmd.Stdin = strings.NewReader(strings.TrimPrefix(args[i], "stdin:"))
		}
		if terminal { // script makes one
			line := "'" + strings.Join(cmd.Args, "' '") + "'"
			cmd.Args = []string{"script", "-qefc", line, "/dev/null"}
			if cmd.Path, cmd.Err = exec.LookPath("script"); cmd.Err != nil {
				return "", cmd.Err
			}
		}
		err := cmd.Run()
		return out.String(), err
	}
}

// Stop ends the control plane and removes what it left.
func (c *Cluster) Stop() {
	c.controllers.stop()
	c.server.stop()
	c.kubelet.stop()
	c.etcd.stop()
	if c.Dir != "" {
		_ = os.RemoveAll(c.Dir)
	}
}

func token() string {
	raw := make([]byte, 16)
	_, _ = rand.Read(raw) // it never fails
	return hex.EncodeToString(raw)
}

func freePorts(n int) ([]int, error) {
	var out []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		out = append(out, l.Addr().(*net.TCPAddr).Port)
	}
	return out, nil
}
