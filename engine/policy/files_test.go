package policy

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/loader"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/input"
)

var update = flag.Bool("update", false, "rewrite the generated files in policies/")

// Authors check their policies with stock opa against these files.
func TestPublishedFilesAreCurrent(t *testing.T) {
	capabilities, err := CapabilitiesJSON()
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]byte{
		"capabilities.json":       capabilities,
		"schemas/common.json":     input.CommonSchema(),
		"schemas/http.json":       input.JSONSchema(input.HTTP),
		"schemas/mcp.json":        input.JSONSchema(input.MCP),
		"schemas/kubernetes.json": input.JSONSchema(input.Kubernetes),
		"schemas/postgres.json":   input.JSONSchema(input.Postgres),
	} {
		path := filepath.Join(repo, "policies", name)
		if *update {
			if err := os.WriteFile(path, want, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not current (%v): run go test ./engine/policy -run Published -update", path, err)
		}
	}
	var doc map[string]any
	if err := json.Unmarshal(capabilities, &doc); err != nil {
		t.Fatal(err)
	}
	if hosts, ok := doc["allow_net"].([]any); !ok || len(hosts) != 0 {
		t.Errorf("allow_net is %v", doc["allow_net"])
	}
}

// The packs' own tests pass and cover them, as stock `opa test --coverage` says.
func TestPacksPassTheirTests(t *testing.T) {
	for _, bundle := range []string{"bundles/demo", "bundles/demo-kubernetes", "bundles/bench"} {
		t.Run(bundle, func(t *testing.T) {
			loaded, err := loader.NewFileLoader().WithProcessAnnotation(true).All(everyPack(t, bundle))
			if err != nil {
				t.Fatal(err)
			}
			store := inmem.NewFromObject(loaded.Documents)
			modules := loaded.ParsedModules()
			schemas, err := schemaSet()
			if err != nil {
				t.Fatal(err)
			}
			txn := storage.NewTransactionOrDie(t.Context(), store, storage.WriteParams)
			defer store.Abort(context.Background(), txn)
			compiler := ast.NewCompiler().WithStrict(true).WithSchemas(schemas).WithUseTypeCheckAnnotations(true).WithCapabilities(capabilities()).
				WithPathConflictsCheck(storage.NonEmpty(t.Context(), store, txn))
			coverage := cover.New()
			runner := tester.NewRunner().SetCompiler(compiler).SetStore(store).CapturePrintOutput(true).
				SetCoverageQueryTracer(coverage).SetModules(modules).RaiseBuiltinErrors(true).SetTimeout(time.Minute)
			results, err := runner.RunTests(t.Context(), txn)
			if err != nil {
				t.Fatal(err)
			}
			count := 0
			for r := range results {
				count++
				if !r.Pass() {
					t.Errorf("%s.%s: failed %v, %v", r.Package, r.Name, r.Fail, r.Error)
				}
			}
			if count < 240 {
				t.Errorf("%d tests ran", count)
			}
			for name, file := range coverage.Report(modules).Files {
				if len(file.NotCovered) > 0 {
					t.Errorf("%s: not covered: %v", name, file.NotCovered)
				}
			}
		})
	}
}

// Real documents of every stage are valid by the schema that authors check
// their policies with.
func TestDocumentsFitTheSchema(t *testing.T) {
	verify := topdown.GetBuiltin("json.match_schema")
	valid := func(raw []byte) string {
		var operands []*ast.Term
		for _, text := range [][]byte{raw, input.JSONSchema(input.Postgres)} {
			v, err := ast.ValueFromReader(bytes.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			operands = append(operands, ast.NewTerm(v))
		}
		out := "no answer"
		err := verify(topdown.BuiltinContext{Context: t.Context(), Capabilities: capabilities()}, operands, func(r *ast.Term) error {
			a := r.Value.(*ast.Array)
			out = ""
			if a.Elem(0).Value.Compare(ast.Boolean(true)) != 0 {
				out = a.Elem(1).String()
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	full := selectDoc()
	session := with(full, func(d *input.Document) { d.Stage, d.Detail, d.Actor = input.StageSession, nil, nil })
	response := with(full, func(d *input.Document) {
		d.Stage = input.StageResponse
		d.Response = input.NewPart(input.Response{
			Fields:     []input.Field{{Name: "email", Type: "text", Sources: []string{"public.customers.email"}, Derivation: input.Exact}},
			FieldNames: []string{"email"}, SourceNames: []string{"public.customers.email"},
		})
		d.Unknown = input.NewPart([]input.Unknown{{What: "x", Why: "y"}})
		d.Approvals = []input.Approval{{ID: "a", By: input.Approver{ID: "b", Groups: []string{}}}}
	})
	for _, doc := range []*input.Document{full, session, response} {
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if problem := valid(raw); problem != "" {
			t.Errorf("stage %s: %s", doc.Stage, problem)
		}
	}
	if valid([]byte(`{}`)) == "" {
		t.Error("an empty document is valid")
	}
}
