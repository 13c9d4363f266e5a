package request

import (
	"net/http"
	"reflect"
	"testing"
)

// What is sent on means the same again: decoding it gives what was decided.
func FuzzDecode(f *testing.F) {
	for _, s := range []struct{ method, target, kind, body string }{
		{"GET", "/api/v1/namespaces/default/pods?watch=1", "", ""},
		{"POST", "/api/v1/namespaces/default/pods", "application/json", `{"kind":"Pod","spec":{"containers":[{"image":"x"}]}}`},
		{"PATCH", "/apis/apps/v1/namespaces/a/deployments/b/scale", "application/json-patch+json", `[{"op":"replace","path":"/spec/replicas","value":0}]`},
		{"PATCH", "/api/v1/namespaces/a/configmaps/b", "application/apply-patch+yaml", "kind: ConfigMap\ndata: {a: on}"},
		{"DELETE", "/api/v1/namespaces/a/secrets/%73", "", `{"dryRun":["All"]}`},
		{"GET", "/api/v1/nodes/https:n:1/proxy/a%20b?path=x", "", ""},
		{"PUT", "/api/v1/namespaces/a/secrets/b", "application/vnd.kubernetes.protobuf", "k8s\x00\x0a\x00"},
	} {
		f.Add(s.method, s.target, s.kind, s.body)
	}
	f.Fuzz(func(t *testing.T, method, target, kind, body string) {
		header := http.Header{}
		if kind != "" {
			header.Set("Content-Type", kind)
		}
		r, refusal := Decode(Raw{Method: method, Target: target, Header: header, Body: []byte(body)}, Options{})
		if refusal != nil {
			return
		}
		again, refusal := Decode(Raw{Method: method, Target: r.URL.RequestURI(), Header: header, Body: []byte(body)}, Options{})
		if refusal != nil {
			t.Fatalf("%s %s becomes %s: %v", method, target, r.URL.RequestURI(), refusal)
		}
		if !reflect.DeepEqual(r, again) {
			t.Errorf("%s %s becomes %s:\n%+v\n%+v", method, target, r.URL.RequestURI(), r, again)
		}
	})
}
