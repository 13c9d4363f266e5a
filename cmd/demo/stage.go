package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// stage is everything that the demo starts.
type stage struct {
	out    *screen
	dir    string // absolute
	regate string // absolute
	lock   *os.File

	show      show
	processes []*process // in the order in which they were started

	issuerURL string
	adminURL  string
}

// newStage takes an empty folder for this demo alone.
func newStage(dir, regate string, out *screen, show show) (*stage, error) {
	var err error
	s := &stage{out: out, show: show}
	if s.dir, err = filepath.Abs(dir); err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	if s.regate, err = filepath.Abs(regate); err != nil {
		return nil, fmt.Errorf("regate: %w", err)
	}
	if _, err := os.Stat(s.regate); err != nil {
		return nil, fmt.Errorf("no regate binary, run make build: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(s.dir), 0o755); err != nil {
		return nil, fmt.Errorf("folder: %w", err)
	}
	if s.lock, err = os.OpenFile(s.dir+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("lock: %w", err)
	}
	if err := syscall.Flock(int(s.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, fmt.Errorf("another demo runs in %s; stop it, or choose another folder with -dir", s.dir)
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return nil, fmt.Errorf("empty the folder: %w", err)
	}
	for _, sub := range []string{"", "state", "secrets", "cache"} {
		if err := os.MkdirAll(filepath.Join(s.dir, sub), 0o755); err != nil {
			return nil, fmt.Errorf("folder: %w", err)
		}
	}
	return s, nil
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

// start starts what is behind the gateway, the issuer and the gateway, and waits
// until they work.
func (s *stage) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := s.show.open(ctx, s); err != nil {
		return err
	}
	if err := s.startIssuer(ctx); err != nil {
		return err
	}
	if err := s.startGateway(ctx); err != nil {
		return err
	}
	s.show.intro()
	return nil
}

// spawn starts a process that is stopped with everything else. Its log is
// NAME.log.
func (s *stage) spawn(name string, env []string, program string, args ...string) (*process, error) {
	p, err := startProcess(name, s.dir, env, program, args...)
	if err == nil {
		s.processes = append(s.processes, p)
	}
	return p, err
}

// shown is a file's name as people would type it.
func (s *stage) shown(name string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, s.path(name)); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return s.path(name)
}

// signers are who signs in to the console.
func (s *stage) signers() []person {
	var list []person
	for _, who := range s.show.people() {
		if slices.Contains(who.roles, "viewer") {
			list = append(list, who)
		}
	}
	return list
}

func (s *stage) startIssuer(ctx context.Context) error {
	var config strings.Builder
	fmt.Fprintf(&config, "audiences: [regate]\ntoken_lifetime: 1h\nclients:\n")
	for _, who := range s.show.people() {
		file := s.path("secrets/" + who.name)
		if err := os.WriteFile(file, []byte(rand.Text()+"\n"), 0o600); err != nil {
			return fmt.Errorf("secret: %w", err)
		}
		fmt.Fprintf(&config, "  - {id: %s, secret: %q, groups: [%s]}\n", who.name, "file:"+file, who.group)
	}
	config.WriteString("users:\n")
	for _, who := range s.signers() {
		fmt.Fprintf(&config, "  - {id: %s, groups: [%s]}\n", who.name, who.group)
	}
	if err := os.WriteFile(s.path("issuer.yaml"), []byte(config.String()), 0o600); err != nil {
		return fmt.Errorf("configure the issuer: %w", err)
	}
	address, err := freeAddress()
	if err != nil {
		return err
	}
	s.issuerURL = "http://" + address
	issuer, err := s.spawn("issuer", s.env(), s.regate, "dev-issuer", "--config", s.path("issuer.yaml"), "--listen", address)
	if err != nil {
		return err
	}
	if err := s.answers(ctx, issuer, s.issuerURL+"/.well-known/openid-configuration"); err != nil {
		return err
	}
	var profiles strings.Builder
	profiles.WriteString("profiles:\n")
	for _, who := range s.show.people() {
		fmt.Fprintf(&profiles, "  %s: {issuer: %q, client_id: %s, client_secret: %q}\n", who.name, s.issuerURL, who.name, "file:"+s.path("secrets/"+who.name))
	}
	if err := os.WriteFile(s.path("token.yaml"), []byte(profiles.String()), 0o600); err != nil {
		return fmt.Errorf("profiles: %w", err)
	}
	return nil
}

func (s *stage) startGateway(ctx context.Context) error {
	admin, err := freeAddress()
	if err != nil {
		return err
	}
	s.adminURL = "http://" + admin
	config, err := s.config(admin)
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("regate.yaml"), []byte(config), 0o600); err != nil {
		return fmt.Errorf("configure the gateway: %w", err)
	}
	gateway, err := s.spawn("gateway", append(s.env(), s.show.env()...), s.regate, "serve", "--config", s.path("regate.yaml"))
	if err != nil {
		return err
	}
	return s.answers(ctx, gateway, s.adminURL+"/readyz")
}

// config is the gateway's configuration.
func (s *stage) config(admin string) (string, error) {
	var paths, roles strings.Builder
	for _, p := range s.show.bundles() {
		abs, err := filepath.Abs(p)
		if err != nil {
			return "", fmt.Errorf("bundle: %w", err)
		}
		fmt.Fprintf(&paths, "        - %q\n", abs)
	}
	for _, role := range []string{"viewer", "approver", "auditor", "operator"} {
		var groups []string
		for _, who := range s.show.people() {
			if slices.Contains(who.roles, role) {
				groups = append(groups, who.group)
			}
		}
		fmt.Fprintf(&roles, "    %s: {groups: [%s]}\n", role, strings.Join(groups, ", "))
	}
	own, err := s.show.config()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`# Written by the demo.
admin:
  address: %q
  console: {client_id: regate-console}
  roles:
%sstate: {dir: %q}
record: {gateway: demo}
identity:
  issuers:
    - name: dev
      url: %q
      audiences: [regate]
      insecure_http: true
policy:
  bundles:
    - name: demo
      paths:
%s%s`, admin, roles.String(), s.path("state"), s.issuerURL, paths.String(), own), nil
}

// env is the environment of what we start: ours, without what would change
// regate's configuration, and with a cache of its own.
func (s *stage) env() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "REGATE_") && !strings.HasPrefix(e, "XDG_CACHE_HOME=") {
			env = append(env, e)
		}
	}
	return append(env, "XDG_CACHE_HOME="+s.path("cache"))
}

// settings are the environment that regate's commands need here.
func (s *stage) settings() []string {
	return []string{"REGATE_URL=" + s.adminURL, "REGATE_CONFIG=" + s.path("regate.yaml"), "REGATE_TOKEN_CONFIG=" + s.path("token.yaml")}
}

// answers waits until a URL answers 200.
func (s *stage) answers(ctx context.Context, p *process, target string) error {
	for {
		var last error
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
		if err != nil {
			return err
		}
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
			last = fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(body))
		} else {
			last = err
		}
		if err := p.ended(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %w)", p.name, ctx.Err(), last)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// run runs regate as a person would at a prompt, shows it, and returns what it
// printed.
func (s *stage) run(ctx context.Context, who string, args ...string) (string, error) {
	s.out.act(who, "regate "+strings.Join(args, " "))
	out, err := s.quiet(ctx, args...)
	s.out.output(out)
	return out, err
}

// quiet runs regate without showing it.
func (s *stage) quiet(ctx context.Context, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.regate, args...)
	cmd.Env = append(s.env(), s.settings()...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("regate %s: %w: %s", args[0], err, bytes.TrimSpace(out))
	}
	return string(out), nil
}

// token gets an identity's token.
func (s *stage) token(ctx context.Context, who string) (string, error) {
	out, err := s.quiet(ctx, "token", "--profile", who)
	return strings.TrimSpace(out), err
}

// command is how a person would run regate here.
func (s *stage) command() string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, s.regate); err == nil && !strings.HasPrefix(rel, "..") {
			return rel
		}
	}
	return s.regate
}

// invite says how to try what runs.
func (s *stage) invite() {
	s.out.line("\nIt goes on running until Ctrl-C. Try it, in another terminal:\n")
	for _, v := range s.settings() {
		s.out.line("  export " + v)
	}
	s.show.invite()
	var who []string
	for _, p := range s.signers() {
		who = append(who, p.name+" ("+strings.Join(p.roles, ", ")+")")
	}
	s.out.line(fmt.Sprintf("\nThe console: %s. Sign in as %s; there is no password.", s.adminURL, strings.Join(who, " or ")))
	var logs []string
	for _, p := range s.processes {
		logs = append(logs, s.shown(p.name+".log"))
	}
	s.out.line(fmt.Sprintf("\nPolicies: %s (they are watched: edit them). Logs: %s", strings.Join(s.show.bundles(), ", "), strings.Join(logs, ", ")))
}

// wait returns when ctx ends, or with an error when something ends by itself.
func (s *stage) wait(ctx context.Context) error {
	ended := make(chan error, len(s.processes))
	for _, p := range s.processes {
		go func() {
			select {
			case <-ctx.Done():
			case <-p.done:
				ended <- p.ended()
			}
		}()
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-ended:
		return err
	}
}

// showLogs shows the end of the logs, after a failure.
func (s *stage) showLogs() {
	for _, p := range slices.Backward(s.processes) {
		log, err := os.ReadFile(p.log)
		if err != nil || len(bytes.TrimSpace(log)) == 0 {
			continue
		}
		if len(log) > 3000 {
			log = log[len(log)-3000:]
		}
		s.out.line("\nlog of the " + p.name + ":")
		s.out.output(string(log))
	}
}

// stop stops what was started, in reverse order.
func (s *stage) stop() error {
	var errs []error
	for _, p := range slices.Backward(s.processes) {
		errs = append(errs, p.stop())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return errors.Join(errors.Join(errs...), s.show.close(ctx), s.lock.Close())
}

// freeAddress finds a free loopback port.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
