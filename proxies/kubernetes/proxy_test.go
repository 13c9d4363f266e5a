package kubernetes_test

import (
	"strings"
	"testing"
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

mask contains {"id": "test/secrets", "field": "secrets:/data", "method": "redact"} if input.resource.resource == "secrets"

mask contains {"id": "test/env", "field": "pods:/spec/containers/env/value", "method": "redact"} if input.resource.resource == "pods"
`

func TestKubectl(t *testing.T) {
	g := start(t, shopPolicy)
	ns := g.namespace()
	g.admin("-n", ns, "create", "secret", "generic", "db", "--from-literal=password=hunter2")
	agent := g.kubectl("agent")
	run := func(want string, args ...string) string {
		t.Helper()
		out, err := agent(args...)
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("kubectl %v: %v, want %q in\n%s", args, err, want, out)
		}
		return out
	}
	run("db", "-n", ns, "get", "secrets")
	if out := run("W1JFREFDVEVEXQ==", "-n", ns, "get", "secret", "db", "-o", "yaml"); strings.Contains(out, "aHVudGVyMg==") {
		t.Error("the value is shown")
	}
	run("configmap/c created", "-n", ns, "create", "configmap", "c", "--from-literal=a=b")
	run("a: b", "-n", ns, "get", "configmap", "c", "-o", "yaml")
	out, err := agent("delete", "namespace", ns)
	if err == nil || !strings.Contains(out, "namespaces stay") || !strings.Contains(out, "test/no-delete") {
		t.Errorf("delete namespace: %v\n%s", err, out)
	}
}
