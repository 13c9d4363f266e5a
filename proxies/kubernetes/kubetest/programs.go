package kubetest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// repository is the root of this repository.
func repository() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "..")
}

// Programs returns the folder with etcd, kube-apiserver and kubectl. Where they
// are missing it builds them, which takes minutes and says so on standard error.
func Programs() (string, error) {
	cmd := exec.Command(filepath.Join(repository(), ".ci", "kubernetes"))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("build the control plane: %w", err)
	}
	return strings.TrimSpace(string(bytes.TrimSpace(out))), nil
}
