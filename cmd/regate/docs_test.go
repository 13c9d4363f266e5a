package main

import (
	"bytes"
	"os"
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
