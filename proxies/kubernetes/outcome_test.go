package kubernetes_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/proxies/kubernetes"
)

// What a patch leads to is decided on, whatever kind of patch it is.
func TestOutcome(t *testing.T) {
	g := start(t, allowAll+`
deny contains {"id": "test/replicas", "msg": "too many replicas"} if input.kubernetes.outcome.spec.replicas > 5

deny contains {"id": "test/level", "msg": "no debug"} if input.kubernetes.outcome.metadata.labels.level == "debug"

deny contains {"id": "test/secret", "msg": "a value is seen"} if {
	regex.match("hunter2|aHVudGVyM", json.marshal(input.kubernetes))
	input.kubernetes.outcome
}
`)
	ns := g.namespace()
	g.admin("-n", ns, "create", "deployment", "web", "--image=nginx", "--replicas=2")
	g.admin("-n", ns, "annotate", "deployment", "web", "wanted=8")
	g.admin("-n", ns, "set", "env", "deployment/web", "PASSWORD="+secretValue)
	g.admin("-n", ns, "create", "secret", "generic", "db", "--from-literal=password="+secretValue)
	g.admin("-n", ns, "create", "configmap", "c", "--from-literal=password="+secretValue)
	token := g.token("agent")
	deployment := "/apis/apps/v1/namespaces/" + ns + "/deployments/web"
	secret := "/api/v1/namespaces/" + ns + "/secrets/db"
	for _, c := range []struct {
		kind, target, body string
		status             int
		want               string
	}{
		{"application/merge-patch+json", deployment, `{"spec":{"replicas":3}}`, 200, ""},
		{"application/merge-patch+json", deployment, `{"spec":{"replicas":8}}`, 403, "test/replicas"},
		{"application/merge-patch+json", deployment + "/scale", `{"spec":{"replicas":8}}`, 403, "test/replicas"},
		{"application/merge-patch+json", deployment + "/scale", `{"spec":{"replicas":4}}`, 200, ""},
		{"application/strategic-merge-patch+json", deployment, `{"metadata":{"labels":{"level":"debug"}}}`, 403, "test/level"},
		{"application/json-patch+json", deployment, `[{"op":"replace","path":"/spec/replicas","value":9}]`, 403, "test/replicas"},
		{"application/json-patch+json", deployment, `[{"op":"remove","path":"/metadata/resourceVersion"},{"op":"replace","path":"/spec/replicas","value":3}]`, 200, ""},
		{"application/json-patch+json", deployment, `[{"op":"add","path":"/metadata/labels/level","value":"d"},{"op":"copy","from":"/metadata/labels/level","path":"/metadata/labels/x"}]`, 200, ""},
		{"application/apply-patch+yaml", deployment + "?fieldManager=x&force=true", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 7}\n", 403, "test/replicas"},
		{"application/apply-patch+yaml", deployment + "?fieldManager=x&force=true", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 5}\n", 200, ""},
		{"application/merge-patch+json", secret, `{"metadata":{"labels":{"a":"b"}}}`, 200, ""},
		{"application/merge-patch+json", "/api/v1/namespaces/" + ns + "/configmaps/c", `{"metadata":{"labels":{"a":"b"}}}`, 200, ""},
		{"application/merge-patch+json", "/api/v1/namespaces/" + ns + "/configmaps/none", `{"data":{"a":"b"}}`, 403, kubernetes.ReasonOutcome},
		{"application/merge-patch+json", deployment, `{"spec":{"replicas":"many"}}`, 403, kubernetes.ReasonOutcome},
		{"application/merge-patch+json", deployment, `{"metadata":{"resourceVersion":"1"}}`, 403, kubernetes.ReasonOutcome},
		{"application/merge-patch+json", deployment + "?dryRun=All", `{"spec":{"replicas":1}}`, 200, ""},
	} {
		a := g.do(token, "PATCH", c.target, c.body, "Content-Type", c.kind)
		if a.status != c.status || !strings.Contains(a.body, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.target, c.body, a.status, a.body, c.status, c.want)
		}
	}
	if out := g.admin("-n", ns, "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}"); out != "5" {
		t.Errorf("%s replicas", out)
	}
	// kubectl lives with it.
	kubectl := g.kubectl("agent")
	for _, args := range [][]string{
		{"label", "deployment", "web", "tier=front"}, {"rollout", "restart", "deployment/web"}, {"set", "image", "deployment/web", "nginx=nginx:2"},
		{"scale", "deployment", "web", "--replicas=1"}, {"annotate", "secret", "db", "a=b"},
	} {
		if out, err := kubectl(append([]string{"-n", ns}, args...)...); err != nil {
			t.Errorf("kubectl %v: %v %s", args, err, out)
		}
	}
}

// pending is the one request that waits.
func (g *gateway) pending() *approval.Ticket {
	g.t.Helper()
	var list []*approval.Ticket
	waitFor(g.t, func() bool {
		list = g.desk.List(approval.Filter{States: []approval.State{approval.Pending}})
		return len(list) == 1
	})
	return list[0]
}

// An approval is for the object as it was when it was asked for.
func TestApprovalIsForTheObject(t *testing.T) {
	g := start(t, allowAll+`
require_approval contains {"id": "test/writes", "from": ["group:operators"], "count": 1, "ttl": "15m", "wait": "0s"} if input.action.writes
`)
	ns := g.namespace()
	g.cluster.Pod(t, ns, "p", "")
	g.admin("-n", ns, "create", "configmap", "c", "--from-literal=a=1")
	token := g.token("agent")
	configMap := "/api/v1/namespaces/" + ns + "/configmaps/c"
	pod := "/api/v1/namespaces/" + ns + "/pods/p"
	for i, c := range []struct{ method, target, kind, body string }{
		{"PATCH", configMap, "application/merge-patch+json", `{"data":{"a":"2"}}`},
		{"PUT", configMap, "application/json", `{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"3"}}`},
		{"PATCH", pod + "/ephemeralcontainers", "application/strategic-merge-patch+json", `{"spec":{"ephemeralContainers":[{"name":"debug","image":"none"}]}}`},
	} {
		send := func() answer { return g.do(token, c.method, c.target, c.body, "Content-Type", c.kind) }
		if a := send(); a.status != 403 || !strings.Contains(a.body, "approval/pending") {
			t.Fatalf("%s: %d %s", c.target, a.status, a.body)
		}
		first := g.pending()
		g.approve(first.ID)
		object, _, _ := strings.Cut(strings.TrimPrefix(c.target, "/api/v1/namespaces/"+ns+"/"), "/eph")
		g.admin("-n", ns, "annotate", object, fmt.Sprintf("changed=%d", i), "--overwrite")
		if a := send(); a.status != 403 || strings.Contains(a.body, first.ID) {
			t.Errorf("%s after a change: %d %s", c.target, a.status, a.body)
		}
		g.approve(g.pending().ID)
		if a := send(); a.status != 200 {
			t.Errorf("%s approved: %d %s", c.target, a.status, a.body)
		}
	}
	// exec: of the pod that was there, whatever its status.
	kubectl := g.kubectl("agent")
	exec := func() (string, error) { return kubectl("-n", ns, "exec", "p", "--", "echo", "hello") }
	if out, err := exec(); err == nil || !strings.Contains(out, "approval/pending") {
		t.Fatalf("exec: %v %s", err, out)
	}
	g.approve(g.pending().ID)
	g.admin("-n", ns, "delete", "pod", "p", "--force", "--grace-period=0")
	g.cluster.Pod(t, ns, "p", "")
	if out, err := exec(); err == nil || !strings.Contains(out, "approval/pending") {
		t.Fatalf("exec in another pod of the name: %v %s", err, out)
	}
	g.approve(g.pending().ID)
	g.admin("-n", ns, "annotate", "pod", "p", "restarted=yes")
	if out, err := exec(); err != nil || out != "hello\n" {
		t.Errorf("exec approved: %v %s", err, out)
	}
	// delete: kubectl says what it waits for.
	if out, err := kubectl("-n", ns, "delete", "configmap", "c"); err == nil || !strings.Contains(out, "approval/pending") {
		t.Fatalf("delete: %v %s", err, out)
	}
	g.approve(g.pending().ID)
	g.admin("-n", ns, "annotate", "configmap", "c", "again=yes")
	if out, err := kubectl("-n", ns, "delete", "configmap", "c"); err != nil {
		t.Errorf("delete approved: %v %s", err, out)
	}
}

// Every way in which kubectl writes a masked object back is refused, or keeps the
// real values.
func TestKubectlDoesNotWriteMasksBack(t *testing.T) {
	g := start(t, shopPolicy)
	ns := g.namespace()
	g.admin("-n", ns, "create", "secret", "generic", "db", "--from-literal=password="+secretValue)
	kubectl := g.kubectl("agent")
	read, err := kubectl("-n", ns, "get", "secret", "db", "-o", "json")
	if i := strings.IndexByte(read, '{'); i > 0 {
		read = read[i:]
	}
	if err != nil || !json.Valid([]byte(read)) {
		t.Fatalf("get: %v %s", err, read)
	}
	editor := filepath.Join(t.TempDir(), "editor")
	must(t, os.WriteFile(editor, []byte("#!/bin/sh\nexec sed -i 's/^type:.*/type: Opaque\\nimmutable: false/' \"$1\"\n"), 0o700))
	for _, args := range [][]string{
		{"replace", "-f", "-", "stdin:" + read}, {"apply", "-f", "-", "stdin:" + read}, {"apply", "--server-side", "--force-conflicts", "-f", "-", "stdin:" + read},
		{"replace", "--force", "-f", "-", "stdin:" + read},
	} {
		out, err := kubectl(append([]string{"-n", ns}, args...)...)
		if args[1] == "--force" { // a delete and a create: the create is refused
			g.admin("-n", ns, "create", "secret", "generic", "db", "--from-literal=password="+secretValue)
		}
		if err == nil || !strings.Contains(out, kubernetes.ReasonWrittenBack) {
			t.Errorf("kubectl %v: %v %s", args[:2], err, out)
		}
	}
	// An edit sends what was changed alone.
	if out, err := kubectl("env:KUBE_EDITOR="+editor, "-n", ns, "edit", "secret", "db"); err != nil {
		t.Errorf("edit: %v %s", err, out)
	}
	if out := g.admin("-n", ns, "get", "secret", "db", "-o", "jsonpath={.data.password} {.immutable}"); out != b64(secretValue)+" false" {
		t.Errorf("the secret is now %q", out)
	}
}
