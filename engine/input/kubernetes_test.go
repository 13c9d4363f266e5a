package input

import "testing"

func TestKubernetesField(t *testing.T) {
	for field, want := range map[string]bool{
		"secrets:/data": true, "secrets:/": true, "deployments.apps:/spec/template": true, "serviceaccounts/token:/status/token": true,
		"/metadata/annotations/example.com~1owner": true, "/data": true,
		"public.users.email": false, "secrets.data": false, "secrets:data": false, "Secrets:/data": false, ":/data": false,
		"/": false, "": false, "secrets:/data/": false, "secrets://data": false, "a b:/x": false,
	} {
		if got := KubernetesField(field); got != want {
			t.Errorf("%q: %v", field, got)
		}
	}
}
