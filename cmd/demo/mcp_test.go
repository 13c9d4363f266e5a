package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestMCP runs the show with MCP servers: the reference servers, the inspector,
// an issuer and the gateway, each a process of its own.
func TestMCP(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	dir := t.TempDir()
	regate := filepath.Join(dir, "regate")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", regate, "./cmd/regate").CombinedOutput(); err != nil {
		t.Fatalf("build regate: %v\n%s", err, out)
	}
	var seen strings.Builder
	if status := run(t.Context(), newScreen(&seen), &mcpShow{}, filepath.Join(dir, "demo"), regate, false); status != 0 {
		t.Fatalf("status %d\n%s", status, seen.String())
	}
	if n := strings.Count(seen.String(), "✓"); n != 9 {
		t.Errorf("%d checks\n%s", n, seen.String())
	}
}
