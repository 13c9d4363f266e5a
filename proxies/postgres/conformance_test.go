package postgres_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

// side is one way to the same database: direct, or through the gateway.
type side struct {
	name string
	env  []string
}

// sides are the two ways.
func (g *gateway) sides() (direct, through side) {
	g.t.Helper()
	host, port, _ := net.SplitHostPort(g.address)
	common := append(os.Environ(), "PGSSLMODE=disable", "PGGSSENCMODE=disable", "LC_ALL=C.UTF-8", "PSQLRC=/dev/null", "HISTFILE=/dev/null", "PAGER=cat")
	direct = side{"direct", append(common[:len(common):len(common)], "PGHOST="+g.db.Host, fmt.Sprintf("PGPORT=%d", g.db.Port), "PGUSER="+pgtest.Superuser, "PGDATABASE="+g.db.Name, "PGPASSWORD="+g.db.Password)}
	// The suites take longer than an ordinary token lives.
	long := g.issuer.Mint(g.issuer.Claims(audience, time.Now(), map[string]any{"sub": "agent-1", "exp": time.Now().Add(6 * time.Hour).Unix()}))
	through = side{"through", append(common[:len(common):len(common)], "PGHOST="+host, "PGPORT="+port, "PGUSER=agent", "PGDATABASE=shop", "PGPASSWORD="+long)}
	return direct, through
}

// run runs one of PostgreSQL's own programs.
func (s side) run(t *testing.T, stdin, program string, args ...string) string {
	t.Helper()
	bin, err := pgtest.BinDir()
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, program), args...)
	cmd.Env = s.env
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out) + "\n" + err.Error()
	}
	return string(out)
}

const conformanceSchema = schema + `
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN posint AS int CHECK (VALUE > 0);
CREATE SEQUENCE s OWNED BY orders.id;
CREATE INDEX ON orders (customer_id) WHERE total > 1;
CREATE TABLE part (id int, m mood, p posint, at timestamptz DEFAULT '2026-01-01', b bytea DEFAULT '\x0001') PARTITION BY RANGE (id);
CREATE TABLE part1 PARTITION OF part FOR VALUES FROM (0) TO (100);
INSERT INTO part SELECT i, 'good', i + 1 FROM generate_series(0, 99) i;
CREATE FUNCTION f(a int, b text DEFAULT 'x') RETURNS text LANGUAGE plpgsql AS $$begin return a || b; end$$;
CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();
CREATE MATERIALIZED VIEW m AS SELECT count(*) FROM orders;
CREATE PUBLICATION pub FOR TABLE orders;
ALTER TABLE customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY p ON customers USING (id > 0);
COMMENT ON TABLE orders IS 'what was ordered';
SELECT lo_from_bytea(4711, '\x00ff');
`

// What psql shows about a database is the same through the gateway, for each
// of its commands.
func TestConformancePsql(t *testing.T) {
	g := start(t, withPolicy(permissive), func(s *settings) { s.schema = conformanceSchema })
	direct, through := g.sides()
	var script strings.Builder
	for _, c := range []string{
		`\d`, `\d orders`, `\d+ customers`, `\d part`, `\d+ part1`, `\d+ contacts`, `\d+ m`, `\da`, `\dA`, `\dA+`, `\dAc`, `\dAf`, `\dAo`, `\dAp`, `\db`, `\dc`, `\dC`, `\dconfig work_mem`, `\dd`, `\dD`, `\ddp`, `\dE`, `\des`, `\det`, `\deu`, `\dew`,
		`\df`, `\df+ f`, `\sf f`, `\sv contacts`, `\dF`, `\dFd`, `\dFp`, `\dFt`, `\dg`, `\di+`, `\dl`, `\dL`, `\dm+`, `\dn+`, `\do ||`, `\dO`, `\dp`, `\dP`, `\drds`, `\dRp+`, `\dRs`, `\ds`, `\dt`, `\dT+`, `\du+`, `\dv`, `\dx`, `\dX`, `\dy`, `\z`, `\encoding`,
		"SELECT 1 AS a, 2 AS b \\gset", "\\echo :a :b", "SELECT 'SELECT 7' \\gexec", "SELECT i, i % 2 AS o, i FROM generate_series(1, 4) i \\crosstabview", "SELECT * FROM part ORDER BY id \\gdesc",
		`\x`, "SELECT * FROM orders ORDER BY id;", `\x`, `\copy orders TO STDOUT CSV`, `\copy (SELECT * FROM part ORDER BY id) TO STDOUT`,
		"COPY orders TO STDOUT (FORMAT csv, HEADER);", "BEGIN;", "COPY orders FROM STDIN;\n90\t1\t1\tx\n\\.", "ROLLBACK;", "SELECT 1/0;", `\errverbose`, "SELECT 1; SELECT 2;", "SELECT 1\\; SELECT 2;", `\lo_list`, "TABLE nowhere;",
		`\set FETCH_COUNT 10`, "SELECT id FROM part ORDER BY id;", `\unset FETCH_COUNT`, `\set AUTOCOMMIT off`, "UPDATE orders SET total = 1;", "ROLLBACK;", `\set AUTOCOMMIT on`, `\set ON_ERROR_ROLLBACK on`, "BEGIN;", "SELECT 1/0;", "SELECT 3;", "COMMIT;",
		"EXPLAIN (COSTS OFF) SELECT * FROM orders WHERE id = 10;", "PREPARE x AS SELECT 5;", "EXECUTE x;", "BEGIN; DECLARE c CURSOR FOR SELECT id FROM part ORDER BY id; FETCH 3 c; MOVE 2 c; FETCH 1 c; CLOSE c; COMMIT;", "LISTEN a;", "NOTIFY a, 'b';", "SELECT 1;",
	} {
		fmt.Fprintf(&script, "%s\n", c)
	}
	pids := regexp.MustCompile(`process with PID \d+|test_\d+`)
	clean := func(s string) string { return pids.ReplaceAllString(s, "#") }
	want, got := clean(direct.run(t, script.String(), "psql", "-X", "-a")), clean(through.run(t, script.String(), "psql", "-X", "-a"))
	compareLines(t, want, got)
	if n := strings.Count(want, "\n"); n < 800 {
		t.Errorf("only %d lines were compared", n)
	}
}

// compareLines shows where two texts differ.
func compareLines(t *testing.T, want, got string) {
	t.Helper()
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	shown := 0
	for i := 0; i < max(len(a), len(b)) && shown < 10; i++ {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Errorf("line %d\n\tdirect:  %s\n\tthrough: %s", i+1, x, y)
			shown++
		}
	}
}

// \watch goes on until it is interrupted.
func TestConformanceWatch(t *testing.T) {
	g := start(t, withPolicy(permissive))
	cmd := g.psql(t.Context(), "-c", "\\pset footer off", "-f", "-")
	stdin, err := cmd.StdinPipe()
	must(t, err)
	var out safeBuffer
	cmd.Stdout, cmd.Stderr = &out, &out
	must(t, cmd.Start())
	_, err = stdin.Write([]byte("SELECT 'again' \\watch 0.05\nSELECT 'after';\n"))
	must(t, err)
	eventually(t, "it runs again", func() bool { return strings.Count(out.String(), "again") > 3 })
	must(t, cmd.Process.Signal(syscall.SIGINT))
	_ = stdin.Close()
	_ = cmd.Wait()
}

// A dump is the same through the gateway, in each format, and can be restored
// through it.
func TestConformanceDump(t *testing.T) {
	g := start(t, withPolicy(permissive), func(s *settings) { s.schema = conformanceSchema })
	direct, through := g.sides()
	dir := t.TempDir()
	nonce := regexp.MustCompile(`(?m)^\\(un)?restrict .*`)
	for _, args := range [][]string{nil, {"--inserts", "--rows-per-insert=10"}} {
		dump := func(s side) string { return nonce.ReplaceAllString(s.run(t, "", "pg_dump", args...), "") }
		compareLines(t, dump(direct), dump(through))
	}
	formats := []string{"custom", "directory", "tar"}
	if os.Getenv("REGATE_REGRESS") == "" {
		formats = formats[:1] // the others in make conformance-postgres
	}
	for _, format := range formats {
		file := filepath.Join(dir, format)
		if out := through.run(t, "", "pg_dump", "-F", format, "-f", file); out != "" {
			t.Errorf("%s: %s", format, out)
			continue
		}
		g.owner("DROP SCHEMA public CASCADE; DROP PUBLICATION pub; SELECT lo_unlink(4711); CREATE SCHEMA public")
		again := g.connect("agent-2") // the gateway is told of the owner's DDL by DDL of its own
		_, err := query(t, again, "CREATE SCHEMA again; DROP SCHEMA again")
		must(t, err)
		must(t, again.Close(t.Context()))
		if out := through.run(t, "", "pg_restore", "-d", "shop", "--no-comments", file); out != "" {
			t.Errorf("%s: %s", format, out)
		}
		got := direct.run(t, "", "pg_dump", "--data-only")
		if fresh := strings.Count(got, "\n"); fresh < 150 || !strings.Contains(got, "card 4111") {
			t.Errorf("%s: %d lines came back", format, fresh)
		}
	}
}

// pgbench runs in each of its modes, without an error.
func TestConformancePgbench(t *testing.T) {
	g := start(t, withPolicy(permissive), func(s *settings) { s.schema = "" })
	_, through := g.sides()
	if out := through.run(t, "", "pgbench", "-i", "-q", "-s", "1", "--foreign-keys"); !strings.Contains(out, "done") {
		t.Fatal(out)
	}
	pipeline := filepath.Join(t.TempDir(), "pipeline.sql")
	must(t, os.WriteFile(pipeline, []byte("\\startpipeline\nSELECT abalance FROM pgbench_accounts WHERE aid = 1;\nUPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 2;\nSELECT 1;\n\\endpipeline\n"), 0o600))
	for _, args := range [][]string{
		{"-M", "simple"}, {"-M", "extended"}, {"-M", "prepared"}, {"-M", "simple", "-S"}, {"-M", "prepared", "-S", "-C"}, {"-M", "extended", "-N"},
		{"-M", "extended", "-f", pipeline}, {"-M", "prepared", "-f", pipeline}, {"-M", "simple", "-b", "tpcb-like@1", "-b", "select-only@3", "-j", "2"},
	} {
		out := through.run(t, "", "pgbench", append([]string{"-n", "-c", "4", "-t", "20"}, args...)...)
		if !strings.Contains(out, "number of transactions actually processed: 80/80") || !strings.Contains(out, "number of failed transactions: 0") {
			t.Errorf("%q: %s", args, out)
		}
	}
}

var regressLine = regexp.MustCompile(`(?m)^(?:test)?\s*(\S+)\s+\.\.\. (ok|FAILED|failed)`)

// TestConformanceRegress runs PostgreSQL's regression suite directly and
// through the gateway: the output of each test must be the same, but for those
// that a setting or role is the point of, which the gateway keeps for itself
// whatever the policy says. REGATE_REGRESS is the suite's folder.
func TestConformanceRegress(t *testing.T) {
	suite := os.Getenv("REGATE_REGRESS")
	if suite == "" {
		t.Skip("REGATE_REGRESS is not set: make conformance-postgres runs this")
	}
	bin, err := pgtest.BinDir()
	must(t, err)
	driver := filepath.Join(filepath.Dir(bin), "lib", "pgxs", "src", "test", "regress", "pg_regress")
	results := map[string]map[string]string{}
	for _, which := range []string{"direct", "through"} {
		g := start(t, withPolicy(permissive), func(s *settings) { s.schema = "" })
		for _, set := range []string{"lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'", "bytea_output TO 'hex'", "timezone_abbreviations TO 'Default'"} {
			g.owner("ALTER DATABASE " + g.db.Name + " SET " + set)
		}
		way, through := g.sides()
		if which == "through" {
			way = through
		}
		value := map[string]string{}
		for _, e := range way.env {
			k, v, _ := strings.Cut(e, "=")
			value[k] = v
		}
		out := t.TempDir()
		for _, dir := range []string{out, filepath.Join(out, "results")} { // the server writes there, too
			must(t, os.MkdirAll(dir, 0o755))
			must(t, os.Chmod(dir, 0o777))
		}
		cmd := exec.CommandContext(t.Context(), driver, "--use-existing", "--inputdir="+suite, "--outputdir="+out, "--bindir="+bin, "--dlpath="+filepath.Join(filepath.Dir(bin), "lib"),
			"--host="+value["PGHOST"], "--port="+value["PGPORT"], "--user="+value["PGUSER"], "--dbname="+value["PGDATABASE"], "--max-connections=4",
			"--schedule="+filepath.Join(suite, "parallel_schedule"))
		cmd.Env, cmd.Dir = way.env, out
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		_ = cmd.Run() // it fails where a test does
		failed := []string{}
		for _, m := range regressLine.FindAllStringSubmatch(log.String(), -1) {
			if m[2] != "ok" {
				failed = append(failed, m[1])
			}
		}
		files, err := filepath.Glob(filepath.Join(out, "results", "*.out"))
		must(t, err)
		if len(files) < 200 {
			t.Fatalf("%s: only %d tests ran\n%s", which, len(files), log.String())
		}
		t.Logf("%s: %d tests, %d other than expected: %s", which, len(files), len(failed), strings.Join(failed, " "))
		results[which] = map[string]string{}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			must(t, err)
			results[which][filepath.Base(file)] = regressNames.ReplaceAllString(string(raw), "#")
		}
	}
	justified := map[string]bool{}
	list, err := os.ReadFile("../../testdata/postgres/regress-differences.txt")
	must(t, err)
	for _, l := range strings.Split(string(list), "\n") {
		if name, _, ok := strings.Cut(l, ": "); ok {
			justified[name+".out"] = true
		}
	}
	kept := "../../build/conformance-postgres"
	must(t, os.MkdirAll(kept, 0o755))
	same := 0
	for name, want := range results["direct"] {
		got := results["through"][name]
		if got == want {
			same++
			continue
		}
		must(t, os.WriteFile(filepath.Join(kept, name+".direct"), []byte(want), 0o600))
		must(t, os.WriteFile(filepath.Join(kept, name+".through"), []byte(got), 0o600))
		if justified[name] {
			t.Logf("%s differs, as it says in regress-differences.txt", name)
		} else {
			t.Errorf("%s differs: compare %s/%s.direct and .through", name, kept, name)
		}
	}
	t.Logf("%d of %d tests print the same", same, len(results["direct"]))
}

// regressNames is what differs between any two runs.
var regressNames = regexp.MustCompile(`test_\d+|decision: \w+-\d+`)
