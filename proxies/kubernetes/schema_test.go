package kubernetes_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/rego"
	"golang.org/x/tools/txtar"

	"github.com/regate-dev/regate/engine/identity"
	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/proxies/kubernetes"
	"github.com/regate-dev/regate/proxies/kubernetes/request"
)

// Every document has every key of the schema that authors check their policies
// with, and no other.
func TestDocumentsFitTheSchema(t *testing.T) {
	var schema any
	must(t, json.Unmarshal(input.JSONSchema(input.Kubernetes), &schema))
	query, err := rego.New(rego.Query(`x = json.match_schema(input.doc, input.schema)`)).PrepareForEval(t.Context())
	must(t, err)
	fits := func(name string, doc *input.Document) {
		t.Helper()
		raw, err := doc.MarshalJSON()
		must(t, err)
		var v any
		must(t, json.Unmarshal(raw, &v))
		found, err := query.Eval(t.Context(), rego.EvalInput(map[string]any{"doc": v, "schema": schema}))
		must(t, err)
		if answer := found[0].Bindings["x"].([]any); answer[0] != true {
			t.Errorf("%s: %v", name, answer[1])
		}
	}
	preview := kubernetes.NewPreview(kubernetes.PreviewConfig{
		Target: "dev", Now: time.Unix(0, 0), Labels: map[string]string{"env": "test"},
		Identity: &identity.Identity{Subject: input.Principal{ID: "a", Groups: []string{}, Scopes: []string{}, Claims: map[string]any{}}},
	})
	fits("session", preview.Open())
	files, err := filepath.Glob("request/testdata/*.txtar")
	must(t, err)
	count := 0
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		must(t, err)
		for _, f := range archive.Files {
			if !strings.HasSuffix(f.Name, ".http") {
				continue
			}
			raw, err := request.Read(f.Data)
			must(t, err)
			if doc, err := preview.Request(raw); err == nil {
				fits(f.Name, doc)
				count++
			}
		}
	}
	if count < 30 {
		t.Errorf("%d documents were checked", count)
	}
}
