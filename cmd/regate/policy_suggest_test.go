package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/policy/backtest"
)

// TestSuggestFromRecordings: a draft of real traffic passes stock opa and allows
// exactly that traffic.
func TestSuggestFromRecordings(t *testing.T) {
	s := recordTraffic(t, "SELECT mark FROM marks", "SELECT mark, hidden FROM marks WHERE mark = 'secret value'", "INSERT INTO marks (mark) VALUES ('secret value')",
		"UPDATE marks SET mark = 'secret value' WHERE mark = 'x'", "UPDATE marks SET mark = 'x'", "DELETE FROM marks", "SELECT 1 FROM nowhere",
		"SELECT length(mark) FROM marks", "BEGIN", "COMMIT", "SHOW work_mem")
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(s.dir)
	draft := filepath.Join(s.dir, "draft")
	said := regate(t, 0, "policy", "suggest", "--agent", "agent-1", "-c", s.config, "--write", draft)
	wantAll(t, said, "decisions of agent-1", "3 rules", "left out: 1: not complete")
	raw, err := os.ReadFile(filepath.Join(draft, "agent_1.rego"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := os.ReadFile(filepath.Join(draft, "agent_1_test.rego"))
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, string(raw), "# DRAFT", "mode: shadow", `allow contains {"id": "drafts.agent_1/select-public.marks"} if {`, "SELECT mark, hidden FROM marks WHERE mark = $1",
		`input.resource.table_names == ["public.marks"]`, `"public.marks.hidden"`)
	if text := string(raw) + string(tests); strings.Contains(text, "secret value") {
		t.Errorf("a value is in the draft:\n%s", text)
	}
	opa := stockOPA(t, root)
	opa("check", "--strict", "--schema", filepath.Join(root, "policies", "schemas"), "--capabilities", filepath.Join(root, "policies", "capabilities.json"), draft)
	opa("fmt", "--fail", "--list", draft)
	opa("test", "-b", draft)
	opa("test", "--coverage", "--threshold", "90", draft)

	// Enforced and alone, it allows what was allowed and no more.
	enforced := filepath.Join(s.dir, "enforced")
	writeFile(t, filepath.Join(enforced, "p.rego"), strings.Replace(string(raw), "mode: shadow", "mode: enforce", 1))
	r := replayJSON(t, 0, "--bundle", enforced, "-c", s.config)
	if n := r.Of(backtest.NewlyDenied).Count; n != 2 { // what was incomplete, and what was held
		t.Errorf("%d newly denied: %+v", n, r.Changes)
	}
	if n := r.Of(backtest.NewlyAllowed).Count; n != 0 {
		t.Errorf("%d newly allowed: %+v", n, r.Changes)
	}
	wantAll(t, regate(t, 1, "policy", "suggest", "--agent", "nobody", "-c", s.config), "no decision of agent")
	wantAll(t, regate(t, 1, "policy", "suggest", "--agent", "agent-1", "-c", s.config, "--write", draft), "is not empty")
	wantAll(t, regate(t, 0, "policy", "suggest", "--agent", "agent-1", "-c", s.config), "# DRAFT", "3 rules, which allow all 5")
}

// stockOPA runs OPA as its makers built it, at the version that the tools pin.
func stockOPA(t *testing.T, root string) func(args ...string) {
	t.Helper()
	return func(args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "go", append([]string{"tool", "-modfile=" + filepath.Join(root, ".tools", "go.mod"), "opa"}, args...)...)
		cmd.Dir = root
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("opa %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
