package postgres_test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// psql runs the real client with SQL on its standard input.
func (g *gateway) psql(ctx context.Context, args ...string) *exec.Cmd {
	g.t.Helper()
	dir, err := pgtest.BinDir()
	must(g.t, err)
	host, port, _ := net.SplitHostPort(g.address)
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "psql"), append([]string{"-X", "-A", "-v", "ON_ERROR_STOP=0"}, args...)...)
	cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER=agent", "PGDATABASE=shop", "PGSSLMODE=disable", "PGGSSENCMODE=disable", "PGPASSWORD="+g.token("agent-1"), "LC_ALL=C.UTF-8", "PSQLRC=/dev/null", "HISTFILE=/dev/null")
	return cmd
}

func TestPsql(t *testing.T) {
	g := start(t, withPolicy(masked))
	file := filepath.Join(t.TempDir(), "orders.csv")
	for _, c := range []struct {
		args []string
		want []string
		not  string
	}{
		{[]string{"-c", "SELECT 1; SELECT email FROM customers WHERE id = 1"}, []string{"1", "[REDACTED]"}, "ann@"},
		{[]string{"-c", "SELECT 1", "-c", "SELECT 2"}, []string{"1", "2"}, ""},
		{[]string{"-c", `\d customers`}, []string{"email", "ssn", "customers_pkey"}, ""},
		{[]string{"-c", `\d+ contacts`}, []string{"contact"}, ""},
		{[]string{"-c", `\dt`, "-c", `\dv`, "-c", `\df`, "-c", `\du`, "-c", `\l`, "-c", `\dn`, "-c", `\di`, "-c", `\dp`}, []string{"orders", "contacts"}, "ERROR"},
		{[]string{"-c", `\copy orders TO '` + file + `' CSV`}, []string{"COPY 2"}, ""},
		{[]string{"-c", "BEGIN", "-c", "DELETE FROM orders", "-c", `\copy orders FROM '` + file + `' CSV`, "-c", "SELECT count(*) FROM orders", "-c", "ROLLBACK"}, []string{"DELETE 2", "COPY 2", "2", "ROLLBACK"}, "ERROR"},
		{[]string{"-c", `\copy (SELECT email FROM customers) TO STDOUT`}, []string{"[REDACTED]"}, "example.com"},
		{[]string{"-1", "-c", "INSERT INTO orders VALUES (90, 1, 1, 'x')", "-c", "SELECT 1/0"}, []string{"division by zero"}, ""},
		{[]string{"-c", "SELECT count(*) FROM orders WHERE id = 90"}, []string{"0"}, ""},
		{[]string{"-v", "FETCH_COUNT=2", "-c", "SELECT id, email FROM customers ORDER BY id"}, []string{"1|[REDACTED]", "3|"}, "example.com"},
		{[]string{"-c", `\conninfo`}, []string{"shop"}, ""},
	} {
		out, _ := g.psql(t.Context(), c.args...).CombinedOutput()
		for _, want := range c.want {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q: no %q in\n%s", c.args, want, out)
			}
		}
		if c.not != "" && strings.Contains(string(out), c.not) {
			t.Errorf("%q: %q in\n%s", c.args, c.not, out)
		}
	}
}

// Ctrl-C takes back what runs and what is held.
func TestPsqlInterrupt(t *testing.T) {
	g := start(t)
	for _, c := range []struct{ sql, until string }{{"SELECT count(*) FROM generate_series(1, 1000000000)", ""}, {update, "held for approval"}} {
		cmd := g.psql(t.Context())
		var out safeBuffer
		cmd.Stdout, cmd.Stderr = &out, &out
		stdin, err := cmd.StdinPipe()
		must(t, err)
		must(t, cmd.Start())
		_, _ = stdin.Write([]byte(c.sql + ";\n"))
		if c.until == "" {
			eventually(t, "it runs", func() bool {
				return g.value("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%1000000000%'") != "0"
			})
		} else {
			eventually(t, "it is held", func() bool { return strings.Contains(out.String(), c.until) })
		}
		// psql takes the first signal as a cancel only once it waits for the answer.
		time.Sleep(100 * time.Millisecond)
		must(t, cmd.Process.Signal(syscall.SIGINT))
		eventually(t, "psql says so", func() bool { return strings.Contains(out.String(), "ERROR:") })
		_ = stdin.Close()
		_ = cmd.Wait()
	}
	if g.total() != "5" {
		t.Error("it ran")
	}
}

// safeBuffer may be read while a process writes to it.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
