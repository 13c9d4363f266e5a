package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/regate-dev/regate/engine/policy/backtest"
)

// TestCoverageOfRecordings: what real traffic reaches.
func TestCoverageOfRecordings(t *testing.T) {
	s := recordTraffic(t, "SELECT mark FROM marks", "SELECT mark FROM marks WHERE mark = 'secret value'", "DELETE FROM marks WHERE mark = 'secret value'")
	t.Chdir(s.dir)
	var r backtest.CoverageReport
	if err := json.Unmarshal([]byte(regate(t, 0, "policy", "coverage", "-c", s.config, "-o", "json")), &r); err != nil {
		t.Fatal(err)
	}
	hits := map[string]int64{}
	for _, h := range r.Rules {
		hits[h.ID] = h.Hits
		if h.Line == 0 || !strings.HasSuffix(h.File, "p.rego") || h.Asked != 6 {
			t.Errorf("%+v", h)
		}
	}
	want := map[string]int64{
		"acme.sql/connect": 1, "acme.sql/read": 2, "acme.sql/write": 0, "acme.sql/no-where": 0, "acme.sql/hold": 0,
		"acme.sql/rows": 4, "acme.sql/hidden": 5, "acme.sql/cards": 2, "acme.sql/r": 0,
	}
	for id, n := range want {
		if hits[id] != n {
			t.Errorf("%s: %d hits, want %d", id, hits[id], n)
		}
	}
	if r.Default.Count != 1 || len(r.Common()) != 1 || len(r.Unused()) != 4 {
		t.Errorf("%+v", r)
	}
	text := regate(t, 0, "policy", "coverage", "-c", s.config)
	wantAll(t, text, "rules that never held: 4 of 9", "acme.sql/no-where", "p.rego:", "denied because no rule allows it: 1 decision", "DELETE FROM marks WHERE mark = $1",
		"agents with no rule of their own: 1 of 1", "parts of postgres inputs that no package reads", "asserted.purpose", "sql.text")
	if strings.Contains(text, "secret value") || strings.Contains(text, "action.verb,") {
		t.Error(text)
	}
}
