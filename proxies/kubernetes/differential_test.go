package kubernetes_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// lines is how many request lines the test sends that regate does not refuse,
// each as it was made and as regate would send it on.
const lines = 10000

// TestDecoderAgreesWithAPIServer: what regate decides on is what the API server
// does. The oracle is its audit log, which has what it resolved a request to;
// both sides of the gateway are held against it.
func TestDecoderAgreesWithAPIServer(t *testing.T) {
	cluster := kubetest.Shared(t)
	server := dialRaw(t, cluster)
	g := generator{rand.New(rand.NewPCG(7, 11))}
	type sent struct {
		line   string
		want   resolved
		raw    string // audit ids
		onward string
	}
	var all []sent
	refusals := map[string]int{}
	for i := 0; len(all) < lines; i++ {
		method, target := g.line()
		s := sent{line: method + " " + target, raw: fmt.Sprintf("raw-%d", i), onward: fmt.Sprintf("onward-%d", i)}
		r, refusal := request.Decode(request.Raw{Method: method, Target: target, Header: http.Header{}}, request.Options{})
		if refusal != nil {
			refusals[refusal.Reason]++
			continue
		}
		s.want = resolved{Verb: r.Action.Verb, Group: r.Resource.Group, Version: r.Resource.Version, Resource: r.Resource.Resource,
			Subresource: r.Resource.Subresource, Namespace: r.Resource.Namespace, Name: r.Resource.Name}
		server.send(method, target, s.raw)
		server.send(method, r.URL.RequestURI(), s.onward)
		all = append(all, s)
	}
	t.Logf("%d lines decoded; others refused: %v", len(all), refusals)
	events := auditEvents(t, cluster.AuditLog, "onward-", len(all))
	wrong := 0
	for _, s := range all {
		for _, id := range []string{s.raw, s.onward} {
			got, ok := events[id]
			if !ok {
				// The HTTP server itself refused the line, before anything that
				// could act on it.
				if server.refused[id] {
					continue
				}
				t.Errorf("%s: no audit event", s.line)
				continue
			}
			if got != s.want {
				if wrong++; wrong <= 20 {
					t.Errorf("%s (%s):\n regate     %+v\n API server %+v", s.line, id, s.want, got)
				}
			}
		}
	}
}

// resolved is what a request line means.
type resolved struct{ Verb, Group, Version, Resource, Subresource, Namespace, Name string }

func auditEvents(t *testing.T, file, prefix string, want int) map[string]resolved {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		out, count := map[string]resolved{}, 0
		raw, err := os.ReadFile(file)
		must(t, err)
		for line := range bytes.Lines(raw) {
			var e struct {
				AuditID   string
				Verb      string
				ObjectRef struct{ Resource, Namespace, Name, APIGroup, APIVersion, Subresource string }
			}
			if json.Unmarshal(line, &e) != nil {
				continue // the last line is being written
			}
			o := e.ObjectRef
			out[e.AuditID] = resolved{e.Verb, o.APIGroup, o.APIVersion, o.Resource, o.Subresource, o.Namespace, o.Name}
			if strings.HasPrefix(e.AuditID, prefix) {
				count++
			}
		}
		if count >= want || time.Now().After(deadline) {
			return out
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// rawConn sends request lines as they are: no client library's own ideas.
type rawConn struct {
	t       *testing.T
	cluster *kubetest.Cluster
	conn    *tls.Conn
	in      *bufio.Reader
	refused map[string]bool
}

func dialRaw(t *testing.T, cluster *kubetest.Cluster) *rawConn {
	t.Helper()
	c := &rawConn{t: t, cluster: cluster, refused: map[string]bool{}}
	t.Cleanup(func() {
		if c.conn != nil {
			_ = c.conn.Close()
		}
	})
	return c
}

func (c *rawConn) send(method, target, id string) {
	c.t.Helper()
	if c.conn == nil {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(c.cluster.URL, "https://"), &tls.Config{InsecureSkipVerify: true})
		must(c.t, err)
		c.conn, c.in = conn, bufio.NewReader(conn)
	}
	// The user "gateway" may do nothing: every answer comes at once.
	_, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: api\r\nAuthorization: Bearer %s\r\nAudit-ID: %s\r\nContent-Length: 0\r\n\r\n", method, target, c.cluster.Gateway, id)
	must(c.t, err)
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("%s %s: %v", method, target, err)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	must(c.t, err)
	_ = resp.Body.Close()
	if resp.StatusCode == http.StatusBadRequest {
		c.refused[id] = true
	}
	if resp.Close {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// generator makes request lines: mostly such as clients send, often with
// something that has fooled a parser before.
type generator struct{ *rand.Rand }

func (g generator) of(list ...string) string { return list[g.IntN(len(list))] }

func (g generator) line() (method, target string) {
	method = g.of("GET", "GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE", "DELETE", "HEAD", "OPTIONS", "get")
	return method, g.path() + g.query()
}

func (g generator) path() string {
	if g.IntN(12) == 0 {
		return g.of("/", "/api", "/api/", "/apis", "/apis/", "/apis/apps", "/apis/apps/v1", "/api/v1", "/version", "/healthz/ping", "/openapi/v3/apis/apps/v1",
			"/metrics", "/logs/kube-apiserver.log", "/.well-known/openid-configuration", "/apis//v1/x", "/api/v1/", "/API/v1/pods", "/apis/apps/v1/", "/apifoo/v1/pods")
	}
	parts := []string{g.of("api/v1", "api/v1", "apis/apps/v1", "apis/rbac.authorization.k8s.io/v1", "apis/example.com/v1beta1", "api/v2", "apis/batch/v1", "api/", "apis/apps")}
	if g.IntN(12) == 0 {
		parts = append(parts, g.of("watch", "proxy"))
	}
	if g.IntN(3) > 0 {
		parts = append(parts, "namespaces")
		if g.IntN(10) > 0 {
			parts = append(parts, g.name())
		}
	}
	if g.IntN(8) > 0 {
		parts = append(parts, g.of("pods", "secrets", "configmaps", "deployments", "clusterroles", "nodes", "widgets", "namespaces", "status", "finalize", "Pods", "watch", "proxy", "services"))
		if g.IntN(3) > 0 {
			parts = append(parts, g.name())
			if g.IntN(3) == 0 {
				parts = append(parts, g.of("status", "log", "scale", "finalize", "proxy", "token", "eviction", "watch"))
				if g.IntN(3) == 0 {
					parts = append(parts, g.of("a", "metrics", "api/v1/secrets", "..", ""))
				}
			}
		}
	}
	path := "/" + strings.Join(parts, "/")
	switch g.IntN(30) {
	case 0:
		path += "/"
	case 1:
		path = "/" + path
	case 2:
		path = strings.Replace(path, "s/", "s%2F", 1)
	case 3:
		i := g.IntN(len(path))
		path = path[:i] + fmt.Sprintf("%%%02x", path[i]) + path[i+1:]
	case 4:
		path = strings.Replace(path, "/", "//", 1+g.IntN(2))
	case 5:
		path += g.of("/.", "/..", "/../secrets", "%00", "%20", ";a=b", "%3Bx", ":", "+", "@", "'", "!", "~", "%7e", "%E2%82%AC", "%ff")
	}
	return path
}

func (g generator) name() string {
	return g.of("default", "kube-system", "p1", "db", "system:node", "system%3Anode", "https:n1:10250", "a.b.c", "x", "status", "finalize", "namespaces", "watch", "pods", "A", "%20", "a b", "ä", "1", "-", "*", "null", "proxy")
}

func (g generator) query() string {
	if g.IntN(2) == 0 {
		return ""
	}
	n := 1 + g.IntN(3)
	var out []string
	for range n {
		out = append(out, g.of(
			"watch=1", "watch=true", "watch=0", "watch=false", "watch=FALSE", "watch=no", "watch", "watch=", "Watch=1", "watch=fal%C5%BFe", "%77atch=1", "watch=+0", "watch=0%20",
			"fieldSelector=metadata.name%3Ddb", "fieldSelector=metadata.name=db", "fieldSelector=metadata.name%3D%3Ddb", "fieldSelector=metadata.name!=db", "fieldSelector=metadata.namespace=x",
			"fieldSelector=metadata.name%3Da,metadata.name%3Db", "fieldSelector=metadata.name%3D..", "fieldSelector=metadata.name%3Da%2Fb", "fieldSelector=%3D%3D", "fieldSelector=metadata.name%3Ddb,spec.nodeName%3Dn",
			"labelSelector=a%3Db", "labelSelector=a+in+(b)", "labelSelector=%21%21", "limit=5", "limit=x", "limit=", "limit=-1", "continue=abc", "resourceVersion=0", "resourceVersionMatch=Exact",
			"timeoutSeconds=5", "timeoutSeconds=x", "sendInitialEvents=true", "allowWatchBookmarks=x", "dryRun=All", "pretty=true", "a=b", "=", "%zz=1", "a;b", "name=db", "namespace=other"))
	}
	return "?" + strings.Join(out, "&")
}
