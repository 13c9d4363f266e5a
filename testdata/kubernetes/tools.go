//go:build tools

// Package kubernetes names the programs of a control plane that tests run
// against, so that go.mod and go.sum have what they need.
package kubernetes

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
	_ "k8s.io/kubernetes/cmd/kubectl"
)
