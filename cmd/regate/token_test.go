package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// lineWriter lets a test wait for a line of output.
type lineWriter struct {
	mu   sync.Mutex
	buf  bytes.Buffer
	want string
	seen chan struct{}
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf.Write(p)
	if w.seen != nil && strings.Contains(w.buf.String(), w.want) {
		close(w.seen)
		w.seen = nil
	}
	return len(p), nil
}

// startDevIssuer runs `regate dev-issuer` until the test ends and returns its
// URL.
func startDevIssuer(t *testing.T, args ...string) string {
	t.Helper()
	seen := make(chan struct{})
	out := &lineWriter{want: "ready\n", seen: seen}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cmd := newDevIssuerCmd()
	cmd.SetArgs(append([]string{"--listen", "127.0.0.1:0"}, args...))
	cmd.SetOut(out)
	cmd.SetErr(io.Discard)
	go func() { done <- cmd.ExecuteContext(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("dev-issuer: %v", err)
		}
	})
	select {
	case <-seen:
	case err := <-done:
		done <- nil
		t.Fatalf("dev-issuer: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("dev-issuer is not ready")
	}
	out.mu.Lock()
	defer out.mu.Unlock()
	return regexp.MustCompile(`(?m)^issuer +(\S+)$`).FindStringSubmatch(out.buf.String())[1]
}

func runToken(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	var out, errOut bytes.Buffer
	cmd := newTokenCmd()
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	err = cmd.ExecuteContext(t.Context())
	return out.String(), errOut.String(), err
}

// home gives the commands folders of their own.
func home(t *testing.T) (configDir, cacheDir string) {
	t.Helper()
	configDir, cacheDir = t.TempDir(), t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", configDir)
	t.Setenv("XDG_CACHE_HOME", cacheDir)
	return configDir, cacheDir
}

func TestTokenPrintsOnlyTheToken(t *testing.T) {
	_, cacheDir := home(t)
	url := startDevIssuer(t, "--client", "agent:s3cret:analysts", "--user", "carol:dba")
	t.Setenv("AGENT_SECRET", "s3cret")
	args := []string{"--issuer", url, "--client-id", "agent", "--client-secret", "env:AGENT_SECRET"}
	first, stderr, err := runToken(t, args...)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`^[\w-]+\.[\w-]+\.[\w-]+\n$`).MatchString(first) || stderr != "" {
		t.Errorf("printed %q and %q", first, stderr)
	}
	if again, _, err := runToken(t, args...); err != nil || again != first {
		t.Errorf("the second call printed another token, or %v", err)
	}
	files, err := filepath.Glob(filepath.Join(cacheDir, "regate", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if err := os.Chmod(files[0], 0o644); err != nil {
		t.Fatal(err)
	}
	if again, _, err := runToken(t, args...); err != nil || again == first {
		t.Errorf("a token from a file that others can read was used, or %v", err)
	}
	if fresh, _, err := runToken(t, append(args, "--no-cache")...); err != nil || fresh == first {
		t.Errorf("--no-cache printed a kept token, or %v", err)
	}
}

func TestTokenSettings(t *testing.T) {
	configDir, _ := home(t)
	url := startDevIssuer(t, "--client", "agent:s3cret:analysts")
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(configDir, "regate"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(configDir, "regate", "token.yaml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	good := "profiles:\n  default: {issuer: \"" + url + "\", client_id: nobody, client_secret: \"file:" + secret + "\"}\n  Team.A: {issuer: \"" + url + "\", client_id: agent, client_secret: \"file:" + secret + "\"}\n"
	write(good)
	if _, _, err := runToken(t, "--profile", "Team.A"); err != nil {
		t.Errorf("a profile: %v", err)
	}
	if _, _, err := runToken(t); err == nil {
		t.Error("the default profile names a client that is not there, and got a token")
	}
	if _, _, err := runToken(t, "--client-id", "agent"); err != nil {
		t.Errorf("a flag over the default profile: %v", err)
	}
	t.Setenv("REGATE_TOKEN_CLIENT_ID", "agent")
	if _, _, err := runToken(t); err != nil {
		t.Errorf("the environment over the default profile: %v", err)
	}
	if _, stderr, err := runToken(t, "--client-secret", "s3cret"); err != nil || !strings.Contains(stderr, "warning") {
		t.Errorf("a literal secret: %q, %v", stderr, err)
	}
	t.Setenv("REGATE_TOKEN_CLIENT_SECRET", "s3cret")
	if _, stderr, err := runToken(t, "--no-cache"); err != nil || stderr != "" {
		t.Errorf("a secret in the environment: %q, %v", stderr, err)
	}
	for name, run := range map[string]func() error{
		"missing profile": func() error { _, _, err := runToken(t, "--profile", "none"); return err },
		"missing file":    func() error { _, _, err := runToken(t, "--token-config", "/nowhere/token.yaml"); return err },
		"unset variable":  func() error { _, _, err := runToken(t, "--client-secret", "env:NOT_SET_AT_ALL"); return err },
		"http issuer":     func() error { _, _, err := runToken(t, "--issuer", "http://example.com"); return err },
		"unknown key": func() error {
			write("profiles: {default: {issuer: x, clientid: y}}")
			_, _, err := runToken(t)
			return err
		},
		"unknown top key": func() error {
			write("profile: {}")
			_, _, err := runToken(t)
			return err
		},
	} {
		if err := run(); err == nil {
			t.Errorf("%s: no error", name)
		} else if strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
}

func TestTokenWantsIssuerAndClient(t *testing.T) {
	home(t)
	_, _, err := runToken(t)
	var usage *usageError
	if !errors.As(err, &usage) {
		t.Errorf("got %v, want a usage error", err)
	}
}

func TestDevIssuerReadsAFile(t *testing.T) {
	home(t)
	file := filepath.Join(t.TempDir(), "dev.yaml")
	t.Setenv("AGENT_SECRET", "s3cret")
	if err := os.WriteFile(file, []byte("audiences: [regate]\ntoken_lifetime: 2m\nclients:\n  - {id: agent, secret: env:AGENT_SECRET, subject: alice, groups: [a], scopes: [db:read], actor: {subject: bot}}\nusers:\n  - {id: carol, name: Carol, groups: [dba]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := startDevIssuer(t, "--config", file)
	if _, _, err := runToken(t, "--issuer", url, "--client-id", "agent", "--client-secret", "env:AGENT_SECRET", "--scope", "db:read"); err != nil {
		t.Error(err)
	}
}

func TestDevIssuerRefuses(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("client: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--listen", "0.0.0.0:0"},
		{"--listen", ":9400"},
		{"--client", "no-secret"},
		{"--user", ":x"},
		{"--config", bad},
		{"--issuer", "http://example.com", "--listen", "127.0.0.1:0"},
	} {
		cmd := newDevIssuerCmd()
		cmd.SetArgs(args)
		cmd.SetOut(io.Discard)
		cmd.SetErr(io.Discard)
		if err := cmd.ExecuteContext(t.Context()); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
