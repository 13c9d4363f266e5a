package main

import (
	"io"
	"net/http"
	"syscall"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// TestMetrics: what the gate decides can be watched at /metrics.
func TestMetrics(t *testing.T) {
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
	if err := conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	r.signals <- syscall.SIGTERM
	r.stopped(t)
}
