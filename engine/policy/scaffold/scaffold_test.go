package scaffold

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/topdown"
	"github.com/open-policy-agent/opa/v1/version"
	"go.yaml.in/yaml/v3"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// stockOPA returns the opa that the module of tools pins, built as the
// Makefile builds it.
func stockOPA(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, "build", "tools", "opa")
	if out, err := exec.CommandContext(t.Context(), file, "version").Output(); err == nil && strings.Contains(string(out), "Version: "+version.Version+"\n") {
		return file
	}
	made := filepath.Join(t.TempDir(), "opa")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", made, "github.com/open-policy-agent/opa")
	cmd.Dir, cmd.Env = filepath.Join(root, ".tools"), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build opa: %v\n%s", err, out)
	}
	return made
}

// run runs a command of a workflow in dir, where opa is the one at path.
func run(t *testing.T, path, dir, command string) (string, error) {
	t.Helper()
	words := strings.Fields(command)
	if words[0] != "opa" {
		t.Fatalf("%q is not a command of stock opa", command)
	}
	cmd := exec.CommandContext(t.Context(), path, words[1:]...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// made writes a bundle to a new folder.
func made(t *testing.T, o Options) string {
	t.Helper()
	files, err := Bundle(o)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "a bundle")
	if err := Write(dir, files, false); err != nil {
		t.Fatal(err)
	}
	return dir
}

// workflow returns the commands of the two workflows, which are the same.
func workflow(t *testing.T, dir string) []string {
	t.Helper()
	var github struct {
		Jobs map[string]struct{ Steps []struct{ Run string } }
	}
	var gitlab map[string]struct{ Script []string }
	for name, into := range map[string]any{".github/workflows/policy.yml": &github, ".gitlab-ci.yml": &gitlab} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(raw, into); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, raw)
		}
	}
	var commands []string
	for _, step := range github.Jobs["policy"].Steps {
		if step.Run != "" {
			commands = append(commands, step.Run)
		}
	}
	if !slices.Equal(commands, gitlab["policy"].Script) || !slices.Equal(commands, Commands()) {
		t.Fatalf("GitHub runs %q, GitLab %q", commands, gitlab["policy"].Script)
	}
	return commands
}

var every = input.Protocols()

// TestBundlesPass: what is made passes every command of its own workflows, and
// the gateway puts it into force, for each protocol and for all at once.
func TestBundlesPass(t *testing.T) {
	opa := stockOPA(t)
	cases := map[string]Options{
		"all":       {Protocols: every, Owner: "acme"},
		"long name": {Protocols: []input.Protocol{input.Postgres}, Owner: "a_rather_long_owner_of_policies", Name: "a_rather_long_name_of_a_policy_package_as_well"},
		"all named": {Protocols: every, Owner: "acme", Name: "orders"},
	}
	for _, p := range every {
		cases[string(p)] = Options{Protocols: []input.Protocol{p}, Owner: "acme"}
	}
	for name, o := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := made(t, o)
			for _, command := range workflow(t, dir) {
				if out, err := run(t, opa, dir, command); err != nil {
					t.Errorf("%s: %v\n%s", command, err, out)
				}
			}
			e, err := policy.New(t.Context(), policy.Config{Bundles: []policy.Bundle{{Name: "acme", Paths: []string{dir}}}})
			if err != nil {
				t.Fatal(err)
			}
			defer e.Close(context.WithoutCancel(t.Context()))
			if err := e.Ready(); err != nil {
				t.Errorf("the gateway does not take it: %v\n%+v", err, e.Status())
			}
		})
	}
}

// TestWorkflowFails: the workflow notices what it is there for.
func TestWorkflowFails(t *testing.T) {
	opa := stockOPA(t)
	for name, c := range map[string]struct{ old, new, want string }{
		"not formatted":      {"readers := {", "readers :=  {", "policy.rego"},
		"a field's name":     {"input.action.has_where == false", "input.action.has_wher == false", "undefined ref: input.action.has_wher"},
		"a forbidden call":   {"input.action.has_where == false", "http.send({}).x == false", "undefined function http.send"},
		"a rule not tested":  {"# Whatever writes waits", "deny contains {\"id\": \"x\"} if input.action.verb == \"drop\"\n\n# Whatever writes waits", "coverage threshold not met"},
		"a decision changed": {"\"insert\", \"update\", \"delete\"}", "\"insert\", \"delete\"}", "FAIL"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := made(t, Options{Protocols: []input.Protocol{input.Postgres}, Owner: "acme"})
			file := filepath.Join(dir, "sql", "policy.rego")
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.Replace(string(raw), c.old, c.new, 1)
			if changed == string(raw) {
				t.Fatalf("no %q", c.old)
			}
			if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, command := range Commands() {
				if out, err := run(t, opa, dir, command); err != nil {
					if !strings.Contains(out, c.want) {
						t.Errorf("%s: no %q in\n%s", command, c.want, out)
					}
					return
				}
			}
			t.Error("the workflow passes")
		})
	}
}

// TestEditor: the settings of VS Code name what is there, and what its extension
// runs when a file is saved knows every field.
func TestEditor(t *testing.T) {
	opa := stockOPA(t)
	dir := made(t, Options{Protocols: every, Owner: "acme"})
	raw, err := os.ReadFile(filepath.Join(dir, ".vscode", "settings.json"))
	if err != nil {
		t.Fatal(err)
	}
	var settings struct {
		Roots   []string `json:"opa.roots"`
		Schema  string   `json:"opa.schema"`
		Bundle  bool     `json:"opa.bundleMode"`
		Schemas []struct {
			FileMatch []string
			URL       string
		} `json:"json.schemas"`
	}
	if err := json.Unmarshal(raw, &settings); err != nil {
		t.Fatal(err)
	}
	if len(settings.Schemas) != len(every) || len(settings.Roots) != 1 || !settings.Bundle {
		t.Errorf("%+v", settings)
	}
	for _, s := range settings.Schemas {
		for _, name := range append(s.FileMatch, s.URL) {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Error(err)
			}
		}
	}
	here := func(s string) string { return strings.ReplaceAll(s, "${workspaceFolder}", dir) }
	check := func() (string, error) {
		cmd := exec.CommandContext(t.Context(), opa, "check", "--bundle", here(settings.Roots[0]), "--strict", "--schema="+here(settings.Schema))
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := check(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for file, field := range map[string]string{"sql": "action.verb", "kubernetes": "resource.namespace", "http": "resource.host", "mcp": "resource.pin"} {
		name := filepath.Join(dir, file, "policy.rego")
		was, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		typo := strings.Replace(string(was), "input."+field, "input."+field+"x", 1)
		if err := os.WriteFile(name, []byte(typo), 0o600); err != nil {
			t.Fatal(err)
		}
		_, last, _ := strings.Cut(field, ".")
		if out, err := check(); err == nil || !strings.Contains(out, "undefined ref: input."+field+"x") || !strings.Contains(out, strconv.Quote(last)) {
			t.Errorf("%v\n%s", err, out)
		}
		if err := os.WriteFile(name, was, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestExamples: they are documents as the schemas have them, and say something.
func TestExamples(t *testing.T) {
	verify := topdown.GetBuiltin("json.match_schema")
	for _, p := range every {
		doc, err := Example(p)
		if err != nil {
			t.Fatal(err)
		}
		var valid *ast.Term
		err = verify(topdown.BuiltinContext{}, []*ast.Term{ast.StringTerm(string(doc)), ast.StringTerm(string(input.JSONSchema(p)))},
			func(term *ast.Term) error { valid = term; return nil })
		if err != nil {
			t.Fatal(err)
		}
		if got := valid.Value.(*ast.Array); !got.Elem(0).Equal(ast.BooleanTerm(true)) {
			t.Errorf("%s: %v\n%s", p, got.Elem(1), doc)
		}
		var top map[string]any
		if err := json.Unmarshal(doc, &top); err != nil || top["protocol"] != string(p) {
			t.Errorf("%s: %v, %v", p, top["protocol"], err)
		}
	}
	if _, err := Example("smtp"); err == nil {
		t.Error("an example of an unknown protocol")
	}
}

func TestBadOptions(t *testing.T) {
	pg := []input.Protocol{input.Postgres}
	for want, o := range map[string]Options{
		"no protocol":        {Owner: "acme"},
		`protocol "smtp"`:    {Protocols: []input.Protocol{"smtp"}, Owner: "acme"},
		`protocol ""`:        {Protocols: []input.Protocol{""}, Owner: "acme"},
		"named twice":        {Protocols: []input.Protocol{input.Postgres, input.Postgres}, Owner: "acme"},
		`owner ""`:           {Protocols: pg},
		`owner "../up"`:      {Protocols: pg, Owner: "../up"},
		`owner "a.b"`:        {Protocols: pg, Owner: "a.b"},
		`owner "if"`:         {Protocols: pg, Owner: "if"},
		`owner "1st"`:        {Protocols: pg, Owner: "1st"},
		`owner "Größe"`:      {Protocols: pg, Owner: "Größe"},
		`owner "regate" is`:  {Protocols: pg, Owner: "regate"},
		`name "schemas"`:     {Protocols: pg, Owner: "acme", Name: "schemas"},
		`name "x_test"`:      {Protocols: pg, Owner: "acme", Name: "x_test"},
		"name \"a\\nb\" is":  {Protocols: pg, Owner: "acme", Name: "a\nb"},
		`name "aaaaaaaaaaaa`: {Protocols: pg, Owner: "acme", Name: strings.Repeat("a", 200)},
	} {
		files, err := Bundle(o)
		if err == nil || files != nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s: %v", want, err)
		}
	}
}

func TestWrite(t *testing.T) {
	files := []File{{"a.txt", []byte("a")}, {"deep/er/b.txt", []byte("b")}}
	dir := filepath.Join(t.TempDir(), "-x\n y")
	if err := Write(dir, files, false); err != nil {
		t.Fatal(err)
	}
	// A file that is there stops everything.
	if err := os.Remove(filepath.Join(dir, "a.txt")); err != nil {
		t.Fatal(err)
	}
	var exists *ExistsError
	if err := Write(dir, files, false); !errors.As(err, &exists) || !slices.Equal(exists.Paths, []string{"deep/er/b.txt"}) {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a.txt")); err == nil {
		t.Error("something was written")
	}
	if err := Write(dir, []File{{"deep/er/b.txt", []byte("c")}}, true); err != nil {
		t.Error(err)
	}
	if raw, _ := os.ReadFile(filepath.Join(dir, "deep", "er", "b.txt")); string(raw) != "c" {
		t.Errorf("%q", raw)
	}
	left, err := filepath.Glob(filepath.Join(dir, "deep", "er", "*"))
	if err != nil || len(left) != 1 {
		t.Errorf("%q, %v", left, err)
	}
}

// TestWriteStaysInside: links below the folder lead nowhere, and a folder in
// the place of a file stays.
func TestWriteStaysInside(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func(dir string) error{
		"a link to a file":         func(dir string) error { return os.Symlink(victim, filepath.Join(dir, "victim")) },
		"a link that leads astray": func(dir string) error { return os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "victim")) },
		"a folder":                 func(dir string) error { return os.Mkdir(filepath.Join(dir, "victim"), 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			if err := Write(dir, []File{{"victim", []byte("yours")}}, true); err == nil {
				t.Error("it was written")
			}
		})
	}
	t.Run("a link to a folder", func(t *testing.T) {
		dir := t.TempDir()
		if err := os.Symlink(outside, filepath.Join(dir, "sub")); err != nil {
			t.Fatal(err)
		}
		if err := Write(dir, []File{{"sub/victim", []byte("yours")}}, true); err == nil {
			t.Error("it was written")
		}
	})
	if raw, _ := os.ReadFile(victim); string(raw) != "mine" {
		t.Errorf("%q", raw)
	}
	if left, _ := os.ReadDir(outside); len(left) != 1 {
		t.Errorf("%v", left)
	}
	if err := Write(victim, []File{{"a", nil}}, true); err == nil {
		t.Error("a folder in the place of a file was made")
	}
}
