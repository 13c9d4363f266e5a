package postgres_test

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

const benchPolicy = `package regate.policies.test.bench

import rego.v1

allow contains {"id": "bench/connect"} if input.action.verb == "connect"

allow contains {"id": "bench/read"} if {
	input.action.verb in {"select", "prepare", "update", "insert", "begin", "commit"}
	input.complete
}

mask contains {"id": "bench/filler", "field": "public.pgbench_accounts.filler", "method": "redact"} if true
`

var tps = regexp.MustCompile(`tps = ([0-9.]+)`)

// BenchmarkPgbench runs pgbench's select-only script through a gateway in this
// process, so that -cpuprofile shows the whole of it. For figures against
// other proxies see cmd/bench.
func BenchmarkPgbench(b *testing.B) {
	for _, mode := range []string{"prepared", "simple"} {
		b.Run(mode, func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				g := start(b, func(s *settings) { s.policy, s.schema = benchPolicy, "" })
				bin, err := pgtest.BinDir()
				must(b, err)
				init := exec.Command(filepath.Join(bin, "pgbench"), "-i", "-q", "-s", "5", g.db.URL())
				if out, err := init.CombinedOutput(); err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				host, port, _ := net.SplitHostPort(g.address)
				b.StartTimer()
				run := exec.Command(filepath.Join(bin, "pgbench"), "-S", "-n", "-M", mode, "-c", "8", "-j", "2", "-T", "5", "-h", host, "-p", port, "-U", "agent", "shop")
				run.Env = append(os.Environ(), "PGPASSWORD="+g.token("agent-1"), "PGSSLMODE=disable")
				out, err := run.CombinedOutput()
				if err != nil {
					b.Fatalf("%v\n%s", err, out)
				}
				v, err := strconv.ParseFloat(tps.FindStringSubmatch(string(out))[1], 64)
				must(b, err)
				b.ReportMetric(v, "tx/s")
			}
		})
	}
}
