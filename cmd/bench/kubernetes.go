package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

// The API server is the slow part on a small machine, so what is compared is
// each proxy's own CPU time for a request, of /proc; and all of it once more
// against an upstream that only sends what the API server answered before.

// pods is how many there are in the namespace that is listed.
const pods = 1000

// benchPolicy allows everything, and masks values of environment variables for
// the agents of the group "masked".
const benchPolicy = `package regate.policies.test.bench
allow contains {"id": "bench/all"} if true
mask contains {"id": "bench/env", "field": "pods:/spec/containers/env/value", "method": "redact"} if "masked" in input.subject.groups
`

// work is one kind of request.
type work struct {
	name   string
	path   string
	accept string
	n      int    // requests of a round
	masked bool   // by regate alone
	until  string // the answer ends after this, "" at its end
}

const (
	podPath  = "/api/v1/namespaces/bench/pods"
	protobuf = "application/vnd.kubernetes.protobuf"
	table    = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
	streamed = podPath + "?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
	waiting  = podPath + "?watch=1&allowWatchBookmarks=true&labelSelector=none%3Dnone&timeoutSeconds=3000"
	listEnd  = "k8s.io/initial-events-end"
)

var works = []work{
	{name: "get_json", path: podPath + "/web-1", accept: "application/json", n: 1000},
	{name: "get_protobuf", path: podPath + "/web-1", accept: protobuf, n: 1000},
	{name: "get_json_masked", path: podPath + "/web-1", accept: "application/json", n: 1000, masked: true},
	{name: "list_protobuf", path: podPath, accept: protobuf, n: 40},
	{name: "list_json", path: podPath, accept: "application/json", n: 40},
	{name: "list_table", path: podPath, accept: table, n: 40},
	{name: "list_json_masked", path: podPath, accept: "application/json", n: 40, masked: true},
	{name: "list_table_masked", path: podPath, accept: table, n: 40, masked: true},
	{name: "watch_1000_json", path: streamed, accept: "application/json", n: 8, until: listEnd},
	{name: "watch_1000_json_masked", path: streamed, accept: "application/json", n: 8, masked: true, until: listEnd},
}

// kubernetesBench measures ways to an API server.
func kubernetesBench(ctx context.Context, o options) ([]figure, error) {
	dir, err := filepath.Abs(filepath.Join(o.dir, "kubernetes"))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	recorded := o.recorded
	if o.recorded == "" {
		recorded = filepath.Join(dir, "recorded.json")
	}
	var behind []upstream
	if o.recorded == "" || strings.Contains(o.upstreams, "apiserver") {
		fmt.Println("\nstarting a Kubernetes control plane ...")
		cluster, err := kubetest.Start(ctx, kubetest.Options{Flags: map[string]string{"audit-policy-file": "", "audit-log-path": ""}})
		if err != nil {
			return nil, err
		}
		defer cluster.Stop()
		admin, err := rest.HTTPClientFor(cluster.Config(cluster.Admin))
		if err != nil {
			return nil, err
		}
		if err := makePods(ctx, admin, cluster.URL); err != nil {
			return nil, err
		}
		if err := recordAnswers(ctx, admin, cluster.URL, recorded); err != nil {
			return nil, err
		}
		if strings.Contains(o.upstreams, "apiserver") {
			behind = append(behind, upstream{"apiserver", cluster.URL, cluster.CAFile, cluster.Admin})
		}
		if o.kubectl == "" {
			o.kubectl = filepath.Join(cluster.Programs, "kubectl")
		}
	}
	canned, err := startCanned(ctx, dir, recorded)
	if err != nil {
		return nil, err
	}
	defer canned.stop()
	if strings.Contains(o.upstreams, "canned") {
		behind = append(behind, upstream{"canned", canned.url, canned.caFile, "none"})
	}
	var figures []figure
	for _, up := range behind {
		found, err := throughPeers(ctx, o, filepath.Join(dir, up.name), up)
		if err != nil {
			return nil, fmt.Errorf("upstream %s: %w", up.name, err)
		}
		figures = append(figures, found...)
	}
	return figures, nil
}

// upstream is where the peers lead.
type upstream struct{ name, url, caFile, token string }

func throughPeers(ctx context.Context, o options, dir string, up upstream) ([]figure, error) {
	peers, err := startKubernetesPeers(ctx, o, dir, up)
	if err != nil {
		return nil, err
	}
	defer peers.stop()
	var figures []figure
	fmt.Printf("\nupstream %s: CPU ms of the proxy for a request; in brackets requests a second\n%-24s", up.name, "")
	for _, p := range peers.list {
		fmt.Printf(" %18s", p.name)
	}
	fmt.Println()
	for _, w := range works {
		if o.works != "" && !strings.Contains(w.name, o.works) {
			continue
		}
		found, err := compare(ctx, o, peers.list, w)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", w.name, err)
		}
		for _, f := range found {
			f.Name = "kubernetes_" + up.name + "_" + f.Name
			figures = append(figures, f)
		}
	}
	parts := []func(context.Context, options, []*clusterWay) ([]figure, error){watchMemory, execThroughput}
	if up.name == "canned" {
		parts = parts[:1] // nothing runs behind it
	}
	for _, part := range parts {
		if o.works != "" {
			break
		}
		found, err := part(ctx, o, peers.list)
		if err != nil {
			return nil, err
		}
		for _, f := range found {
			f.Name = "kubernetes_" + up.name + "_" + f.Name
			figures = append(figures, f)
		}
	}
	return figures, nil
}

// makePods makes the pods that are listed: of about 3 KB, as a Deployment's are.
func makePods(ctx context.Context, client *http.Client, url string) error {
	post := func(path, body string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusCreated {
			return fmt.Errorf("POST %s: %s", path, resp.Status)
		}
		return nil
	}
	if err := post("/api/v1/namespaces", `{"metadata":{"name":"bench"}}`); err != nil {
		return err
	}
	for i := range pods {
		if err := post(podPath, fmt.Sprintf(podText, i, i)); err != nil {
			return err
		}
	}
	return nil
}

const podText = `{"metadata":{"name":"web-%d","labels":{"app":"web","pod-template-hash":"5d8f7b9c4"},"annotations":{"example.com/owner":"team-7","example.com/build":"2026-11-23T10:00:00Z"}},
"spec":{"nodeName":"node","volumes":[{"name":"config","configMap":{"name":"web"}},{"name":"cache","emptyDir":{}}],
"initContainers":[{"name":"migrate","image":"registry.example.com/shop/migrate:1.2.3","env":[{"name":"URL","value":"https://db.example.com/shop"}]}],
"containers":[{"name":"main","image":"registry.example.com/shop/web:1.2.3","ports":[{"containerPort":8080}],
"env":[{"name":"NUMBER","value":"secret value %d"},{"name":"PASSWORD","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}},{"name":"URL","value":"https://user:pass@db.example.com/shop"},{"name":"LEVEL","value":"info"}],
"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},
"readinessProbe":{"httpGet":{"path":"/healthz","port":8080},"periodSeconds":5},"livenessProbe":{"httpGet":{"path":"/livez","port":8080}},
"volumeMounts":[{"name":"config","mountPath":"/etc/web"},{"name":"cache","mountPath":"/var/cache/web"}]}],
"tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}]}}`
