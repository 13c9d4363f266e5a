package config

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// FuzzLoad: no text makes Load panic; every problem has an id, a message and a
// line inside the file; a configuration without errors prints as one that
// loads again.
func FuzzLoad(f *testing.F) {
	f.Add(minimal)
	f.Add("a: &a [*a]\nlog: *a\n")
	f.Add("log: &l {level: debug}\nadmin: {tls: *l}\n<<: *l\n")
	f.Add("targets: [{}, ~, 1, [], {name: x, name: y}]\n---\n{}\n")
	f.Add("? [1]\n: 2\n? {a: b}\n: 1\n!!binary x: 1\n")
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range files {
		ar, err := txtar.ParseFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if file.Name == "regate.yaml" {
				f.Add(string(file.Data))
			}
		}
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		name := filepath.Join(dir, "regate.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		// A file: reference may name any file of this machine: leave them.
		cfg, problems := Load(Options{File: name, SkipSecrets: true})
		lines := strings.Count(text, "\n") + 2
		for _, p := range problems {
			if p.ID == "" || p.Msg == "" || p.Severity == "" || p.Line < 0 || p.Line > lines {
				t.Fatalf("problem %+v in %q", p, text)
			}
		}
		if cfg == nil {
			t.Fatal("no Config")
		}
		var b bytes.Buffer
		if err := cfg.Print(&b); err != nil {
			t.Fatal(err)
		}
		if HasErrors(problems) || bytes.Contains(b.Bytes(), []byte(hidden)) {
			return // a secret that was written out is not printed, so it cannot be read back
		}
		if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, again := Load(Options{File: name, SkipSecrets: true}); HasErrors(again) {
			t.Fatalf("printed configuration does not load: %v\n%s", again, b.Bytes())
		}
	})
}
