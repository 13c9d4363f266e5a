package rewrite

import (
	"bytes"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/regate-dev/regate/engine/mask"
	"github.com/regate-dev/regate/engine/policy"
)

// podList is a list of n pods, each of about 3 KiB.
func podList(n int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"1"},"items":[`)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"metadata":{"name":"web-%d","namespace":"shop","uid":"0b1c2d3e-0000-4000-8000-%012d","resourceVersion":"%d","labels":{"app":"web","pod-template-hash":"5d8f7b9c4"},"annotations":{"example.com/owner":"team-%d"},"ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"web","controller":true}],"managedFields":[{"manager":"kube-controller-manager","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{".":{},"f:app":{},"f:pod-template-hash":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:env":{".":{},"k:{\"name\":\"A\"}":{".":{},"f:name":{},"f:value":{}}},"f:image":{},"f:imagePullPolicy":{},"f:name":{},"f:resources":{}}}}}}]},"spec":{"volumes":[{"name":"kube-api-access","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}}],"defaultMode":420}}],"containers":[{"name":"web","image":"registry.example.com/shop/web:1.2.3","ports":[{"containerPort":8080,"protocol":"TCP"}],"env":[{"name":"A","value":"secret value %d"},{"name":"B","valueFrom":{"secretKeyRef":{"name":"db","key":"password"}}},{"name":"URL","value":"https://user:pass@db.example.com/shop"}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":"128Mi"}},"volumeMounts":[{"name":"kube-api-access","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}],"terminationMessagePath":"/dev/termination-log","imagePullPolicy":"IfNotPresent"}],"restartPolicy":"Always","dnsPolicy":"ClusterFirst","serviceAccountName":"default","nodeName":"node-%d","securityContext":{},"schedulerName":"default-scheduler","tolerations":[{"key":"node.kubernetes.io/not-ready","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}],"priority":0},"status":{"phase":"Running","conditions":[{"type":"Ready","status":"True","lastTransitionTime":"2026-11-23T10:00:00Z"},{"type":"ContainersReady","status":"True","lastTransitionTime":"2026-11-23T10:00:00Z"}],"hostIP":"10.0.0.%d","podIP":"10.1.0.%d","startTime":"2026-11-23T10:00:00Z","containerStatuses":[{"name":"web","state":{"running":{"startedAt":"2026-11-23T10:00:00Z"}},"ready":true,"restartCount":0,"image":"registry.example.com/shop/web:1.2.3"}],"qosClass":"Burstable"}}`,
			i, i, i, i%7, i, i%50, i%250, i%250)
	}
	b.WriteString(`]}`)
	return b.Bytes()
}

// used is the CPU time of this process.
func used(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkPodList(b *testing.B) {
	list := podList(1000)
	for name, masks := range map[string][]policy.Mask{
		"field":           {redact("pods:/spec/containers/env/value")},
		"kinds":           {{Detect: "credit_card", Method: mask.Redact}, {Detect: "email", Method: mask.Redact}},
		"field-and-kinds": {redact("pods:/spec/containers/env/value"), {Detect: "api_key", Method: mask.Redact}},
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(list)))
			b.ReportAllocs()
			before := used(b)
			for b.Loop() {
				if err := masker(b, "pods", masks...).Document(io.Discard, bytes.NewReader(list), false); err != nil {
					b.Fatal(err)
				}
			}
			// Others may be using the machine.
			b.ReportMetric((used(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/op")
		})
	}
}
