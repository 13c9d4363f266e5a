package kubernetes_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/identity"
)

const streamPolicy = allowAll + `
deny contains {"id": "test/no-shell", "msg": "no shells"} if {
	some word in input.kubernetes.exec.command
	word in {"bash", "zsh"}
}

mask contains {"id": "test/cards", "detect": "credit_card", "method": "redact"} if true

require_approval contains {"id": "test/date", "from": ["group:operators"], "count": 1, "ttl": "15m", "wait": "0s"} if {
	"date" in input.kubernetes.exec.command
}
`

// transports are the ways in which kubectl carries streams.
var transports = map[string]string{"websocket": "env:REGATE_TEST=", "spdy": "env:KUBECTL_REMOTE_COMMAND_WEBSOCKETS=false"}

func TestExec(t *testing.T) {
	g := start(t, streamPolicy)
	for name, env := range transports {
		t.Run(name, func(t *testing.T) { testExec(t, g, env) })
	}
}

func testExec(t *testing.T, g *gateway, env string) {
	ns := g.namespace()
	g.cluster.Pod(t, ns, "p", "line one\ncard 4111 1111 1111 1111\n")
	kubectl := g.kubectl("agent-" + strings.ToLower(filepath.Base(t.Name())))
	agent := func(args ...string) (string, error) { return kubectl(append([]string{env}, args...)...) }
	exec := func(args ...string) (string, error) {
		return agent(append([]string{"-n", ns, "exec", "p"}, args...)...)
	}
	if out, err := exec("--", "echo", "hello"); err != nil || out != "hello\n" {
		t.Errorf("echo: %v %q", err, out)
	}
	if out, err := exec("--", "sh", "-c", "echo out; echo err >&2; exit 3"); err == nil || !strings.Contains(out, "out\n") || !strings.Contains(out, "err\n") || !strings.Contains(out, "exit code 3") {
		t.Errorf("exit code: %v %q", err, out)
	}
	if out, err := exec("--", "sh", "-c", "echo card 4111 1111 1111 1111; echo 4111111111111111 >&2"); err != nil || strings.Contains(out, "1111") || strings.Count(out, "[REDACTED:credit_card]") != 2 {
		t.Errorf("masks: %v %q", err, out)
	}
	if out, err := agent("-n", ns, "exec", "-i", "p", "--", "cat", "stdin:from the agent\n"); err != nil || out != "from the agent\n" {
		t.Errorf("stdin: %v %q", err, out)
	}
	// A megabyte arrives as it is.
	if out, err := exec("--", "sh", "-c", "head -c 1000000 /dev/zero | tr '\\0' x"); err != nil || len(out) != 1000000 {
		t.Errorf("a megabyte: %v, %d bytes", err, len(out))
	}
	if out, err := exec("--", "bash"); err == nil || !strings.Contains(out, "no shells") {
		t.Errorf("denied: %v %q", err, out)
	}
	if out, err := exec("-c", "other", "--", "ls"); err == nil || !strings.Contains(out, "other") {
		t.Errorf("no such container: %v %q", err, out)
	}
	if out, err := agent("-n", ns, "attach", "-i", "p", "stdin:one\ntwo\n"); err != nil || !strings.Contains(out, "echo one\necho two\n") {
		t.Errorf("attach: %v %q", err, out)
	}
	if out, err := agent("-n", ns, "logs", "p"); err != nil || out != "line one\ncard [REDACTED:credit_card]\n" {
		t.Errorf("logs: %v %q", err, out)
	}
	if out, err := exec("--", "date"); err == nil || !strings.Contains(out, "approval/pending") {
		t.Fatalf("held: %v %q", err, out)
	}
	g.approve(g.desk.List(approval.Filter{States: []approval.State{approval.Pending}})[0].ID)
	if out, err := exec("--", "date"); err != nil {
		t.Errorf("approved: %v %q", err, out)
	}
}

func TestRevocationEndsExec(t *testing.T) {
	for name, env := range transports {
		t.Run(name, func(t *testing.T) { testRevocationEndsExec(t, env) })
	}
}

func testRevocationEndsExec(t *testing.T, env string) {
	g := start(t, streamPolicy)
	ns := g.namespace()
	g.cluster.Pod(t, ns, "p", "")
	agent := g.kubectl("agent")
	marker := filepath.Join(t.TempDir(), "started")
	done := make(chan string)
	go func() {
		out, err := agent(env, "-n", ns, "exec", "p", "--", "sh", "-c", "touch "+marker+"; sleep 600")
		done <- out + " " + fmt.Sprint(err)
	}()
	for started := false; !started; {
		select {
		case out := <-done:
			t.Fatal(out)
		case <-time.After(10 * time.Millisecond):
			_, err := os.Stat(marker)
			started = err == nil
		}
	}
	must(t, g.revoked.Add(t.Context(), identity.Revocation{Kind: "subject", Value: "agent", Issuer: g.issuer.URL, Reason: "test", By: "test", At: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
	select {
	case out := <-done:
		if !strings.Contains(out, identity.ReasonRevoked) {
			t.Errorf("kubectl says %q", out)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the exec goes on")
	}
}

// A terminal: its size goes through, and what is typed.
func TestTerminal(t *testing.T) {
	g := start(t, streamPolicy)
	for name, env := range transports {
		t.Run(name, func(t *testing.T) {
			ns := g.namespace()
			g.cluster.Pod(t, ns, "p", "")
			out, err := g.kubectl("agent")(env, "tty:", "-n", ns, "exec", "-it", "p", "--", "sh", "stdin:tty; exit\n")
			if err != nil || !strings.Contains(out, "/dev/pts/") {
				t.Errorf("%v %q", err, out)
			}
		})
	}
}

// copying: a file goes into a pod and comes back as it was.
func TestCopy(t *testing.T) {
	g := start(t, allowAll)
	for name, env := range transports {
		t.Run(name, func(t *testing.T) {
			ns := g.namespace()
			g.cluster.Pod(t, ns, "p", "")
			agent := g.kubectl("agent")
			dir := t.TempDir()
			content := make([]byte, 3<<20)
			_, _ = rand.Read(content)
			must(t, os.WriteFile(filepath.Join(dir, "sent"), content, 0o600))
			if out, err := agent(env, "-n", ns, "cp", filepath.Join(dir, "sent"), "p:"+filepath.Join(dir, "there")); err != nil {
				t.Fatalf("there: %v %s", err, out)
			}
			if out, err := agent(env, "-n", ns, "cp", "p:"+filepath.Join(dir, "there"), filepath.Join(dir, "back")); err != nil {
				t.Fatalf("back: %v %s", err, out)
			}
			back, err := os.ReadFile(filepath.Join(dir, "back"))
			if err != nil || !bytes.Equal(back, content) {
				t.Errorf("%d bytes came back, %v", len(back), err)
			}
		})
	}
}

// What a log says is shown while it is followed, and masked.
func TestFollowedLog(t *testing.T) {
	g := start(t, streamPolicy)
	ns := g.namespace()
	g.cluster.Pod(t, ns, "p", "line one\n")
	req, err := http.NewRequestWithContext(t.Context(), "GET", g.url+"/api/v1/namespaces/"+ns+"/pods/p/log?follow=true", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+g.token("agent"))
	resp, err := g.client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	lines := bufio.NewReader(resp.Body)
	expect := func(want string) {
		t.Helper()
		if got, err := lines.ReadString('\n'); err != nil || got != want {
			t.Fatalf("%q, %v, want %q", got, err, want)
		}
	}
	expect("line one\n")
	g.cluster.Log(t, ns, "p", "card 4111 1111 1111 1111\n")
	expect("card [REDACTED:credit_card]\n")
	g.cluster.Log(t, ns, "p", "line three\n")
	expect("line three\n")
	must(t, g.revoked.Add(t.Context(), identity.Revocation{Kind: "subject", Value: "agent", Issuer: g.issuer.URL, Reason: "test", By: "test", At: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
	if rest, err := io.ReadAll(lines); len(rest) > 0 || err == nil {
		t.Errorf("after revocation: %q %v", rest, err)
	}
}

// upper is a server that answers in capitals, and ends when the client has.
func upper(t *testing.T) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := conn.Read(buffer)
					if _, e := conn.Write(bytes.ToUpper(buffer[:n])); e != nil || err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// forwarding is a kubectl port-forward that runs.
type forwarding struct {
	addresses []string
	said      *logged
	done      chan error
}

func (g *gateway) forward(t *testing.T, env, subject, ns string, ports ...int) *forwarding {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	dir := t.TempDir()
	config := filepath.Join(dir, "config")
	must(t, os.WriteFile(config, fmt.Appendf(nil, `{"apiVersion":"v1","kind":"Config","current-context":"c","clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority":%q}}],"users":[{"name":"c","user":{"token":%q}}],"contexts":[{"name":"c","context":{"cluster":"c","user":"c"}}]}`, g.url, g.ca, g.token(subject)), 0o600))
	args := []string{"-n", ns, "port-forward", "p", "--address=127.0.0.1"}
	for _, p := range ports {
		args = append(args, fmt.Sprintf(":%d", p))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(g.cluster.Programs, "kubectl"), args...)
	cmd.Env = []string{"HOME=" + dir, "KUBECONFIG=" + config, "PATH=" + os.Getenv("PATH"), strings.TrimPrefix(env, "env:")}
	f := &forwarding{said: &logged{}, done: make(chan error, 1)}
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = f.said
	must(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for len(f.addresses) < len(ports) && lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "Forwarding from "); ok {
			address, _, _ := strings.Cut(rest, " ")
			f.addresses = append(f.addresses, address)
		}
	}
	go func() {
		_, _ = io.Copy(io.Discard, out)
		f.done <- cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-f.done
	})
	if len(f.addresses) < len(ports) {
		t.Fatalf("kubectl %v: %s", args, f.said)
	}
	return f
}

// through sends text over a forwarded port and returns what comes back.
func through(t *testing.T, address string, text []byte) []byte {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	go func() {
		_, _ = conn.Write(text)
		_ = conn.(*net.TCPConn).CloseWrite()
	}()
	out, _ := io.ReadAll(conn)
	return out
}

func TestPortForward(t *testing.T) {
	allowed, denied := upper(t), upper(t)
	g := start(t, allowAll+fmt.Sprintf(`
deny contains {"id": "test/port", "msg": "not this port"} if {
	some port in input.kubernetes.ports
	port == %d
}

mask contains {"id": "test/cards", "detect": "credit_card", "method": "redact"} if input.action.stream != "portforward"

mask contains {"id": "test/careful", "detect": "credit_card", "method": "redact"} if input.subject.id == "careful"
`, denied))
	big := bytes.Repeat([]byte("all of it "), 200_000)
	for name, env := range transports {
		if name == "spdy" {
			env = "env:KUBECTL_PORT_FORWARD_WEBSOCKETS=false"
		}
		t.Run(name, func(t *testing.T) {
			ns := g.namespace()
			g.cluster.Pod(t, ns, "p", "")
			subject := "agent-" + name
			f := g.forward(t, env, subject, ns, allowed, denied)
			if got := through(t, f.addresses[0], []byte("hello")); string(got) != "HELLO" {
				t.Errorf("got %q; %s", got, f.said)
			}
			if got := through(t, f.addresses[0], big); !bytes.Equal(got, bytes.ToUpper(big)) {
				t.Errorf("got %d bytes of %d", len(got), len(big))
			}
			if got := through(t, f.addresses[1], []byte("hello")); len(got) > 0 {
				t.Errorf("the denied port answers %q", got)
			}
			waitFor(t, func() bool { return strings.Contains(f.said.String(), "not this port (test/port") })
			// A denied connection ends kubectl's port-forward, as any error does.
			f = g.forward(t, env, subject, ns, allowed)
			conn, err := net.Dial("tcp", f.addresses[0])
			must(t, err)
			defer conn.Close()
			_, err = conn.Write([]byte("open"))
			must(t, err)
			_, err = io.ReadFull(conn, make([]byte, 4))
			must(t, err)
			must(t, g.revoked.Add(t.Context(), identity.Revocation{Kind: "subject", Value: subject, Issuer: g.issuer.URL, Reason: "test", By: "test", At: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			if rest, err := io.ReadAll(conn); len(rest) > 0 || os.IsTimeout(err) {
				t.Errorf("after revocation: %q %v", rest, err)
			}
			if out, err := g.kubectl("careful")(env, "-n", ns, "port-forward", "p", ":80"); err == nil || !strings.Contains(out, "kubernetes/unmaskable") {
				t.Errorf("with a mask: %v %s", err, out)
			}
		})
	}
}

func waitFor(t testing.TB, done func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not happen")
		}
	}
}

// After an upgrade that failed a connection is one of HTTP again, on which every
// request says who it is from.
func TestFailedUpgradeIsNoPipe(t *testing.T) {
	g := start(t, streamPolicy)
	ns := g.namespace()
	g.cluster.Pod(t, ns, "p", "")
	token := g.token("agent")
	upgrade := func(path, protocol, how string) string {
		return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + "\r\nConnection: Upgrade\r\nContent-Length: 0\r\nUpgrade: " + how + "\r\n" + protocol + "\r\n\r\n"
	}
	const after = "GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	pod := "/api/v1/namespaces/" + ns + "/pods/"
	for _, c := range []struct{ name, request, want string }{
		{"no pod", upgrade(pod+"none/exec?command=ls&stdout=1", "X-Stream-Protocol-Version: v4.channel.k8s.io", "SPDY/3.1"), "404 Not Found"},
		{"denied", upgrade(pod+"p/exec?command=bash&stdout=1", "X-Stream-Protocol-Version: v4.channel.k8s.io", "SPDY/3.1"), "no shells"},
		{"no protocol", upgrade(pod+"p/exec?command=ls&stdout=1", "X-A: b", "SPDY/3.1"), "kubernetes/stream"},
		{"another protocol", upgrade(pod+"p/portforward", "X-Stream-Protocol-Version: v9", "SPDY/3.1"), "kubernetes/stream"},
		{"no key", strings.Replace(upgrade(pod+"p/exec?command=ls&stdout=1", "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: v5.channel.k8s.io", "websocket"), "POST", "GET", 1), "400 Bad Request"},
		{"a watch", strings.Replace(upgrade("/api/v1/pods?watch=1", "Sec-WebSocket-Version: 13", "websocket"), "POST", "GET", 1), "kubernetes/upgrade"},
	} {
		out := rawRequest(t, g, c.request+after)
		if !strings.Contains(out, c.want) || strings.Contains(out, "101 Switching") || strings.Contains(out, "SecretList") {
			t.Errorf("%s: want %q in\n%s", c.name, c.want, out)
		}
		if second := strings.LastIndex(out, "HTTP/1.1 "); second > 0 && !strings.HasPrefix(out[second:], "HTTP/1.1 401") {
			t.Errorf("%s: the next request is answered\n%s", c.name, out[second:])
		}
	}
}
