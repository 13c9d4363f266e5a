package pgtest_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

func TestTLSAndReuse(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "a cluster", strings.Repeat("long", 30))
	c, err := pgtest.Start(ctx, pgtest.Options{Dir: dir, TLS: true, Settings: map[string]string{"work_mem": "5MB"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Stop()
	conn, err := pgx.Connect(ctx, c.DSN("postgres", pgtest.Superuser)+"&channel_binding=require")
	if err != nil {
		t.Fatal(err)
	}
	var secure bool
	var memory string
	if err := conn.QueryRow(ctx, "SELECT ssl, current_setting('work_mem') FROM pg_stat_ssl WHERE pid = pg_backend_pid()").Scan(&secure, &memory); err != nil {
		t.Fatal(err)
	}
	if !secure || memory != "5MB" {
		t.Errorf("ssl %v, work_mem %s", secure, memory)
	}
	conn.Close(ctx)
	if err := c.Exec(ctx, "postgres", "CREATE TABLE kept(); SELECT 1"); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	if c.Dir != dir {
		return // as root, t.TempDir is out of the server's reach: a temporary folder was used, and is gone
	}
	again, err := pgtest.Start(ctx, pgtest.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Stop()
	if err := again.Exec(ctx, "postgres", "TABLE kept"); err != nil {
		t.Error(err)
	}
}

// TestDiesWithParent kills a process that runs a cluster, and sees both the
// server and its folder go.
func TestDiesWithParent(t *testing.T) {
	if os.Getenv("PGTEST_CHILD") != "" {
		d := pgtest.Shared(t)
		if err := d.Run(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(os.Getenv("PGTEST_CHILD"), []byte(d.Dir), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		select {}
	}
	note := filepath.Join(t.TempDir(), "dir")
	cmd := exec.Command(os.Args[0], "-test.run=^TestDiesWithParent$")
	cmd.Env = append(os.Environ(), "PGTEST_CHILD="+note)
	out, err := cmd.CombinedOutput()
	if err == nil {
		t.Fatalf("the child lived: %s", out)
	}
	dir, err := os.ReadFile(note)
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		if _, err := os.Stat(string(dir)); os.IsNotExist(err) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s is still there", dir)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
