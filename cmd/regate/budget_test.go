package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/regate-dev/regate/policies"
)

// TestBudgetOutlivesTheGateway: the pack from the binary holds a subject to its
// rows of a day, over sessions, an orderly restart and a kill.
func TestBudgetOutlivesTheGateway(t *testing.T) {
	s := newSite(t)
	if _, err := policies.Export(filepath.Join(s.dir, "packs"), []string{"budgets/budget"}, false); err != nil {
		t.Fatal(err)
	}
	// By the hour, too: the test may run at midnight.
	const settings = `{"regate": {"settings": {"budget": {"subject": {"day": {"rows": 20}, "hour": {"rows": 20}}, "task": {}}}}}`
	config, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		filepath.Join(s.dir, "policies", "data.json"): settings,
		filepath.Join(s.dir, "policies", ".manifest"): `{"roots": ["regate/policies/acme", "regate/settings"]}`,
		s.config: strings.Replace(string(config), "paths: [policies]", "paths: [policies, packs]", 1),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(p *serving, rows int) error {
		t.Helper()
		conn, err := pgx.ConnectConfig(t.Context(), p.login(t))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		_, err = conn.Exec(t.Context(), fmt.Sprintf("SELECT generate_series(1, %d)", rows), pgx.QueryExecModeSimpleProtocol)
		return err
	}
	want := func(p *serving, rows int, reason string) {
		t.Helper()
		err := read(p, rows)
		var refused *pgconn.PgError
		if reason == "" && err != nil || reason != "" && (!errors.As(err, &refused) || !strings.Contains(refused.Detail, reason)) {
			t.Fatalf("%d rows: %v, want %q", rows, err, reason)
		}
	}

	p := s.serve(t)
	want(p, 4, "")
	want(p, 4, "")
	p.stop(t)

	p = s.serve(t)
	want(p, 4, "")
	// 8 rows are left. More are cut off, and those that were shown count.
	want(p, 100, "limit/rows")
	// What was counted is in the bucket half a second later.
	time.Sleep(3 * time.Second)
	p.kill(t)

	p = s.serve(t)
	want(p, 1, "regate.budget/rows")
	p.stop(t)
}
