// Package kubetest runs a real control plane for tests: etcd and kube-apiserver,
// built from Go modules where they are missing (.ci/kubernetes), with kubectl
// beside them. There is no kubelet and no scheduler: objects are stored and
// served, nothing runs.
//
// Only tests import it.
package kubetest
