package web

import (
	"crypto/sha256"
	"encoding/hex"
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

// TestVendored holds the scripts of others to what vendored/README.md says of
// them, and asks for their licences.
func TestVendored(t *testing.T) {
	readme, err := files.ReadFile("vendored/README.md")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([^`]+)` .* `([0-9a-f]{64})` \\|$").FindAllStringSubmatch(string(readme), -1) {
		want[m[1]] = m[2]
	}
	list, err := fs.ReadDir(files, "vendored")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range list {
		if kinds[f.Name()[strings.LastIndex(f.Name(), "."):]] == "" {
			continue
		}
		body, err := files.ReadFile("vendored/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(body); hex.EncodeToString(sum[:]) != want[f.Name()] {
			t.Errorf("%s has the digest %x, the page says %s", f.Name(), sum, want[f.Name()])
		}
		name, _, _ := strings.Cut(f.Name(), ".")
		if _, err := files.ReadFile("vendored/" + name + ".LICENSE"); err != nil {
			t.Error(err)
		}
		delete(want, f.Name())
	}
	for name := range want {
		t.Errorf("%s is on the page and not there", name)
	}
}
