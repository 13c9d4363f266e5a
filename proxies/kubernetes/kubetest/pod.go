package kubetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
)

// nodeName is the name of the one node.
const nodeName = "node"

// Pod makes a pod whose container "main" is taken to run: exec runs commands on
// this machine, its log is the given text.
func (c *Cluster) Pod(t testing.TB, namespace, name, log string) {
	t.Helper()
	if err := c.AddPod(t.Context(), namespace, name, log, nil); err != nil {
		t.Fatal(err)
	}
}

// AddPod is Pod with environment variables, KEY and value.
func (c *Cluster) AddPod(ctx context.Context, namespace, name, log string, env [][2]string) error {
	dir := filepath.Join(c.file("logs"), namespace, name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "main.log"), []byte(log), 0o600); err != nil {
		return err
	}
	variables := []map[string]string{}
	for _, v := range env {
		variables = append(variables, map[string]string{"name": v[0], "value": v[1]})
	}
	raw, err := json.Marshal(variables)
	if err != nil {
		return err
	}
	at := "/api/v1/namespaces/" + namespace + "/pods"
	if err := c.call(ctx, "POST", at, fmt.Sprintf(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":%q},"spec":{"nodeName":%q,"containers":[{"name":"main","image":"none","env":%s}]}}`, name, nodeName, raw)); err != nil {
		return err
	}
	return c.call(ctx, "PATCH", at+"/"+name+"/status", `{"status":{"phase":"Running","containerStatuses":[{"name":"main","image":"none","imageID":"","ready":true,"restartCount":0,"state":{"running":{}}}]}}`)
}

// Log appends to the log of a Pod.
func (c *Cluster) Log(t testing.TB, namespace, name, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(c.file("logs"), namespace, name, "main.log"), os.O_APPEND|os.O_WRONLY, 0)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// call sends one request as the administrator.
func (c *Cluster) call(ctx context.Context, method, path, body string) error {
	client, err := rest.HTTPClientFor(c.Config(c.Admin))
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/strategic-merge-patch+json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(resp.Body)
		return fmt.Errorf("%s %s: %s", method, path, text)
	}
	return nil
}

// makeNode registers the kubelet.
func (c *Cluster) makeNode(ctx context.Context, port int) error {
	err := c.call(ctx, "POST", "/api/v1/nodes", fmt.Sprintf(`{"apiVersion":"v1","kind":"Node","metadata":{"name":%q}}`, nodeName))
	if err != nil {
		return err
	}
	return c.call(ctx, "PATCH", "/api/v1/nodes/"+nodeName+"/status", fmt.Sprintf(
		`{"status":{"addresses":[{"type":"InternalIP","address":"127.0.0.1"}],"daemonEndpoints":{"kubeletEndpoint":{"Port":%d}},"conditions":[{"type":"Ready","status":"True"}]}}`, port))
}
