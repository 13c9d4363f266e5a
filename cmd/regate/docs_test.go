package main

import (
	"bytes"
	"os"
	"regexp"
	"testing"
)

// TestConfigurationPage: docs/configuration.md ends with the table that
// `regate config keys --markdown` prints; -update writes it anew.
func TestConfigurationPage(t *testing.T) {
	const page, mark = "../../docs/configuration.md", "<!-- regate config keys --markdown -->\n"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	prose, _, ok := bytes.Cut(raw, []byte(mark))
	if !ok {
		t.Fatalf("%s has no line %q", page, mark)
	}
	want := bytes.NewBuffer(append(prose, mark...))
	if err := printKeysMarkdown(want); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(raw, want.Bytes()) {
		return
	}
	if !*update {
		t.Fatalf("%s is not current: run go test ./cmd/regate -run ConfigurationPage -update", page)
	}
	if err := os.WriteFile(page, want.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestConfigProblemsPage: docs/operate.md names every id that `regate config
// check` may print.
func TestConfigProblemsPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("../../engine/config/problem.go")
	if err != nil {
		t.Fatal(err)
	}
	ids := regexp.MustCompile(`"(config/[a-z-]+)"`).FindAllSubmatch(source, -1)
	if len(ids) < 10 {
		t.Fatalf("%d ids", len(ids))
	}
	for _, id := range ids {
		if !bytes.Contains(page, append(append([]byte("| `"), id[1]...), '`')) {
			t.Errorf("%s is not in docs/operate.md", id[1])
		}
	}
}
