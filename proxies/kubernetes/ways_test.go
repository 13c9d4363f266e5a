package kubernetes_test

import (
	"net/http"
	"strings"
	"testing"
)

// Ways to the value of a Secret, or to a node, that have been seen to work on a
// real API server. With the pack against them, over a policy that allows
// everything, every one is denied by the policy or refused by regate itself.
func TestNoWayToSecrets(t *testing.T) {
	g := startWith(t, allowAll, []string{"../../policies/lib", "../../policies/kubernetes/no_secrets", "../../policies/kubernetes/no_node_access"})
	ns := g.namespace()
	g.admin("-n", ns, "create", "secret", "generic", "db", "--from-literal=password="+secretValue)
	g.cluster.Pod(t, ns, "p", secretValue)
	token := g.token("agent")
	at := "/api/v1/namespaces/" + ns
	js := []string{"Content-Type", "application/json"}
	merge := []string{"Content-Type", "application/merge-patch+json"}
	for _, c := range []struct {
		method, target, body string
		header               []string
	}{
		{"GET", at + "/secrets", "", nil},
		{"GET", "/api/v1/namespaces//secrets", "", nil},
		{"GET", "/api/v1/secrets?watch=1", "", nil},
		{"GET", "/api/v1/watch/secrets", "", nil},
		{"GET", at + "/secrets?fieldSelector=metadata.name%3Ddb", "", nil},
		{"GET", at + "%2Fsecrets%2Fdb", "", nil},
		{"GET", at + "/configmaps/../secrets/db", "", nil},
		{"GET", at + "/%73ecrets/db", "", nil},
		{"DELETE", at + "/secrets?dryRun=All", "", nil},
		{"PATCH", at + "/secrets/db?dryRun=All", `[{"op":"test","path":"/data/password","value":"x"}]`, []string{"Content-Type", "application/json-patch+json"}},
		{"POST", at + "/pods", `{"kind":"Pod","metadata":{"name":"x"},"spec":{"containers":[{"name":"a","image":"i","env":[{"name":"P","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}}]}]}}`, js},
		{"POST", "/apis/batch/v1/namespaces/" + ns + "/cronjobs", `{"kind":"CronJob","metadata":{"name":"x"},"spec":{"jobTemplate":{"spec":{"template":{"spec":{"containers":[{"name":"a","envFrom":[{"secretRef":{"name":"db"}}]}]}}}}}}`, js},
		{"POST", "/apis/argoproj.io/v1alpha1/namespaces/" + ns + "/workflows", "kind: Workflow\nspec: {templates: [{container: {image: i, env: [{name: P, valueFrom: {secretKeyRef: {name: db, key: p}}}]}}]}", []string{"Content-Type", "application/yaml"}},
		{"PATCH", "/apis/apps/v1/namespaces/" + ns + "/deployments/web", `{"spec":{"template":{"spec":{"volumes":[{"name":"v","secret":{"secretName":"db"}}]}}}}`, merge},
		{"PATCH", at + "/pods/p/ephemeralcontainers", `{"spec":{"ephemeralContainers":[{"name":"d","image":"busybox"}]}}`, merge},
		{"GET", at + "/pods/p/log", "", nil},
		{"GET", at + "/pods/p/proxy/", "", nil},
		{"GET", "/api/v1/nodes/node/proxy/logs/", "", nil},
		{"GET", "/api/v1/nodes/https:node:10250/proxy/exec/" + ns + "/p/main?command=env", "", nil},
		{"GET", "/api/v1/namespaces/default/services/https:kubernetes:443/proxy/api/v1/secrets", "", nil},
		{"POST", at + "/serviceaccounts/default/token", `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","spec":{}}`, js},
		{"POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests", `{"kind":"CertificateSigningRequest","metadata":{"name":"x"},"spec":{"request":"eA==","signerName":"kubernetes.io/kube-apiserver-client","usages":["client auth"]}}`, js},
		{"PUT", "/apis/certificates.k8s.io/v1/certificatesigningrequests/x/approval", `{"kind":"CertificateSigningRequest"}`, js},
		{"POST", "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies", `{"kind":"ValidatingAdmissionPolicy","metadata":{"name":"x"}}`, js},
		{"POST", "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", `{"kind":"MutatingWebhookConfiguration","metadata":{"name":"x"}}`, js},
		{"POST", "/apis/apiregistration.k8s.io/v1/apiservices", `{"kind":"APIService","metadata":{"name":"x"}}`, js},
		{"POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", `{"kind":"ClusterRoleBinding","metadata":{"name":"x"}}`, js},
		{"PATCH", "/apis/rbac.authorization.k8s.io/v1/clusterroles/view", `{"rules":[]}`, merge},
		{"POST", "/apis/authentication.k8s.io/v1/tokenreviews", `{"kind":"TokenReview","spec":{"token":"x"}}`, js},
	} {
		a := g.do(token, c.method, c.target, c.body, c.header...)
		byPolicy := a.status == http.StatusForbidden && strings.Contains(a.body, "regate.k8s_")
		byItself := a.status == http.StatusBadRequest && strings.Contains(a.body, "kubernetes/")
		if !byPolicy && !byItself || strings.Contains(a.body, secretValue) {
			t.Errorf("%s %s: %d %s", c.method, c.target, a.status, a.body)
		}
	}
	if out, err := g.kubectl("agent")("-n", ns, "exec", "p", "--", "env"); err == nil || !strings.Contains(out, "regate.k8s_no_secrets/reaches-in") {
		t.Errorf("exec: %v %s", err, out)
	}
}
