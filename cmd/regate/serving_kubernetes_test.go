package main

import (
	"bufio"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/identity/identitytest"
	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

// A gateway in a process of its own, from a configuration file, in front of a
// real API server: kubectl works, a policy denies, a Secret is masked, and the
// session is in the archive after an orderly end.
func TestServeKubernetes(t *testing.T) {
	cluster, err := kubetest.Start(t.Context(), kubetest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Stop)
	issuer := identitytest.New(t)
	dir := t.TempDir()
	borrowed := httptest.NewTLSServer(nil) // it has a certificate for 127.0.0.1
	pair := borrowed.TLS.Certificates[0]
	borrowed.Close()
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "policies"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"policies/p.rego": `# METADATA
# scope: package
# schemas:
#   - input: schema.kubernetes
# custom:
#   regate: {protocols: [kubernetes], mode: enforce}
package regate.policies.acme.cluster

allow contains {"id": "acme.cluster/all"} if true

deny contains {"id": "acme.cluster/no-delete", "msg": "nothing is deleted"} if startswith(input.action.verb, "delete")

mask contains {"id": "acme.cluster/secrets", "field": "secrets:/data", "method": "redact"}
`,
		"tls.crt": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		"tls.key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"token":   cluster.Admin,
		"regate.yaml": fmt.Sprintf(`
log: {format: json}
state: {dir: state}
record: {gateway: gw-test}
admin: {address: "127.0.0.1:0"}
identity: {issuers: [{name: test, url: %q, audiences: [regate], insecure_http: true}]}
policy: {bundles: [{name: main, paths: [policies]}], timeout: 10s}
kubernetes: {listeners: [{address: "127.0.0.1:0", tls: {cert: tls.crt, key: tls.key}}]}
targets: [{name: dev, protocol: kubernetes, kubernetes: {server: %q, ca_file: %q, token_file: token}}]
`, issuer.URL, cluster.URL, cluster.CAFile),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("regate", "serve", "-c", "regate.yaml")
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	logs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	address, running, ended := "", make(chan struct{}), make(chan struct{})
	out := t.Output()
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(logs)
		for lines.Scan() {
			fmt.Fprintln(out, lines.Text())
			var line struct{ Msg, Address string }
			if json.Unmarshal(lines.Bytes(), &line) != nil {
				continue
			}
			switch line.Msg {
			case "listening for the Kubernetes API":
				address = line.Address
			case "regate is running":
				close(running)
			}
		}
	}()
	select {
	case <-running:
	case <-ended:
		t.Fatal("the gateway ended")
	case <-time.After(awaitFor):
		t.Fatal("the gateway does not start")
	}
	token := issuer.Mint(issuer.Claims("regate", time.Now(), map[string]any{"sub": "agent"}))
	kubectl := cluster.Kubectl(t, "https://"+address+"/clusters/dev", filepath.Join(dir, "tls.crt"), token)
	if text, err := kubectl("create", "secret", "generic", "db", "--from-literal=p=hunter2"); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if text, err := kubectl("get", "secret", "db", "-o", "yaml"); err != nil || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("hunter2"))) {
		t.Errorf("%v\n%s", err, text)
	}
	if text, err := kubectl("delete", "secret", "db"); err == nil || !strings.Contains(text, "nothing is deleted (acme.cluster/no-delete") {
		t.Errorf("%v\n%s", err, text)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err := cmd.Wait(); err != nil {
		t.Errorf("the gateway ended with %v", err)
	}
	list := exec.Command("regate", "sessions", "list", "-c", "regate.yaml")
	list.Dir = dir
	text, err := list.CombinedOutput()
	if err != nil || !strings.Contains(string(text), "dev") || !strings.Contains(string(text), "agent") {
		t.Errorf("%v\n%s", err, text)
	}
}

func TestExecCredential(t *testing.T) {
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"exp":1893456000}`))
	for token, want := range map[string]string{
		"e30." + payload + ".x": `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false},"status":{"expirationTimestamp":"2030-01-01T00:00:00Z","token":"e30.` + payload + `.x"}}`,
		"opaque":                `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":{"interactive":false},"status":{"token":"opaque"}}`,
	} {
		got, err := execCredential(token)
		if err != nil || string(got) != want {
			t.Errorf("%v\n got %s\nwant %s", err, got, want)
		}
	}
}
