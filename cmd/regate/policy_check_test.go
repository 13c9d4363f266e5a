package main

import (
	"bytes"
	"os"
	"testing"

	"github.com/regate-dev/regate/engine/policy/lint"
)

// TestPolicyCheckPage: docs/policy-check.md ends with the table that `regate
// policy check --list --markdown` prints; -update writes it anew.
func TestPolicyCheckPage(t *testing.T) {
	const page, mark = "../../docs/policy-check.md", "<!-- regate policy check --list --markdown -->\n"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	prose, _, ok := bytes.Cut(raw, []byte(mark))
	if !ok {
		t.Fatalf("%s has no line %q", page, mark)
	}
	want := bytes.NewBuffer(append(prose, mark...))
	if err := printChecksMarkdown(want); err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(raw, want.Bytes()) {
		return
	}
	if !*update {
		t.Fatalf("%s is not current: run go test ./cmd/regate -run PolicyCheckPage -update", page)
	}
	if err := os.WriteFile(page, want.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestOwnPoliciesAreClean: nothing that regate ships has an error or a warning.
func TestOwnPoliciesAreClean(t *testing.T) {
	t.Chdir("../..")
	for _, paths := range [][]string{{"policies"}, {"policies", "bundles"}, {"policies/lib", "bundles/demo"}} {
		report, err := lint.Check(t.Context(), lint.Options{Paths: paths})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range report.Findings {
			if f.Severity.AtLeast(lint.Warning) {
				t.Errorf("%s:%d: %s %s: %s", f.File, f.Line, f.Severity, f.ID, f.Message)
			}
		}
	}
}
