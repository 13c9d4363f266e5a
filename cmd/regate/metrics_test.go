package main

import (
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/regate-dev/regate/engine/record"
	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestMetricsAndRecord: what the gate decides can be watched at /metrics, and
// what it was asked can be read from the archive afterwards.
func TestMetricsAndRecord(t *testing.T) {
	cluster, err := pgtest.Start(t.Context(), pgtest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Stop(); err != nil {
			t.Error(err)
		}
	})
	r := startGateway(t, cluster, "1h")
	conn := r.connect(t)
	var n int
	if err := conn.QueryRow(t.Context(), "SELECT 42").Scan(&n); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "DROP TABLE SELECT"); err == nil {
		t.Error("a statement that cannot be parsed passed")
	}
	resp, err := http.Get("http://" + r.adminListener.Addr().String() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	wantAll(t, string(body),
		`regate_sessions{protocol="postgres",target="shop"} 1`,
		`regate_decisions_total{effect="allow",protocol="postgres",target="shop"}`,
		`regate_decisions_total{effect="deny",protocol="postgres",target="shop"} 1`,
		`regate_denials_total{reason="`,
		`regate_held_total{target="shop"} 0`,
		`regate_rows_total{target="shop"} 1`,
		`regate_bytes_total{target="shop"}`,
	)
	checkMetricsPage(t, r.metrics)
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	r.signals <- syscall.SIGTERM
	r.stopped(t)

	archive := filepath.Join(r.cfg.State.Dir, "archive")
	at := []string{"--archive", archive, "--index", filepath.Join(r.cfg.State.Dir, "index.db")}
	var rows []record.SessionRow
	if err := json.Unmarshal([]byte(regate(t, 0, append([]string{"sessions", "list", "--effect", "deny", "-o", "json"}, at...)...)), &rows); err != nil || len(rows) != 1 {
		t.Fatalf("sessions: %+v, %v", rows, err)
	}
	var doc struct {
		Stage    string
		SQL      struct{ Text string }
		Asserted map[string]string
	}
	asked, _, _ := strings.Cut(regate(t, 0, "sessions", "show", rows[0].ID, "--archive", archive, "--input", "2"), "\n") // 1 is the connection
	if err := json.Unmarshal([]byte(asked), &doc); err != nil || doc.Stage != "request" || doc.SQL.Text != "SELECT 42" || doc.Asserted == nil {
		t.Errorf("input document: %+v, %v\n%s", doc, err, asked)
	}
	wantAll(t, regate(t, 0, "sessions", "show", rows[0].ID, "--archive", archive, "-o", "json"), `"42"`, `"tag": "SELECT 1"`, `"state": "archived"`)
	wantAll(t, regate(t, 0, "sessions", "replay", rows[0].ID, "--archive", archive), "1 denied", "SELECT 42")
}
