package main

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestDemo builds regate and runs the whole shows: an agent, what is behind the
// gateway, an issuer and the gateway, each a process of its own.
func TestDemo(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	dir := t.TempDir()
	regate := filepath.Join(dir, "regate")
	// With the flags of make build, so that it is compiled once for both.
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", regate, "./cmd/regate").CombinedOutput(); err != nil {
		t.Fatalf("build regate: %v\n%s", err, out)
	}
	for name, checks := range map[string]int{"postgres": 9, "http": 7, "kubernetes": 9} {
		t.Run(name, func(t *testing.T) {
			var seen strings.Builder
			if status := run(t.Context(), newScreen(&seen), shows[name](), filepath.Join(dir, name), regate, false); status != 0 {
				t.Fatalf("status %d\n%s", status, seen.String())
			}
			if n := strings.Count(seen.String(), "✓"); n != checks {
				t.Errorf("%d checks\n%s", n, seen.String())
			}
		})
	}
}

// TestStop ends the demo while it starts: nothing may be left.
func TestStop(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var seen strings.Builder
	regate, err := exec.LookPath("true") // never gets to run
	if err != nil {
		t.Fatal(err)
	}
	if status := run(ctx, newScreen(&seen), &postgresShow{}, filepath.Join(dir, "demo"), regate, false); status != 130 {
		t.Fatalf("status %d\n%s", status, seen.String())
	}
}
