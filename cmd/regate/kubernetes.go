package main

import (
	"errors"
	"fmt"
	"slices"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/regate-dev/regate/engine/config"
	"github.com/regate-dev/regate/proxies/kubernetes"
)

// kubernetesTarget translates one target of the configuration. Its files are
// read here, or where a token file's content is used, each time that changes.
func kubernetesTarget(t config.Target) (kubernetes.Target, error) {
	k := t.Kubernetes
	out := kubernetes.Target{
		Name: t.Name, Labels: t.Labels, Hosts: k.Hosts,
		Impersonate: kubernetes.Impersonation{
			Enabled: k.Impersonate.Enabled, UserPrefix: k.Impersonate.UserPrefix, GroupPrefix: k.Impersonate.GroupPrefix, Groups: k.Impersonate.Groups,
		},
	}
	var err error
	switch {
	case k.InCluster:
		out.Upstream, err = rest.InClusterConfig()
	case k.Kubeconfig != "":
		out.Upstream, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
			&clientcmd.ClientConfigLoadingRules{ExplicitPath: k.Kubeconfig}, &clientcmd.ConfigOverrides{CurrentContext: k.Context}).ClientConfig()
	default:
		out.Upstream = &rest.Config{
			Host: k.Server, BearerTokenFile: k.TokenFile,
			TLSClientConfig: rest.TLSClientConfig{CAFile: k.CAFile, ServerName: k.ServerName, CertFile: k.CertFile, KeyFile: k.KeyFile},
		}
	}
	if err == nil && out.Upstream.Insecure {
		err = errors.New("the kubeconfig says insecure-skip-tls-verify: the server's certificate must be checked")
	}
	if err == nil {
		err = out.Check()
	}
	if err != nil {
		return out, fmt.Errorf("target %q: %w", t.Name, err)
	}
	return out, nil
}

// kubernetesTargets translates all of them and reports every one that cannot
// work.
func kubernetesTargets(cfg *config.Config) ([]kubernetes.Target, error) {
	var out []kubernetes.Target
	var errs []error
	for _, t := range cfg.Targets {
		if t.Protocol != "kubernetes" {
			continue
		}
		target, err := kubernetesTarget(t)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, target)
	}
	return out, errors.Join(errs...)
}

// ofProtocol are the targets of one protocol.
func ofProtocol(targets []config.Target, protocol string) []config.Target {
	return slices.DeleteFunc(slices.Clone(targets), func(t config.Target) bool { return t.Protocol != protocol })
}
