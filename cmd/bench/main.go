package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	dir     string
	regate  string
	bundle  string
	scale   int
	rows    int
	rounds  int
	seconds int
	idle    int
	modes   string
	clients string
	only    string
	profile string
	opa     string

	upstreams, works, recorded, kubectl string
}

// defaultBundle has the demo's packs, with one masked column and nobody to wait
// for.
const defaultBundle = "policies/lib,policies/postgres/complete,policies/postgres/no_destructive_ddl,policies/postgres/where_required," +
	"policies/postgres/pii_masks,policies/postgres/row_limits,policies/postgres/prod_writes,bundles/bench"

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "build/bench", "folder for the servers' files")
	flag.StringVar(&o.regate, "regate", "bin/regate", "the gateway's program")
	flag.StringVar(&o.bundle, "bundle", defaultBundle, "folders of the policy bundle, separated by commas")
	flag.IntVar(&o.scale, "scale", 10, "pgbench's scale factor")
	flag.IntVar(&o.rows, "rows", 1_000_000, "rows of the large SELECT")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds; medians are reported")
	flag.IntVar(&o.seconds, "seconds", 4, "length of each pgbench run, in seconds")
	flag.IntVar(&o.idle, "idle", 500, "idle sessions for the memory figure")
	flag.StringVar(&o.modes, "modes", "simple,prepared", "pgbench's query modes")
	flag.StringVar(&o.clients, "clients", "1,8,32", "numbers of pgbench's clients")
	flag.StringVar(&o.only, "only", "idle,pgbench,large,http,policy,kubernetes", "what to measure; hold: start the servers and wait")
	flag.StringVar(&o.profile, "profile", "", "file for a CPU profile of the gateway")
	flag.StringVar(&o.opa, "opa", "build/tools/opa", "stock opa, for the policies")
	flag.StringVar(&o.upstreams, "upstreams", "canned,apiserver", "what stands behind the proxies of Kubernetes")
	flag.StringVar(&o.works, "works", "", "only those requests to Kubernetes that have this in their name")
	flag.StringVar(&o.recorded, "recorded", "", "file with answers of an API server of an earlier run: with -upstreams canned none is started")
	flag.StringVar(&o.kubectl, "kubectl", "", "kubectl; default: the one that .ci/kubernetes built")
	goproxy := flag.String("goproxy", "", "serve goproxy's own interception, for -only http: FOLDER,CERTIFICATE,ADDRESS")
	if is, err := serveChild(os.Args[1:]); is {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	flag.Parse()
	if *goproxy != "" {
		fmt.Fprintln(os.Stderr, "bench:", serveGoproxy(*goproxy))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// figure is one line of build/bench.json.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Peer  string  `json:"peer"`
}

func run(ctx context.Context, o options) error {
	wanted := strings.Split(o.only, ",")
	var figures []figure
	if slices.ContainsFunc(wanted, func(part string) bool { return part != "policy" && part != "http" && part != "kubernetes" }) {
		measured, err := withServers(ctx, o, wanted)
		if err != nil {
			return err
		}
		figures = measured
	}
	if slices.Contains(wanted, "http") {
		measured, err := httpFigures(ctx, o)
		if err != nil {
			return err
		}
		figures = append(figures, measured...)
	}
	if slices.Contains(wanted, "policy") {
		measured, err := policies(ctx, o)
		if err != nil {
			return err
		}
		figures = append(figures, measured...)
	}
	if slices.Contains(wanted, "kubernetes") {
		measured, err := kubernetesBench(ctx, o)
		if err != nil {
			return err
		}
		figures = append(figures, measured...)
	}
	raw, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join("build", "bench.json")
	if err := os.WriteFile(path, append(raw, '\n'), 0o644); err != nil {
		return err
	}
	fmt.Printf("\nwrote %s (%s)\n", path, time.Now().UTC().Format(time.RFC3339))
	return nil
}

// withServers measures what needs PostgreSQL and the gateway.
func withServers(ctx context.Context, o options, wanted []string) ([]figure, error) {
	fmt.Println("starting PostgreSQL, pgbouncer, an issuer and regate ...")
	s, err := startAll(ctx, o)
	if err != nil {
		return nil, err
	}
	defer s.stop()
	if slices.Contains(wanted, "hold") {
		for _, p := range s.peers {
			fmt.Printf("%s: PGPASSWORD=%s, pid %d, %s\n", p.name, p.password, p.pid, p.dsn())
		}
		fmt.Println("Ctrl-C stops them")
		<-ctx.Done()
		return nil, nil
	}
	var figures []figure
	for _, part := range []struct {
		name    string
		measure func(context.Context, options) ([]figure, error)
	}{{"idle", s.idleMemory}, {"pgbench", s.throughput}, {"large", s.largeSelect}} {
		if !slices.Contains(wanted, part.name) {
			continue
		}
		measured, err := part.measure(ctx, o)
		if err != nil {
			return nil, err
		}
		figures = append(figures, measured...)
	}
	return figures, nil
}
