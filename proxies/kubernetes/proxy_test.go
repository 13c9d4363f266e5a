package kubernetes_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/approval"
	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/proxies/kubernetes"
)

const allowAll = `package regate.policies.test.k8s

import rego.v1

allow contains {"id": "test/all"} if true
`

const shopPolicy = allowAll + `
deny contains {"id": "test/no-delete", "msg": "namespaces stay", "hint": "ask the owner"} if {
	input.action.verb == "delete"
	input.resource.type == "namespaces"
}

mask contains {"id": "test/secrets", "field": "secrets:/data", "method": "redact"} if true

mask contains {"id": "test/env", "field": "pods:/spec/containers/env/value", "method": "redact"} if true

mask contains {"id": "test/owner", "field": "/metadata/annotations/example.com~1owner", "method": "redact"} if true

mask contains {"id": "test/widget", "field": "widgets.example.com:/spec/token", "method": "redact"} if true

mask contains {"id": "test/cards", "detect": "credit_card", "method": "redact"} if true

require_approval contains {"id": "test/scale", "msg": "scaling needs an operator", "from": ["group:operators"], "count": 1, "ttl": "15m", "wait": "0s"} if {
	input.resource.type == "deployments.apps/scale"
	input.action.writes
}
`

const secretValue = "hunter2-4711"

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func TestKubectl(t *testing.T) {
	g := start(t, shopPolicy)
	ns := g.namespace()
	g.admin("-n", ns, "create", "secret", "generic", "db", "--from-literal=password="+secretValue)
	agent := g.kubectl("agent")
	run := func(want string, args ...string) {
		t.Helper()
		out, err := agent(args...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("kubectl %v: %v, want %q in\n%s", args, err, want, out)
		}
		if strings.Contains(out, secretValue) || strings.Contains(out, b64(secretValue)) {
			t.Errorf("kubectl %v shows the value:\n%s", args, out)
		}
	}
	run("db", "-n", ns, "get", "secrets")
	run(b64("[REDACTED]"), "-n", ns, "get", "secret", "db", "-o", "yaml")
	run(b64("[REDACTED]"), "-n", ns, "get", "secrets", "-o", "json")
	run("Warning: values that policy masks are not shown", "-n", ns, "get", "secret", "db")
	run("password:", "-n", ns, "describe", "secret", "db")
	run("configmap/c created", "-n", ns, "create", "configmap", "c", "--from-literal=a=b")
	run("a: b", "-n", ns, "get", "configmap", "c", "-o", "yaml")
	run("configmap/c labeled", "-n", ns, "label", "configmap", "c", "x=y")
	run("secret/db labeled", "-n", ns, "label", "secret", "db", "x=y")
	run("deployments", "api-resources")
	run("Server Version", "version")
	run("KIND", "explain", "pod")
	run("secret \"db\" deleted", "-n", ns, "delete", "secret", "db")
	run("yes", "auth", "can-i", "list", "pods", "-n", ns)
	if out, err := agent("auth", "can-i", "delete", "namespaces"); err == nil || !strings.HasPrefix(out, "no - regate: namespaces stay") && !strings.Contains(out, "\nno - regate: namespaces stay") {
		t.Errorf("can-i delete namespaces: %v %s", err, out)
	}
	out, err := agent("delete", "namespace", ns)
	if err == nil || !strings.Contains(out, "namespaces stay. ask the owner (test/no-delete") {
		t.Errorf("delete namespace: %v\n%s", err, out)
	}
}

// Whatever form an answer has, the secret is not in it.
func TestMasksInEveryForm(t *testing.T) {
	g := start(t, shopPolicy)
	ns := g.namespace()
	object := `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db","finalizers":["example.com/keep"],"annotations":{"example.com/owner":"` + secretValue + `",
	 "kubectl.kubernetes.io/last-applied-configuration":"{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"password\":\"` + b64(secretValue) + `\"},\"metadata\":{\"annotations\":{\"example.com/owner\":\"` + secretValue + `\"}}}"}},
	 "data":{"password":"` + b64(secretValue) + `"}}`
	token := g.token("agent")
	base := "/api/v1/namespaces/" + ns + "/secrets"
	clean := func(what string, a answer, status int) {
		t.Helper()
		if a.status != status {
			t.Errorf("%s: status %d, want %d: %s", what, a.status, status, a.body)
		}
		if strings.Contains(a.body, secretValue) || strings.Contains(a.body, b64(secretValue)) || strings.Contains(a.body, b64(secretValue)[:12]) {
			t.Errorf("%s shows the value: %s", what, a.body)
		}
	}
	patch := []string{"Content-Type", "application/merge-patch+json"}
	clean("create", g.do(token, "POST", base, object), 201)
	clean("create in a dry run", g.do(token, "POST", base+"?dryRun=All", strings.Replace(object, `"name":"db"`, `"name":"db2"`, 1)), 201)
	var forms sync.WaitGroup
	for _, accept := range []string{
		"", "*/*", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor",
		"application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
		"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io,application/json",
	} {
		for _, target := range []string{base, base + "/db", base + "?fieldSelector=metadata.name%3Ddb", "/api/v1/secrets", base + "?resourceVersion=0", base + "?limit=1",
			base + "?includeObject=Object", base + "/db?includeObject=Object", base + "?watch=1&timeoutSeconds=1", base + "?watch=1&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true",
			"/api/v1/watch/namespaces/" + ns + "/secrets/db?timeoutSeconds=1", base + "?pretty=true",
		} {
			forms.Go(func() {
				a := g.do(token, "GET", target, "", "Accept", accept)
				want := 200
				if a.status == 406 { // a list is no PartialObjectMetadata, and so on
					want = 406
				}
				clean("GET "+target+" as "+accept, a, want)
			})
		}
	}
	forms.Wait()
	clean("patch", g.do(token, "PATCH", base+"/db", `{"metadata":{"labels":{"a":"b"}}}`, patch...), 200)
	clean("patch in a dry run", g.do(token, "PATCH", base+"/db?dryRun=All", `{"metadata":{"labels":{"a":"c"}}}`, patch...), 200)
	clean("apply", g.do(token, "PATCH", base+"/db?fieldManager=x&force=true", `{"apiVersion":"v1","kind":"Secret","metadata":{"name":"db"},"stringData":{"other":"`+secretValue+`"}}`, "Content-Type", "application/apply-patch+yaml"), 200)
	clean("invalid", g.do(token, "PATCH", base+"/db", `{"type":"`+secretValue+`"}`, patch...), 422)
	clean("delete in a dry run", g.do(token, "DELETE", base+"?dryRun=All", ""), 200)
	clean("delete with a finalizer", g.do(token, "DELETE", base+"/db", ""), 200)
	clean("delete a collection", g.do(token, "DELETE", base, ""), 200)
	g.admin("-n", ns, "patch", "secret", "db", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
}

func TestWhatMasksLeftIsNotWritten(t *testing.T) {
	g := start(t, shopPolicy)
	ns := g.namespace()
	g.admin("-n", ns, "create", "secret", "generic", "db", "--from-literal=password="+secretValue)
	token := g.token("agent")
	at := "/api/v1/namespaces/" + ns + "/secrets/db"
	read := g.do(token, "GET", at, "")
	back := g.do(token, "PUT", at, read.body, "Content-Type", "application/json")
	if back.status != 403 || !strings.Contains(back.body, kubernetes.ReasonWrittenBack) {
		t.Errorf("PUT: %d %s", back.status, back.body)
	}
	for _, c := range []struct{ kind, body string }{
		{"application/merge-patch+json", `{"data":{"password":"` + b64("[REDACTED]") + `"}}`},
		{"application/json-patch+json", `[{"op":"replace","path":"/data/password","value":"` + b64("[REDACTED]") + `"}]`},
		{"application/apply-patch+yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: db}\nstringData: {password: '[REDACTED]'}\n"},
	} {
		if a := g.do(token, "PATCH", at+"?fieldManager=x&force=true", c.body, "Content-Type", c.kind); a.status != 403 {
			t.Errorf("%s: %d %s", c.kind, a.status, a.body)
		}
	}
	if out := g.admin("-n", ns, "get", "secret", "db", "-o", "jsonpath={.data.password}"); out != b64(secretValue) {
		t.Errorf("the secret is now %q", out)
	}
}

func TestApproval(t *testing.T) {
	g := start(t, shopPolicy)
	ns := g.namespace()
	g.admin("-n", ns, "create", "deployment", "web", "--image=nginx")
	agent := g.kubectl("agent")
	scale := []string{"-n", ns, "scale", "deployment", "web", "--replicas=0"}
	out, err := agent(scale...)
	if err == nil || !strings.Contains(out, "approval/pending") {
		t.Fatalf("scale: %v\n%s", err, out)
	}
	tickets := g.desk.List(approval.Filter{States: []approval.State{approval.Pending}})
	if len(tickets) != 1 || !strings.Contains(out, tickets[0].ID) || !strings.Contains(tickets[0].Summary, "deployments.apps/scale") {
		t.Fatalf("tickets: %+v\n%s", tickets, out)
	}
	g.approve(tickets[0].ID)
	if out, err := agent(scale...); err != nil {
		t.Errorf("after approval: %v\n%s", err, out)
	}
	if out, err := agent(scale...); err == nil {
		t.Errorf("a second time: %s", out)
	}
	// Another number is another request.
	if out, err := agent("-n", ns, "scale", "deployment", "web", "--replicas=5"); err == nil {
		t.Errorf("another number: %s", out)
	}
}

func TestRefusals(t *testing.T) {
	g := start(t, allowAll)
	token := g.token("agent")
	for _, c := range []struct {
		token, method, target, reason string
		status                        int
		header                        []string
	}{
		{"", "GET", "/api/v1/pods", identity.ReasonMissing, 401, nil},
		{"nonsense", "GET", "/api/v1/pods", identity.ReasonMalformed, 401, nil},
		{g.cluster.Admin, "GET", "/api/v1/pods", "identity/", 401, nil},
		{token, "GET", "/clusters/other/api/v1/pods", kubernetes.ReasonTarget, 404, nil},
		{token, "GET", "/api/v1/namespaces//secrets", "kubernetes/path", 400, nil},
		{token, "GET", "/clusters/dev//api/v1/secrets", "kubernetes/path", 400, nil},
		{token, "GET", "/api/v1/namespaces/default%2Fsecrets", "kubernetes/path", 400, nil},
		{token, "GET", "/api/v1/secrets?watch=0&watch=1", "kubernetes/query", 400, nil},
		{token, "OPTIONS", "/api/v1/secrets", "kubernetes/method", 405, nil},
		{token, "POST", "/api/v1/namespaces/default/pods/p/exec?command=ls", "kubernetes/upgrade", 400, nil},
		{token, "GET", "/api/v1/pods", "kubernetes/header", 400, []string{"Authorization", "Bearer x"}},
	} {
		a := g.do(c.token, c.method, c.target, "", c.header...)
		var status struct {
			Kind    string
			Message string
			Details struct{ Causes []struct{ Reason string } }
		}
		if err := json.Unmarshal([]byte(a.body), &status); err != nil || status.Kind != "Status" || a.status != c.status || !strings.Contains(a.body, c.reason) {
			t.Errorf("%s %s: %d %s %v, want %d %s", c.method, c.target, a.status, a.body, err, c.status, c.reason)
		}
	}
}

// Nothing that an agent says of who it is reaches the API server.
func TestIdentityIsTheGateways(t *testing.T) {
	g := start(t, allowAll, func(t *kubernetes.Target) {
		t.Impersonate = kubernetes.Impersonation{Enabled: true, UserPrefix: "regate:", GroupPrefix: "regate:"}
	})
	who := func(header ...string) string {
		a := g.do(g.token("agent", "devs"), "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`, append(header, "Content-Type", "application/json")...)
		var review struct {
			Status struct {
				UserInfo struct {
					Username string
					Groups   []string
				}
			}
		}
		if json.Unmarshal([]byte(a.body), &review) != nil || a.status != http.StatusCreated {
			t.Errorf("%v: %d %s", header, a.status, a.body)
		}
		return review.Status.UserInfo.Username + " " + strings.Join(review.Status.UserInfo.Groups, ",")
	}
	const want = "regate:agent regate:devs,system:authenticated"
	for _, header := range [][]string{
		nil,
		{"Impersonate-User", "admin", "Impersonate-Group", "system:masters"},
		{"impersonate-uid", "1"},
		{"X-Remote-User", "admin", "X-Remote-Group", "system:masters"},
		{"Impersonate-Extra-Scopes", "x"},
		{"X-Forwarded-For", "10.0.0.1"},
		{"Cookie", "a=b"},
		{"Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io." + b64(g.cluster.Admin)},
	} {
		if got := who(header...); got != want {
			t.Errorf("%v: %s, want %s", header, got, want)
		}
	}
	// RBAC holds for the agent.
	if a := g.do(g.token("agent"), "GET", "/api/v1/secrets", ""); a.status != 403 || !strings.Contains(a.body, `User \"regate:agent\" cannot list`) {
		t.Errorf("list: %d %s", a.status, a.body)
	}
	if out := rawRequest(t, g, "GET /api/v1/secrets HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+g.token("agent")+"\r\nConnection: Impersonate-User, close\r\n\r\n"); !strings.Contains(out, "403 Forbidden") {
		t.Errorf("Connection: Impersonate-User: %s", out)
	}
	// A token cannot name the cluster's own.
	plain := start(t, allowAll, func(t *kubernetes.Target) { t.Impersonate = kubernetes.Impersonation{Enabled: true} })
	if a := plain.do(plain.token("x", "system:masters"), "GET", "/api", ""); !strings.Contains(a.body, kubernetes.ReasonImpersonate) {
		t.Errorf("system:masters: %d %s", a.status, a.body)
	}
}

func TestRevocationEndsWatch(t *testing.T) {
	g := start(t, allowAll)
	token := g.token("agent")
	req, err := http.NewRequestWithContext(t.Context(), "GET", g.url+"/api/v1/pods?watch=1", nil)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := g.client.Do(req)
	must(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Fatal(resp.Status)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b := make([]byte, 1024)
		for {
			if _, err := resp.Body.Read(b); err != nil {
				return
			}
		}
	}()
	must(t, g.revoked.Add(t.Context(), identity.Revocation{Kind: "subject", Value: "agent", Issuer: g.issuer.URL, Reason: "test", By: "test", At: time.Now(), ExpiresAt: time.Now().Add(time.Hour)}))
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("the watch goes on")
	}
	if a := g.do(token, "GET", "/api", ""); a.status != 401 {
		t.Errorf("after revocation: %d %s", a.status, a.body)
	}
}
