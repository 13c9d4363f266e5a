package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

func (p *kubernetesShow) steps() []step {
	return []step{
		{"The agent reads pods. kubectl gets its token from regate, and shows what policy lets it see", p.read},
		{"The agent tries to delete a namespace", p.remove},
		{"The agent scales a production deployment. Somebody else has to approve", p.scale},
		{"The agent opens a shell in a pod. It is recorded as the agent sees it", p.shell},
		{"The agent's token is revoked while a command runs", p.revoke},
		{"What happened can be seen again, and proved", p.replay},
	}
}

func (p *kubernetesShow) read(ctx context.Context) error {
	out, err := p.run(ctx, "agent", "kubeconfig", "prod", "--server", "https://"+p.proxy, "--gateway-ca-file", p.path("tls.crt"), "--namespace", "shop", "--command", p.regate, "--profile", clusterAgent)
	if err != nil {
		return err
	}
	p.kubeconfig = p.path("kubeconfig")
	if err := os.WriteFile(p.kubeconfig, []byte(out), 0o600); err != nil {
		return err
	}
	if out, err = p.kubectl(ctx, "get", "pods"); err != nil || !strings.Contains(out, "web-0") {
		return fmt.Errorf("get pods: %w", err)
	}
	const env = "{range .spec.containers[0].env[*]}{.name}={.value}{\"\\n\"}{end}"
	if out, err = p.kubectl(ctx, "get", "pod", "web-0", "-o", "jsonpath="+env); err != nil {
		return fmt.Errorf("get pod: %w", err)
	}
	if !strings.Contains(out, "LOG_LEVEL=[REDACTED]") || !strings.Contains(out, "DATABASE_PASSWORD=[REDACTED]") || strings.Contains(out, databasePassword) {
		return errors.New("the environment is not masked")
	}
	real, err := p.admin(ctx, "-n", "shop", "get", "pod", "web-0", "-o", "jsonpath="+env)
	if err != nil {
		return err
	}
	if !strings.Contains(real, "DATABASE_PASSWORD="+databasePassword) {
		return fmt.Errorf("the cluster itself holds %q", real)
	}
	p.out.check("values of environment variables are masked; the cluster holds the real ones")
	return nil
}

func (p *kubernetesShow) remove(ctx context.Context) error {
	out, err := p.kubectl(ctx, "delete", "namespace", "shop")
	if err == nil || !strings.Contains(out, "regate.k8s_destruction/never") {
		return fmt.Errorf("the namespace's deletion was not refused by policy: %v", err)
	}
	phase, err := p.admin(ctx, "get", "namespace", "shop", "-o", "jsonpath={.status.phase}")
	if err != nil {
		return err
	}
	if phase != "Active" {
		return fmt.Errorf("the namespace is %q", phase)
	}
	p.out.check("refused with the reason; the namespace is %s", strings.ToLower(phase))
	return nil
}

// replicas asks the cluster itself.
func (p *kubernetesShow) replicas(ctx context.Context, want string) error {
	got, err := p.admin(ctx, "-n", "shop", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
	if err == nil && got != want {
		err = fmt.Errorf("the deployment has %s replicas, want %s", got, want)
	}
	return err
}

func (p *kubernetesShow) scale(ctx context.Context) error {
	done := make(chan error, 1)
	go func() {
		out, err := p.kubectl(ctx, "scale", "deployment", "web", "--replicas=1")
		if err == nil && !strings.Contains(out, "scaled") {
			err = fmt.Errorf("kubectl says %q", out)
		}
		done <- err
	}()
	id, err := p.pending(ctx, done)
	if err != nil {
		return err
	}
	p.approval = id
	if err := p.replicas(ctx, "3"); err != nil {
		return err
	}
	p.out.say("It waits. Nothing has reached the cluster. The agent tries to approve its own request:")
	out, err := p.as(ctx, clusterAgent, "approvals", "approve", id)
	if err == nil || !strings.Contains(out, "its own request") {
		return fmt.Errorf("the requester was not kept from approving its own request: %s", out)
	}
	p.out.check("the requester cannot approve")
	p.out.say("Petra, of the platform team, looks at it and approves:")
	if _, err := p.as(ctx, clusterApprover, "approvals", "show", id); err != nil {
		return err
	}
	if _, err := p.as(ctx, clusterApprover, "approvals", "approve", id); err != nil {
		return err
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("the approved scale: %w", err)
		}
	case <-time.After(patience):
		return errors.New("the approved scale did not run")
	}
	if err := p.replicas(ctx, "1"); err != nil {
		return err
	}
	p.out.check("approved by another identity; the same kubectl command went through")
	return nil
}

// pending waits until a request is held.
func (p *kubernetesShow) pending(ctx context.Context, done <-chan error) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		out, err := p.quiet(ctx, "approvals", "list", "--profile", clusterApprover, "-o", "json")
		if err != nil {
			return "", err
		}
		if id := approvalID.FindString(out); id != "" {
			return id, nil
		}
		select {
		case err := <-done:
			return "", fmt.Errorf("the scale was not held: %v", err)
		case <-ctx.Done():
			return "", errors.New("the scale was not held: no approval is asked for")
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (p *kubernetesShow) shell(ctx context.Context) error {
	file := p.path("customers.txt")
	// script gives kubectl the terminal that it needs for -t.
	const line = "kubectl exec -it web-0 -- sh"
	p.out.act("agent", line)
	cmd := p.agents(ctx, "script", "-qefc", line, "/dev/null")
	cmd.Stdin = strings.NewReader("cat " + file + "\nexit\n")
	out, err := cmd.CombinedOutput()
	p.out.output(strings.ReplaceAll(string(out), "\r", ""))
	if err != nil {
		return fmt.Errorf("kubectl exec: %w", err)
	}
	if !bytes.Contains(out, []byte("Ann Example  [REDACTED:credit_card]")) || bytes.Contains(out, []byte(cardNumber)) {
		return errors.New("the card is not masked")
	}
	p.out.check("what the shell prints is masked where it holds a card number; the file holds %s", cardNumber)
	return nil
}

func (p *kubernetesShow) revoke(ctx context.Context) error {
	token, err := p.token(ctx, clusterAgent)
	if err != nil {
		return err
	}
	id, err := tokenID(token)
	if err != nil {
		return err
	}
	const line = "exec web-0 -- sh -c 'echo working; sleep 600'"
	p.out.act("agent", "kubectl "+line)
	cmd := p.agents(ctx, p.program(), "exec", "web-0", "--", "sh", "-c", "echo working; sleep 600")
	var said bytes.Buffer
	cmd.Stderr = &said
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "working\n" {
		_ = cmd.Process.Kill()
		return fmt.Errorf("the command does not run: %w: %s", err, said.String())
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	if _, err := p.as(ctx, operator, "revoke", "token", id, "--reason", "demo"); err != nil {
		return err
	}
	select {
	case err := <-ended:
		p.out.output(said.String())
		if err == nil || !strings.Contains(said.String(), "revoked") {
			return fmt.Errorf("the command ended otherwise: %v", err)
		}
	case <-time.After(patience):
		_ = cmd.Process.Kill()
		return errors.New("the command was not cut")
	}
	p.out.check("the running command was cut, and kubectl says why")
	return nil
}

func (p *kubernetesShow) replay(ctx context.Context) error {
	id, err := p.archived(ctx, clusterAgent, func(s session) bool { return s.Denials > 0 && s.Holds > 0 })
	if err != nil {
		return err
	}
	out, err := p.quiet(ctx, "sessions", "replay", id)
	if err != nil {
		return err
	}
	for _, want := range []string{"regate.k8s_destruction/never", p.approval, "pods/exec", "Ann Example  [REDACTED:credit_card]", "typed: \"cat "} {
		if !strings.Contains(out, want) {
			return fmt.Errorf("the replay does not show %q:\n%s", want, out)
		}
	}
	for _, secret := range []string{databasePassword, cardNumber} {
		if strings.Contains(out, secret) {
			return fmt.Errorf("the replay shows what was masked: %s", secret)
		}
	}
	// All of it is long, for kubectl asks much: the shell is shown.
	p.out.act(operator, "regate sessions replay "+id)
	if i := strings.Index(out, "exec shop/web-0"); i >= 0 {
		from := strings.LastIndexByte(out[:i], '\n') + 1
		to := strings.Index(out[i:], "\n\n")
		if to < 0 {
			to = len(out) - i
		}
		p.out.output("…\n" + out[from:i+to] + "\n…")
	}
	p.out.check("the recording shows the requests, the refusal, the approval and the shell, masked")
	if out, err = p.quiet(ctx, "sessions", "cast", id); err == nil || !strings.Contains(out, "--turn ") {
		return fmt.Errorf("two commands were run in the pod, and one cast is made of them: %w: %s", err, out)
	}
	turn := strings.Fields(out[strings.Index(out, "--turn "):])[1]
	if _, err := p.run(ctx, operator, "sessions", "cast", id, "--turn", turn, "-o", p.path("shell.cast")); err != nil {
		return err
	}
	events, err := castEvents(p.path("shell.cast"))
	if err != nil {
		return err
	}
	p.out.check("%s is an asciicast of %d events: asciinema plays it", p.shown("shell.cast"), events)
	if _, err := p.run(ctx, operator, "verify"); err != nil {
		return err
	}
	p.out.check("nothing in it was changed, removed or added since")
	return nil
}

// castEvents reads an asciicast and counts its events.
func castEvents(name string) (int, error) {
	raw, err := os.ReadFile(name)
	if err != nil {
		return 0, err
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	var head struct{ Version, Width, Height int }
	if err := json.Unmarshal([]byte(lines[0]), &head); err != nil || head.Version != 2 || head.Width == 0 || head.Height == 0 {
		return 0, fmt.Errorf("the cast begins with %s", lines[0])
	}
	var shown, typed strings.Builder
	for _, line := range lines[1:] {
		var e [3]any
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return 0, fmt.Errorf("event %s: %w", line, err)
		}
		switch text, _ := e[2].(string); e[1] {
		case "o":
			shown.WriteString(text)
		case "i":
			typed.WriteString(text)
		}
	}
	if !strings.Contains(shown.String(), "[REDACTED:credit_card]") || !strings.Contains(typed.String(), "exit") {
		return 0, fmt.Errorf("the cast shows %q and %q", shown.String(), typed.String())
	}
	return len(lines) - 1, nil
}
