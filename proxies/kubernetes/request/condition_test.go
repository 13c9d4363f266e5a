package request

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"github.com/regate-dev/regate/engine/input"
)

func TestConditional(t *testing.T) {
	current := input.KubernetesCurrent{UID: "u", ResourceVersion: "7"}
	for _, c := range []struct{ method, target, kind, body, want string }{
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/merge-patch+json", `{"data":{"x":1.50}}`, `{"data":{"x":1.50},"metadata":{"resourceVersion":"7"}}`},
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/merge-patch+json", `{"metadata":{"resourceVersion":null}}`, `{"metadata":{"resourceVersion":"7"}}`},
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/merge-patch+json", `{"metadata":null}`, ``},
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/merge-patch+json", `{"metadata":{"resourceVersion":"5"}}`, `{"metadata":{"resourceVersion":"5"}}`},
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/json-patch+json", `[{"op":"remove","path":"/metadata/resourceVersion"}]`, `[{"op":"remove","path":"/metadata/resourceVersion"},{"op":"add","path":"/metadata/resourceVersion","value":"7"}]`},
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/apply-patch+yaml", "data: {a: on}", `{"data":{"a":true},"metadata":{"resourceVersion":"7"}}`},
		{"PUT", "/api/v1/namespaces/a/configmaps/b", "application/yaml", "kind: ConfigMap\nmetadata: {name: b}", `{"kind":"ConfigMap","metadata":{"name":"b","resourceVersion":"7"}}`},
		{"DELETE", "/api/v1/namespaces/a/configmaps/b?dryRun=All&gracePeriodSeconds=3&propagationPolicy=Orphan", "", "", `{"apiVersion":"v1","dryRun":["All"],"gracePeriodSeconds":3,"kind":"DeleteOptions","preconditions":{"uid":"u"},"propagationPolicy":"Orphan"}`},
		{"DELETE", "/api/v1/namespaces/a/configmaps/b?gracePeriodSeconds=3", "", `{"preconditions":{"resourceVersion":"4"}}`, `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"resourceVersion":"4","uid":"u"}}`},
		{"DELETE", "/api/v1/namespaces/a/configmaps/b?orphanDependents=true", "", "", ``},
	} {
		raw := Raw{Method: c.method, Target: c.target, Header: http.Header{}, Body: []byte(c.body)}
		if c.kind != "" {
			raw.Header.Set("Content-Type", c.kind)
		}
		r, refusal := Decode(raw, Options{})
		if refusal != nil {
			t.Fatal(refusal)
		}
		out, ok, err := Conditional(raw, r, current)
		if c.want == "" {
			if err == nil {
				t.Errorf("%s %s: %s", c.method, c.body, out.Body)
			}
			continue
		}
		if err != nil || !ok || string(out.Body) != c.want {
			t.Errorf("%s %s: %s %v, want %s", c.method, c.body, out.Body, err, c.want)
		}
	}
}

// What is sent on with a condition is what was decided: read again it is the same
// request, but for the condition.
func FuzzConditional(f *testing.F) {
	for _, s := range []struct{ method, target, kind, body string }{
		{"PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", "application/json-patch+json", `[{"op":"replace","path":"/spec/replicas","value":0}]`},
		{"PATCH", "/api/v1/namespaces/a/pods/b", "application/strategic-merge-patch+json", `{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"x","image":"y"}]}}`},
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/apply-patch+yaml", "kind: ConfigMap\ndata: {a: 0x1F}"},
		{"PUT", "/api/v1/namespaces/a/secrets/b", "application/vnd.kubernetes.protobuf", "k8s\x00\x0a\x0c\x0a\x02v1\x12\x06Secret"},
		{"DELETE", "/api/v1/namespaces/a/pods/b?gracePeriodSeconds=0", "", ""},
	} {
		f.Add(s.method, s.target, s.kind, s.body)
	}
	f.Fuzz(func(t *testing.T, method, target, kind, body string) {
		raw := Raw{Method: method, Target: target, Header: http.Header{}, Body: []byte(body)}
		if kind != "" {
			raw.Header.Set("Content-Type", kind)
		}
		r, refusal := Decode(raw, Options{})
		if refusal != nil {
			return
		}
		out, ok, err := Conditional(raw, r, input.KubernetesCurrent{UID: "u", ResourceVersion: "7"})
		if err != nil || !ok || len(out.Body) > MaxBody {
			return
		}
		again, refusal := Decode(out, Options{})
		if refusal != nil {
			t.Fatalf("%s %s %s becomes %s: %v", method, target, body, out.Body, refusal)
		}
		if again.Action != r.Action || r.Action.Verb != "delete" && !reflect.DeepEqual(again.Resource, r.Resource) {
			t.Errorf("%s %s %s becomes %s:\n%+v %+v\n%+v %+v", method, target, body, out.Body, r.Action, r.Resource, again.Action, again.Resource)
		}
		before, after := stripped(t, r), stripped(t, again)
		if r.Action.Verb != "delete" && before != after {
			t.Errorf("%s %s %s becomes %s", method, target, before, after)
		}
	})
}

// stripped is what a request says, without resource versions.
func stripped(t *testing.T, r *Request) string {
	t.Helper()
	var bodies []any
	for _, body := range r.Bodies {
		m, ok := body.(map[string]any)
		if !ok {
			continue
		}
		if metadata, ok := m["metadata"].(map[string]any); ok {
			delete(metadata, "resourceVersion")
			if len(metadata) == 0 {
				delete(m, "metadata")
			}
		}
		if len(m) > 0 {
			bodies = append(bodies, m)
		}
	}
	out, err := json.Marshal(bodies)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
