package lint

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

var update = flag.Bool("update", false, "rewrite testdata")

// TestCorpus runs testdata/*.txtar: a policy in, its findings out. A case is
// named <group>_<what>.txtar. Lines `only: id…` of its comment keep the findings
// of those checks alone; a case that holds what must not be found has none left.
func TestCorpus(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			file, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			got := findings(t, ar)
			i := slices.IndexFunc(ar.Files, func(f txtar.File) bool { return f.Name == "findings" })
			if i < 0 {
				ar.Files = append(ar.Files, txtar.File{Name: "findings"})
				i = len(ar.Files) - 1
			}
			if string(ar.Files[i].Data) == got {
				return
			}
			if !*update {
				t.Errorf("findings differ; -update rewrites them. got:\n%swant:\n%s", got, ar.Files[i].Data)
				return
			}
			ar.Files[i].Data = []byte(got)
			if err := os.WriteFile(file, txtar.Format(ar), 0o644); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestEveryCheckHasCases: each check is found in some case, and each of those
// that may find too much has a case in which it must not: *_right.txtar names
// it and has no findings.
func TestEveryCheckHasCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	found, right := map[string]bool{}, map[string]bool{}
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, f := range ar.Files {
			if f.Name == "findings" {
				got = string(f.Data)
			}
		}
		named := strings.Fields(string(ar.Comment))
		if strings.HasSuffix(file, "_right.txtar") && got != "" {
			t.Errorf("%s has findings:\n%s", file, got)
		}
		for _, c := range Checks() {
			if strings.Contains(got, " "+c.ID+": ") {
				found[c.ID] = true
			}
			if strings.HasSuffix(file, "_right.txtar") && (slices.Contains(named, c.ID) || !strings.Contains(string(ar.Comment), "only:")) {
				right[c.ID] = true
			}
		}
	}
	for _, c := range Checks() {
		if !found[c.ID] {
			t.Errorf("%s is found in no case", c.ID)
		}
		if !right[c.ID] {
			t.Errorf("%s has no case in which it must not be found", c.ID)
		}
	}
}

// findings checks the files of an archive in a folder of their own.
func findings(t *testing.T, ar *txtar.Archive) string {
	t.Helper()
	dir := t.TempDir()
	for _, f := range ar.Files {
		if f.Name == "findings" {
			continue
		}
		name := filepath.Join(dir, filepath.FromSlash(f.Name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var only []string
	for line := range strings.Lines(string(ar.Comment)) {
		if rest, ok := strings.CutPrefix(line, "only:"); ok {
			only = append(only, strings.Fields(rest)...)
		}
	}
	t.Chdir(dir)
	r, err := Check(t.Context(), Options{Paths: []string{"."}, DetectKinds: []string{"credit_card", "email"}})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, f := range r.Findings {
		if len(only) > 0 && !slices.Contains(only, f.ID) {
			continue
		}
		fmt.Fprintf(&b, "%s:%d:%d: %s %s: %s\n", f.File, f.Line, f.Column, f.Severity, f.ID, strings.ReplaceAll(f.Message, "\n", "\n\t"))
		if strings.Contains(f.Fix, "did you mean") {
			fmt.Fprintf(&b, "\t%s\n", f.Fix)
		}
	}
	return b.String()
}
