package main

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
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

// checkMetricsPage: docs/metrics.md lists the metrics that a gateway has, and
// the dashboard asks for none that it has not.
func checkMetricsPage(t *testing.T, of prometheus.Collector) {
	t.Helper()
	descs := make(chan *prometheus.Desc)
	go func() {
		of.Describe(descs)
		close(descs)
	}()
	has := map[string]bool{}
	name := regexp.MustCompile(`fqName: "(regate_[a-z_]+)"`)
	for d := range descs {
		if m := name.FindStringSubmatch(d.String()); m != nil {
			has[m[1]] = true
		}
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(regate_[a-z_]+)` \\|").FindAllSubmatch(page, -1) {
		listed[string(m[1])] = true
	}
	if !maps.Equal(has, listed) {
		t.Errorf("docs/metrics.md and the gateway differ:\nlisted %v\nis     %v", slices.Sorted(maps.Keys(listed)), slices.Sorted(maps.Keys(has)))
	}
	dashboard, err := os.ReadFile("../../docs/grafana/regate.json")
	if err != nil {
		t.Fatal(err)
	}
	if !json.Valid(dashboard) {
		t.Error("the dashboard is no JSON")
	}
	for _, m := range regexp.MustCompile(`regate_[a-z_]+`).FindAll(dashboard, -1) {
		if !has[strings.TrimSuffix(string(m), "_bucket")] {
			t.Errorf("the dashboard asks for %s, which is no metric", m)
		}
	}
}
