package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite golden files and testdata/modules.txt")

const module = "github.com/regate-dev/regate"

// goPackage is what `go list -json` says of a package.
type goPackage struct {
	ImportPath   string
	Imports      []string
	TestImports  []string
	XTestImports []string
	Standard     bool
	Module       *struct {
		Path string
		Main bool
	}
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-e", "-json=ImportPath,Imports,TestImports,XTestImports,Standard,Module"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var list []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return list
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
}

// layer orders the rooms: a package may import only layers below its own, or
// packages of its own subtree.
func layer(path string) int {
	switch rel := strings.TrimPrefix(strings.TrimPrefix(path, module), "/"); {
	case rel == "cmd" || strings.HasPrefix(rel, "cmd/"):
		return 4
	case strings.HasPrefix(rel, "proxies/"):
		return 3
	case rel == "engine":
		return 2
	case strings.HasPrefix(rel, "engine/"):
		return 1
	default:
		return 0
	}
}

// room is the part of a path that names the room: engine/policy,
// proxies/postgres.
func room(path string) string {
	parts := strings.Split(strings.TrimPrefix(path, module+"/"), "/")
	return strings.Join(parts[:min(2, len(parts))], "/")
}

// mayImport are the rooms that a room of the engine may import. A room that is
// not listed may import none.
var mayImport = map[string][]string{
	"engine/identity": {"engine/input"},
	"engine/policy":   {"engine/input"},
	"engine/approval": {"engine/input"},
	"engine/console":  {"engine/input", "engine/identity", "engine/approval", "engine/record", "engine/policy", "engine/pin"},
}

// TestImportRules keeps the arrows of docs/architecture.md: cmd → proxies →
// engine → its leaves; no proxy knows OPA, and configuration stays above.
func TestImportRules(t *testing.T) {
	for _, p := range goList(t, "./...") {
		for _, imp := range p.Imports { // tests may go across rooms
			if outer := strings.HasPrefix(imp, "github.com/open-policy-agent/"); outer && layer(p.ImportPath) == 3 {
				t.Errorf("%s imports %s: proxies see the gate, not OPA", p.ImportPath, imp)
			}
			if imp == "github.com/spf13/viper" && room(p.ImportPath) != "engine/config" && layer(p.ImportPath) != 4 {
				t.Errorf("%s imports viper: only cmd and engine/config read configuration", p.ImportPath)
			}
			if !strings.HasPrefix(imp, module+"/") {
				continue
			}
			from, to := layer(p.ImportPath), layer(imp)
			same := room(p.ImportPath) == room(imp)
			switch {
			case from == 4 || same && from != 2:
			case from == 1:
				if !slices.Contains(mayImport[room(p.ImportPath)], room(imp)) {
					t.Errorf("%s imports %s: the room %s may not", p.ImportPath, imp, room(p.ImportPath))
				}
			case room(p.ImportPath) == "proxies/mcp" && room(imp) == "proxies/http": // it travels over HTTP
			case to >= from:
				t.Errorf("%s imports %s: imports point one way, cmd → proxies → engine → engine/*", p.ImportPath, imp)
			case room(imp) == "engine/config":
				t.Errorf("%s imports %s: cmd passes options, nothing else reads configuration", p.ImportPath, imp)
			}
		}
	}
}

// TestDependencyBudget: testdata/modules.txt lists the modules that regate's
// own code imports. A new one is a decision, made by adding it there with a
// reason; go test ./cmd/regate -run Budget -update adds it.
func TestDependencyBudget(t *testing.T) {
	const file = "testdata/modules.txt"
	modules := map[string]string{} // import path → module
	own := goList(t, "./...")
	for _, p := range goList(t, "-deps", "-test", "./...") {
		if p.Module != nil && !p.Module.Main {
			modules[p.ImportPath] = p.Module.Path
		}
	}
	used := map[string]string{} // module → why it counts
	for _, p := range own {
		for _, imp := range slices.Concat(p.Imports, p.TestImports, p.XTestImports) {
			if m, ok := modules[imp]; ok {
				used[m] = p.ImportPath
			}
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil && !*update {
		t.Fatal(err)
	}
	listed := map[string]string{} // module → its line
	var order []string
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		if name, _, _ := strings.Cut(line, " "); line != "" && !strings.HasPrefix(line, "#") {
			listed[name] = line
			order = append(order, name)
		}
	}
	if !slices.IsSorted(order) {
		t.Errorf("%s is not sorted", file)
	}
	for m, by := range used {
		if listed[m] == "" {
			listed[m] = m + "  # why: "
			if !*update {
				t.Errorf("%s is not in %s (imported by %s)", m, file, by)
			}
		}
	}
	for m := range listed {
		if used[m] == "" {
			delete(listed, m)
			if !*update {
				t.Errorf("%s is in %s, but nothing imports it", m, file)
			}
		}
	}
	if *update {
		var b strings.Builder
		b.WriteString("# The modules that regate's own code and tests import, and what for.\n# TestDependencyBudget fails when this list and the code differ.\n")
		for _, m := range slices.Sorted(maps.Keys(listed)) {
			b.WriteString(strings.TrimSpace(listed[m]) + "\n")
		}
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
