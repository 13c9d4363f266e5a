package prove

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/regate-dev/regate/engine/policy"
)

const repo = "../../.."

// stockOPA builds opa at the version that is pinned in .tools.
func stockOPA(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(repo)
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(t.TempDir(), "opa")
	cmd := exec.CommandContext(t.Context(), "go", "-C", filepath.Join(dir, ".tools"), "build", "-buildvcs=false", "-o", bin, "github.com/open-policy-agent/opa")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build opa: %v\n%s", err, out)
	}
	return bin
}

// outcomes are the results of tests by name: what stock opa and regate must
// agree on.
func outcomes(results []*tester.Result) map[string]string {
	out := map[string]string{}
	for _, r := range results {
		out[r.Package+"."+r.Name] = fmt.Sprintf("%s:%d pass=%v fail=%v skip=%v error=%v cases=%s",
			filepath.Base(r.Location.File), r.Location.Row, r.Pass(), r.Fail, r.Skip, r.Error != nil, r.SubResults)
	}
	return out
}

// The same tests have the same results as with stock `opa test`: over our own
// packs and bundles, and over tests that fail, err, are skipped or have cases.
func TestSameResultsAsStockOPA(t *testing.T) {
	opa := stockOPA(t)
	packs, err := filepath.Glob(repo + "/policies/*/*/.manifest")
	if err != nil || len(packs) == 0 {
		t.Fatal("no packs", err)
	}
	ours := []string{repo + "/policies/lib"}
	for _, p := range packs {
		ours = append(ours, filepath.Dir(p))
	}
	for name, paths := range map[string][]string{
		"demo":   append(slices.Clone(ours), repo+"/bundles/demo"),
		"bench":  append(slices.Clone(ours), repo+"/bundles/bench"),
		"corpus": {"testdata/outcomes"},
	} {
		t.Run(name, func(t *testing.T) {
			args := append([]string{"test", "--bundle", "--format", "json"}, paths...)
			raw, err := exec.CommandContext(t.Context(), opa, args...).Output()
			var stock []*tester.Result
			if json.Unmarshal(raw, &stock) != nil {
				t.Fatalf("opa test: %v\n%s", err, raw)
			}
			set, err := policy.LoadSet(t.Context(), policy.SetOptions{Paths: paths})
			if err != nil {
				t.Fatal(err)
			}
			report, err := Test(t.Context(), set, TestOptions{Coverage: true})
			if err != nil {
				t.Fatal(err)
			}
			want, got := outcomes(stock), outcomes(report.Results)
			if len(want) == 0 || !maps.Equal(want, got) {
				for k := range want {
					if got[k] != want[k] {
						t.Errorf("%s: %q, and %q with stock opa", k, got[k], want[k])
					}
				}
				t.Errorf("%d tests, %d with stock opa", len(got), len(want))
			}

			// Coverage, too: the report of stock opa has it by file.
			raw, err = exec.CommandContext(t.Context(), opa, append([]string{"test", "--bundle", "--coverage"}, paths...)...).Output()
			var covered struct {
				CoveredLines    int     `json:"covered_lines"`
				NotCoveredLines int     `json:"not_covered_lines"`
				Coverage        float64 `json:"coverage"`
			}
			if bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
				if err := json.Unmarshal(raw, &covered); err != nil {
					t.Fatal(err)
				}
				if c := report.Coverage; c.CoveredLines != covered.CoveredLines || c.NotCoveredLines != covered.NotCoveredLines {
					t.Errorf("coverage %d/%d, and %+v with stock opa", c.CoveredLines, c.NotCoveredLines, covered)
				}
			} else if name != "corpus" { // failing tests print no report
				t.Errorf("opa test --coverage: %v\n%s", err, raw)
			}
		})
	}
}
