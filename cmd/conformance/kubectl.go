package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// parts of k8s.io/kubernetes that its kubectl suite reads.
var parts = []string{"hack", "test/cmd", "test/fixtures", "test/e2e/testing-manifests", "third_party/forked/shell2junit", "cluster"}

// kubectlSuite runs Kubernetes' own kubectl suite (test/cmd), each of its
// functions by itself: one that fails does not end the others.
func kubectlSuite(ctx context.Context, o options, at server) (map[string]bool, error) {
	if o.kubernetes == "" {
		return nil, errors.New("-kubernetes is missing")
	}
	u, err := url.Parse(at.url)
	if err != nil {
		return nil, err
	}
	root := filepath.Join(at.dir, "kubernetes")
	for _, part := range parts {
		if err := copyTree(filepath.Join(o.kubernetes, part), filepath.Join(root, part), at.token); err != nil {
			return nil, err
		}
	}
	bin := filepath.Join(root, "_output", "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return nil, err
	}
	if err := os.Symlink(filepath.Join(at.programs, "kubectl"), filepath.Join(bin, "kubectl")); err != nil {
		return nil, err
	}
	harness, err := filepath.Abs("testdata/kubernetes/conformance/kubectl.sh")
	if err != nil {
		return nil, err
	}
	results := filepath.Join(at.dir, "results")
	log, err := os.Create(filepath.Join(at.dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "bash", harness)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "SECURE_API_PORT="+u.Port(), "TOKEN="+at.token, "RESULTS="+results, "LOGS="+at.dir, "TERM=xterm",
		"ONLY="+strings.ReplaceAll(o.only, ",", " "))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w; see %s", err, log.Name())
	}
	raw, err := os.ReadFile(results)
	if err != nil {
		return nil, err
	}
	out := map[string]bool{}
	for line := range strings.Lines(string(raw)) {
		name, result, _ := strings.Cut(strings.TrimSpace(line), " ")
		out[name] = result == "pass"
	}
	return out, nil
}

// copyTree copies a folder of a module, which is read-only and whose scripts
// have lost that they are programs, and puts the token in the place of the
// suite's own.
func copyTree(from, to, token string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if strings.HasSuffix(path, ".go") {
			return nil // the suite needs none, and the go command would take it for ours
		}
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text := strings.ReplaceAll(string(raw), "admin-token", token)
		return os.WriteFile(filepath.Join(to, rel), []byte(text), 0o755)
	})
}
