package kubernetes_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// client-go's informers, which begin with a streamed list, stay in sync through
// the gateway, and never hold what a mask hides.
func TestInformerStaysInSync(t *testing.T) {
	g := start(t, allowAll+`
mask contains {"id": "test/data", "field": "configmaps:/data/hidden", "method": "redact"}
`)
	ns := g.namespace()
	admin, err := dynamic.NewForConfig(g.cluster.Config(g.cluster.Admin))
	must(t, err)
	agent, err := dynamic.NewForConfig(&rest.Config{Host: g.url, BearerToken: g.token("agent"), TLSClientConfig: rest.TLSClientConfig{CAFile: g.ca}, QPS: -1})
	must(t, err)
	kind := schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}
	object := func(i int, value string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": fmt.Sprintf("c-%d", i), "namespace": ns},
			"data": map[string]any{"hidden": secretValue, "shown": value},
		}}
	}
	write := func(i int, value string, update bool) {
		t.Helper()
		var err error
		if update {
			_, err = admin.Resource(kind).Namespace(ns).Update(t.Context(), object(i, value), metav1.UpdateOptions{})
		} else {
			_, err = admin.Resource(kind).Namespace(ns).Create(t.Context(), object(i, value), metav1.CreateOptions{})
		}
		must(t, err)
	}
	const before, after = 50, 200
	for i := range before {
		write(i, "old", false)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	factory := dynamicinformer.NewFilteredDynamicSharedInformerFactory(agent, 0, ns, nil)
	informer := factory.ForResource(kind).Informer()
	var events, leaks atomic.Int64
	look := func(o any) {
		events.Add(1)
		if u, ok := o.(*unstructured.Unstructured); ok && strings.Contains(fmt.Sprint(u.Object), secretValue) {
			leaks.Add(1)
		}
	}
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{AddFunc: look, UpdateFunc: func(_, o any) { look(o) }, DeleteFunc: look})
	must(t, err)
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), informer.HasSynced) {
		t.Fatal("not in sync")
	}
	for i := range after {
		write(i, "new", i < before)
	}
	for i := range 20 {
		must(t, admin.Resource(kind).Namespace(ns).Delete(t.Context(), fmt.Sprintf("c-%d", i), metav1.DeleteOptions{}))
	}
	same := func() bool {
		list := informer.GetStore().List()
		for _, o := range list {
			if v, _, _ := unstructured.NestedString(o.(*unstructured.Unstructured).Object, "data", "shown"); v != "new" {
				return false
			}
		}
		return len(list) == after-20
	}
	for end := time.Now().Add(30 * time.Second); !same(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the informer has %d objects after %d events", len(informer.GetStore().List()), events.Load())
		}
	}
	if leaks.Load() > 0 {
		t.Errorf("%d of %d events held a masked value", leaks.Load(), events.Load())
	}
	cancel()
	factory.Shutdown()
}
