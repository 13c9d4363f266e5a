package policies_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regate-dev/regate/policies"
)

const (
	begin = "<!-- what follows is generated: go test ./policies -run Pages -update -->\n"
	end   = "<!-- end of what is generated -->\n"
)

// TestPages: the head of each page, and the index, say what the packs say of
// themselves.
func TestPages(t *testing.T) {
	packs, err := policies.Packs()
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	var index strings.Builder
	area := ""
	for _, p := range packs {
		current(t, page(p), head(t, p))
		known[filepath.Clean(page(p))] = true
		if a, _, _ := strings.Cut(p.Name, "/"); a != area {
			area = a
			fmt.Fprintf(&index, "\n| %s | |\n|---|---|\n", area)
		}
		_, name, _ := strings.Cut(p.Name, "/")
		fmt.Fprintf(&index, "| [%s](%s.md) | %s |\n", name, p.Name, p.Title)
	}
	current(t, filepath.Join("..", "docs", "packs", "README.md"), index.String()[1:]+"\n")
	pages, err := filepath.Glob(filepath.Join("..", "docs", "packs", "*", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range pages {
		if !known[filepath.Clean(name)] {
			t.Errorf("%s is a page of no pack", name)
		}
	}
}

// current holds the generated part of a file to text.
func current(t *testing.T, name, text string) {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Error(err)
		return
	}
	before, rest, found := bytes.Cut(raw, []byte(begin))
	_, after, ended := bytes.Cut(rest, []byte(end))
	if !found || !ended {
		t.Errorf("%s has no generated part", name)
		return
	}
	want := append(append(append(before[:len(before):len(before)], begin...), text...), append([]byte(end), after...)...)
	if bytes.Equal(want, raw) {
		return
	}
	if !*update {
		t.Errorf("%s is not current: run go test ./policies -run Pages -update", name)
		return
	}
	if err := os.WriteFile(name, want, 0o644); err != nil {
		t.Fatal(err)
	}
}

func head(t *testing.T, p policies.Pack) string {
	t.Helper()
	var b strings.Builder
	protocols := "every protocol"
	if len(p.Protocols) > 0 {
		protocols = strings.Join(p.Protocols, ", ")
	}
	fmt.Fprintf(&b, "For %s. `regate policy packs export DIR %s`\n\n```text\n%s\n```\n\n| says | id |\n|---|---|\n", protocols, p.Name, p.Description)
	for _, r := range p.Rules {
		fmt.Fprintf(&b, "| %s | `%s` |\n", r.Kind, r.ID)
	}
	var defaults bytes.Buffer
	if err := json.Indent(&defaults, p.Defaults, "", "  "); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintf(&b, "\nSettings at `regate.settings.%s`, and their defaults:\n\n```json\n%s\n```\n", p.Setting, &defaults)
	return b.String()
}
