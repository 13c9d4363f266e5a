package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

// step is one command of a scenario.
type step struct {
	name  string
	args  []string
	stdin string
	want  string // in what it prints; "" is anything
}

// steps runs commands one after the other.
func steps(ctx context.Context, at server, prefix, program string, list []step) (map[string]bool, error) {
	config := filepath.Join(at.dir, "kubeconfig")
	if err := kubetest.WriteKubeconfig(config, at.url, at.caFile, at.token); err != nil {
		return nil, err
	}
	results := map[string]bool{}
	log, err := os.OpenFile(filepath.Join(at.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	for _, s := range list {
		limited, cancel := context.WithTimeout(ctx, 3*time.Minute)
		cmd := exec.CommandContext(limited, program, s.args...)
		cmd.Env = []string{"HOME=" + at.dir, "KUBECONFIG=" + config, "PATH=" + os.Getenv("PATH")}
		cmd.Dir = at.dir
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr, cmd.Stdin = &out, &out, strings.NewReader(s.stdin)
		err := cmd.Run()
		cancel()
		results[prefix+s.name] = err == nil && strings.Contains(out.String(), s.want)
		fmt.Fprintf(log, "%s%s: %v\n%s\n", prefix, s.name, err, out.Bytes())
	}
	return results, ctx.Err()
}

const deployment = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"},"spec":{"replicas":1,"selector":{"matchLabels":{"app":"web"}},
"template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"main","image":"none"}]}}}}`

// clients runs what people do with kubectl, by the kubectl that was built and by
// the one of the system.
func clients(ctx context.Context, _ options, at server) (map[string]bool, error) {
	found := map[string]string{"built": filepath.Join(at.programs, "kubectl")}
	if other, err := exec.LookPath("kubectl"); err == nil {
		found["system"] = other
	}
	results := map[string]bool{}
	for name, program := range found {
		ns := "--namespace=" + name
		part, err := steps(ctx, at, name+"/", program, []step{
			{name: "version", args: []string{"version"}, want: "Server Version"},
			{name: "create-namespace", args: []string{"create", "namespace", name}, want: "created"},
			{name: "api-resources", args: []string{"api-resources"}, want: "deployments"},
			{name: "explain", args: []string{"explain", "pods.spec"}, want: "containers"},
			{name: "apply", args: []string{"apply", ns, "-f", "-"}, stdin: deployment, want: "created"},
			{name: "apply-again", args: []string{"apply", ns, "-f", "-"}, stdin: strings.Replace(deployment, `"replicas":1`, `"replicas":2`, 1), want: "configured"},
			{name: "server-side-apply", args: []string{"apply", "--server-side", "--force-conflicts", ns, "-f", "-"}, stdin: deployment, want: "serverside-applied"},
			{name: "diff", args: []string{"diff", ns, "-f", "-"}, stdin: deployment},
			{name: "get", args: []string{"get", "deployments", ns}, want: "web"},
			{name: "get-wide", args: []string{"get", "deployments", ns, "-o", "wide"}, want: "none"},
			{name: "get-yaml", args: []string{"get", "deployment", "web", ns, "-o", "yaml"}, want: "replicas: 1"},
			{name: "get-watch", args: []string{"get", "deployments", ns, "--watch", "--request-timeout=2s"}, want: "web"},
			{name: "describe", args: []string{"describe", "deployment", "web", ns}, want: "Selector"},
			{name: "scale", args: []string{"scale", "deployment", "web", ns, "--replicas=3"}, want: "scaled"},
			{name: "set-image", args: []string{"set", "image", "deployment/web", ns, "main=other"}, want: "image updated"},
			{name: "rollout-restart", args: []string{"rollout", "restart", "deployment/web", ns}, want: "restarted"},
			{name: "patch", args: []string{"patch", "deployment", "web", ns, "-p", `{"spec":{"paused":true}}`}, want: "patched"},
			{name: "json-patch", args: []string{"patch", "deployment", "web", ns, "--type=json", "-p", `[{"op":"remove","path":"/spec/paused"}]`}, want: "patched"},
			{name: "label", args: []string{"label", "deployment", "web", ns, "a=b"}, want: "labeled"},
			{name: "annotate", args: []string{"annotate", "deployment", "web", ns, "a=b"}, want: "annotated"},
			{name: "create-secret", args: []string{"create", "secret", "generic", "db", ns, "--from-literal=password=x"}, want: "created"},
			{name: "get-secret", args: []string{"get", "secret", "db", ns, "-o", "jsonpath={.data.password}"}, want: "eA=="},
			{name: "create-configmap", args: []string{"create", "configmap", "c", ns, "--from-literal=a=b"}, want: "created"},
			{name: "dry-run", args: []string{"create", "configmap", "d", ns, "--from-literal=a=b", "--dry-run=server"}, want: "server dry run"},
			{name: "run", args: []string{"run", "p", ns, "--image=none", `--overrides={"spec":{"nodeName":"node"}}`}, want: "created"},
			{name: "wait", args: []string{"wait", ns, "pod/p", "--for=jsonpath={.spec.nodeName}=node", "--timeout=30s"}, want: "condition met"},
			{name: "events", args: []string{"get", "events", ns}},
			{name: "can-i", args: []string{"auth", "can-i", "create", "pods", ns}, want: "yes"},
			{name: "get-raw", args: []string{"get", "--raw", "/readyz"}, want: "ok"},
			{name: "delete-pod", args: []string{"delete", "pod", "p", ns, "--force", "--grace-period=0"}, want: "deleted"},
			{name: "delete-all", args: []string{"delete", "deployments,configmaps,secrets", ns, "--all"}, want: "deleted"},
		})
		if err != nil {
			return nil, err
		}
		for k, v := range part {
			results[k] = v
		}
	}
	return results, nil
}

// helm takes helm's own chart through its life.
func helm(ctx context.Context, o options, at server) (map[string]bool, error) {
	if o.helm == "" {
		return nil, fmt.Errorf("-helm is missing")
	}
	return steps(ctx, at, "", o.helm, []step{
		{name: "create", args: []string{"create", "shop"}, want: "Creating shop"},
		{name: "install", args: []string{"install", "shop", "./shop"}, want: "STATUS: deployed"},
		{name: "list", args: []string{"list"}, want: "shop"},
		{name: "status", args: []string{"status", "shop"}, want: "REVISION: 1"},
		{name: "upgrade", args: []string{"upgrade", "shop", "./shop", "--set", "replicaCount=3"}, want: "REVISION: 2"},
		{name: "get-values", args: []string{"get", "values", "shop"}, want: "replicaCount: 3"},
		{name: "get-manifest", args: []string{"get", "manifest", "shop"}, want: "replicas: 3"},
		{name: "rollback", args: []string{"rollback", "shop", "1"}, want: "Rollback was a success"},
		{name: "history", args: []string{"history", "shop"}, want: "Rollback to 1"},
		{name: "uninstall", args: []string{"uninstall", "shop"}, want: "uninstalled"},
		{name: "list-empty", args: []string{"list", "-q"}},
	})
}
