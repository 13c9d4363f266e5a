// Package kubetest runs a real control plane for tests: etcd and kube-apiserver,
// built from Go modules where they are missing (.ci/kubernetes), with kubectl
// beside them. There is no scheduler and no controller: objects are stored and
// served, nothing runs. What stands for a kubelet has the real one's streaming
// code, so that exec, attach and logs work.
//
// Only tests import it.
package kubetest
