package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/regate-dev/regate/proxies/kubernetes/kubetest"
)

// allowAll is the policy under which nothing may differ.
const allowAll = `package regate.policies.test.all
allow contains {"id": "test/all"} if true
`

type options struct {
	dir, regate, suites, only string
	kubernetes, helm          string
}

// suite is one suite of others.
type suite struct {
	name  string
	flags map[string]string // of kube-apiserver
	// run runs it against one server. It returns what passed (true) and what
	// failed, by name.
	run func(ctx context.Context, o options, at server) (map[string]bool, error)
}

// server is an API server, or the gateway in front of one.
type server struct {
	url, caFile, token string
	programs           string // folder of etcd, kube-apiserver and kubectl
	dir                string // for the suite's own files; it is empty
}

var suites = []suite{
	{name: "kubectl", flags: map[string]string{
		"authorization-mode": "RBAC,AlwaysAllow", "enable-admission-plugins": "LimitRanger,ResourceQuota",
		"disable-admission-plugins": "ServiceAccount,DefaultStorageClass,DefaultTolerationSeconds,MutatingAdmissionWebhook,ValidatingAdmissionWebhook,StorageObjectInUseProtection",
	}, run: kubectlSuite},
	{name: "clients", run: clients},
	{name: "helm", run: helm},
}

func main() {
	var o options
	flag.StringVar(&o.dir, "dir", "build/conformance-kubernetes", "folder for the servers' and suites' files")
	flag.StringVar(&o.regate, "regate", "bin/regate", "the gateway's program")
	flag.StringVar(&o.suites, "suites", "clients,helm", "what to run: clients, helm, kubectl")
	flag.StringVar(&o.only, "only", "", "functions of Kubernetes' kubectl suite, separated by commas; default: all")
	flag.StringVar(&o.kubernetes, "kubernetes", "", "folder of the module k8s.io/kubernetes")
	flag.StringVar(&o.helm, "helm", "", "helm's program")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	for _, path := range []*string{&o.dir, &o.regate} {
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	justified, err := differences("testdata/kubernetes/conformance/differences.txt")
	if err != nil {
		return err
	}
	failed := false
	for _, s := range suites {
		if !slices.Contains(strings.Split(o.suites, ","), s.name) {
			continue
		}
		direct, err := s.against(ctx, o, false)
		if err != nil {
			return fmt.Errorf("%s, directly: %w", s.name, err)
		}
		through, err := s.against(ctx, o, true)
		if err != nil {
			return fmt.Errorf("%s, through regate: %w", s.name, err)
		}
		fmt.Printf("%-10s direct %d of %d, through %d of %d\n", s.name, passed(direct), len(direct), passed(through), len(through))
		for _, name := range slices.Sorted(maps.Keys(union(direct, through))) {
			if direct[name] == through[name] {
				continue
			}
			why := justified[s.name+" "+name]
			fmt.Printf("  %s: direct %s, through %s: %s\n", name, word(direct[name]), word(through[name]), cmp.Or(why, "NOT JUSTIFIED; see "+filepath.Join(o.dir, s.name)))
			failed = failed || why == ""
		}
		if passed(direct) == 0 {
			return fmt.Errorf("%s: nothing passes directly; see %s", s.name, filepath.Join(o.dir, s.name))
		}
	}
	if failed {
		return errors.New("something passes in one way and not in the other")
	}
	return nil
}

// against runs a suite on a control plane of its own.
func (s suite) against(ctx context.Context, o options, through bool) (map[string]bool, error) {
	way := "direct"
	if through {
		way = "through"
	}
	dir := filepath.Join(o.dir, s.name, way)
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(dir, "suite"), 0o755); err != nil {
		return nil, err
	}
	cluster, err := kubetest.Start(ctx, kubetest.Options{Flags: s.flags})
	if err != nil {
		return nil, err
	}
	defer cluster.Stop()
	at := server{url: cluster.URL, caFile: cluster.CAFile, token: cluster.Admin, programs: cluster.Programs, dir: filepath.Join(dir, "suite")}
	if through {
		gateway, err := kubetest.StartGateway(ctx, kubetest.GatewayOptions{
			Program: o.regate, Dir: filepath.Join(dir, "regate"), Server: cluster.URL, CAFile: cluster.CAFile, Token: cluster.Admin, Policy: allowAll,
		})
		if err != nil {
			return nil, err
		}
		defer gateway.Stop()
		at.url, at.caFile = gateway.URL, gateway.CAFile
		if at.token, err = gateway.Token(ctx, "agent"); err != nil {
			return nil, err
		}
	}
	return s.run(ctx, o, at)
}

// differences reads the differences that are meant to be: suite, name, reason.
func differences(file string) (map[string]string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for line := range strings.Lines(string(raw)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.SplitN(line, " ", 3)
		if len(fields) != 3 {
			return nil, fmt.Errorf("%s: want SUITE NAME REASON: %s", file, line)
		}
		out[fields[0]+" "+fields[1]] = fields[2]
	}
	return out, nil
}

func passed(results map[string]bool) (n int) {
	for _, ok := range results {
		if ok {
			n++
		}
	}
	return n
}

func union(a, b map[string]bool) map[string]bool {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}

func word(ok bool) string {
	if ok {
		return "passes"
	}
	return "fails"
}
