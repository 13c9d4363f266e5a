package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/regate-dev/regate/proxies/postgres/pgtest"
)

func (p peer) dsn() string {
	return fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=%s sslmode=disable", p.port, p.user, p.database)
}

func (s *servers) pgbench(ctx context.Context, p peer, args ...string) (string, error) {
	bin, err := pgtest.BinDir()
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "pgbench"), append(args, "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", p.user, p.database)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+p.password, "PGSSLMODE=disable")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

var tpsLine = regexp.MustCompile(`tps = ([0-9.]+)`)

// cpu returns the processor time that a process has used, in seconds. Source:
// proc(5), fields utime and stime of /proc/PID/stat, in 1/100 s on Linux.
func cpu(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
	user, err := strconv.ParseFloat(fields[11], 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseFloat(fields[12], 64)
	return (user + system) / 100, err
}

// atRest waits until a process does next to nothing, 15 seconds at most, and
// returns the processor time that it has used until then: regate writes sessions
// to the archive when they have ended.
func atRest(ctx context.Context, pid int) (float64, error) {
	const look = 300 * time.Millisecond
	last, err := cpu(pid)
	for range 50 {
		if err != nil || ctx.Err() != nil {
			return last, errors.Join(err, ctx.Err())
		}
		time.Sleep(look)
		var now float64
		if now, err = cpu(pid); err == nil && now-last < 0.015 {
			return now, nil
		}
		last = now
	}
	return last, err
}

// memory returns a process's resident set, in MiB.
func memory(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib / 1024, err
		}
	}
	return 0, fmt.Errorf("process %d has no VmRSS", pid)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v) == 0 {
		return 0
	}
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

// throughput runs pgbench's select-only script on every peer in turn.
func (s *servers) throughput(ctx context.Context, o options) ([]figure, error) {
	var figures []figure
	fmt.Printf("\n%-10s %7s  %10s %10s %10s   %s\n", "mode", "clients", "direct", "pgbouncer", "regate", "regate/pgbouncer  regate/direct  CPU µs/tx (pgbouncer, regate, of it paid later)")
	for _, mode := range strings.Split(o.modes, ",") {
		for _, number := range strings.Split(o.clients, ",") {
			clients, err := strconv.Atoi(number)
			if err != nil {
				return nil, err
			}
			tps := map[string][]float64{}
			cost := map[string][]float64{}
			late := map[string][]float64{}
			for range o.rounds {
				for _, p := range s.peers {
					before := 0.0
					if p.pid != 0 {
						var err error
						if before, err = cpu(p.pid); err != nil {
							return nil, err
						}
					}
					out, err := s.pgbench(ctx, p, "-S", "-n", "-M", mode, "-c", strconv.Itoa(clients), "-j", strconv.Itoa(min(clients, 2)), "-T", strconv.Itoa(o.seconds))
					found := tpsLine.FindStringSubmatch(out)
					if err != nil || found == nil {
						return nil, fmt.Errorf("pgbench through %s: %v\n%s", p.name, err, out)
					}
					v, err := strconv.ParseFloat(found[1], 64)
					if err != nil {
						return nil, err
					}
					tps[p.name] = append(tps[p.name], v)
					if p.pid != 0 {
						after, err := cpu(p.pid)
						if err != nil {
							return nil, err
						}
						rested, err := atRest(ctx, p.pid)
						if err != nil {
							return nil, err
						}
						transactions := v * float64(o.seconds)
						cost[p.name] = append(cost[p.name], (after-before)/transactions*1e6)
						late[p.name] = append(late[p.name], (rested-after)/transactions*1e6)
					}
				}
			}
			name := fmt.Sprintf("pgbench_select_%s_%d", mode, clients)
			for _, p := range s.peers {
				figures = append(figures, figure{name + "_" + p.name, median(tps[p.name]), "tps", ""})
				if p.pid != 0 {
					figures = append(figures, figure{name + "_cpu_" + p.name, median(cost[p.name]) + median(late[p.name]), "us/tx", ""})
				}
			}
			toBouncer, toDirect := paired(tps["regate"], tps["pgbouncer"]), paired(tps["regate"], tps["direct"])
			figures = append(figures, figure{name, toBouncer, "ratio", "pgbouncer"}, figure{name, toDirect, "ratio", "direct"})
			fmt.Printf("%-10s %7d  %10.0f %10.0f %10.0f   %16.2f  %13.2f  %.0f, %.0f, %.0f\n", mode, clients,
				median(tps["direct"]), median(tps["pgbouncer"]), median(tps["regate"]), toBouncer, toDirect,
				median(cost["pgbouncer"])+median(late["pgbouncer"]), median(cost["regate"])+median(late["regate"]), median(late["regate"]))
		}
	}
	return figures, nil
}

// paired returns the median of the ratios of rounds.
func paired(a, b []float64) float64 {
	ratios := make([]float64, len(a))
	for i := range a {
		ratios[i] = a[i] / b[i]
	}
	return median(ratios)
}

// largeSelect reads a large table through every peer in turn.
func (s *servers) largeSelect(ctx context.Context, o options) ([]figure, error) {
	speed := map[string][]float64{}
	cost := map[string][]float64{}
	peak := 0.0
	for range o.rounds {
		for _, p := range s.peers {
			before := 0.0
			if p.pid != 0 {
				before, _ = cpu(p.pid)
			}
			began := time.Now()
			n, size, err := readAll(ctx, p, "SELECT * FROM large")
			if err != nil {
				return nil, fmt.Errorf("large SELECT through %s: %w", p.name, err)
			}
			if n != o.rows {
				return nil, fmt.Errorf("large SELECT through %s: %d rows, not %d", p.name, n, o.rows)
			}
			speed[p.name] = append(speed[p.name], float64(size)/1e6/time.Since(began).Seconds())
			if p.pid != 0 {
				after, _ := cpu(p.pid)
				cost[p.name] = append(cost[p.name], (after-before)*1000)
			}
			if p.name == "regate" {
				m, err := memory(p.pid)
				if err != nil {
					return nil, err
				}
				peak = max(peak, m)
			}
		}
	}
	toDirect := paired(speed["regate"], speed["direct"])
	fmt.Printf("\nSELECT of %d rows, MB/s: direct %.0f, pgbouncer %.0f, regate %.0f (regate/direct %.2f, regate/pgbouncer %.2f); CPU ms: pgbouncer %.0f, regate %.0f; regate's memory after it %.0f MiB\n",
		o.rows, median(speed["direct"]), median(speed["pgbouncer"]), median(speed["regate"]), toDirect, paired(speed["regate"], speed["pgbouncer"]),
		median(cost["pgbouncer"]), median(cost["regate"]), peak)
	return []figure{
		{"large_select_direct", median(speed["direct"]), "MB/s", ""}, {"large_select_pgbouncer", median(speed["pgbouncer"]), "MB/s", ""},
		{"large_select_regate", median(speed["regate"]), "MB/s", ""}, {"large_select", toDirect, "ratio", "direct"},
		{"large_select", paired(speed["regate"], speed["pgbouncer"]), "ratio", "pgbouncer"},
		{"large_select_cpu_regate", median(cost["regate"]), "ms", ""}, {"large_select_memory_regate", peak, "MiB", ""},
	}, nil
}

// readAll counts rows and bytes of values.
func readAll(ctx context.Context, p peer, sql string) (rows int, size int64, err error) {
	config, err := pgconn.ParseConfig(p.dsn())
	if err != nil {
		return 0, 0, err
	}
	config.Password = p.password
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return 0, 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	result := conn.ExecParams(ctx, sql, nil, nil, nil, nil)
	for result.NextRow() {
		rows++
		for _, v := range result.Values() {
			size += int64(len(v))
		}
	}
	_, err = result.Close()
	return rows, size, err
}

// idleMemory opens sessions that do nothing after one statement.
func (s *servers) idleMemory(ctx context.Context, o options) ([]figure, error) {
	p := s.peers[len(s.peers)-1]
	config, err := pgconn.ParseConfig(p.dsn())
	if err != nil {
		return nil, err
	}
	config.Password = p.password
	for range o.idle {
		conn, err := pgconn.ConnectConfig(ctx, config)
		if err != nil {
			return nil, err
		}
		defer conn.Close(context.WithoutCancel(ctx))
		if _, err := conn.Exec(ctx, "SELECT aid FROM pgbench_accounts WHERE aid = 1").ReadAll(); err != nil {
			return nil, err
		}
	}
	time.Sleep(10 * time.Second)
	m, err := memory(p.pid)
	if err != nil {
		return nil, err
	}
	fmt.Printf("\nmemory with %d idle sessions: %.0f MiB\n", o.idle, m)
	return []figure{{fmt.Sprintf("memory_idle_%d", o.idle), m, "MiB", ""}}, nil
}
