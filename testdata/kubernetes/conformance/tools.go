//go:build tools

// Package conformance names the programs of Kubernetes' own suites, so that
// go.mod and go.sum have what they need.
package conformance

import (
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/test/e2e"
)
