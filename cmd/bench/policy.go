package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/open-policy-agent/opa/v1/bundle"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
)

// ruleCounts are the sizes of policy that are measured.
var ruleCounts = []int{10, 300, 3_000}

// policies measures what a decision costs: by the engine, with and without its
// cache, by OPA as a library, and by `opa run -s` over loopback, in turn.
func policies(ctx context.Context, o options) ([]figure, error) {
	var figures []figure
	fmt.Printf("\n%-8s %-26s %12s %10s %14s\n", "rules", "decided by", "CPU µs", "allocs", "× uncached")
	for _, rules := range ruleCounts {
		found, err := decisions(ctx, o, rules)
		if err != nil {
			return nil, fmt.Errorf("policies of %d rules: %w", rules, err)
		}
		figures = append(figures, found...)
	}
	more, err := activation(ctx, o)
	if err != nil {
		return nil, err
	}
	figures = append(figures, more...)
	more, err = replays(ctx, o)
	return append(figures, more...), err
}

// contender is one way to a decision. many makes n decisions.
type contender struct {
	name string
	many func(n int) error
	n    int        // decisions a round
	of   func() int // process whose CPU counts beside this one's; nil: none
}

func decisions(ctx context.Context, o options, rules int) ([]figure, error) {
	dir := filepath.Join(o.dir, fmt.Sprintf("policy-%d", rules))
	if err := writeRules(dir, rules, 0); err != nil {
		return nil, err
	}
	plain, err := startEngine(ctx, dir, true)
	if err != nil {
		return nil, err
	}
	defer plain.Close(ctx)
	cached, err := startEngine(ctx, dir, false)
	if err != nil {
		return nil, err
	}
	defer cached.Close(ctx)
	prepared, err := prepare(ctx, dir)
	if err != nil {
		return nil, err
	}
	server, err := startOPA(ctx, o, dir)
	if err != nil {
		return nil, err
	}
	defer server.stop()

	doc := referenceDocument()
	if r := plain.Evaluate(ctx, doc); r.Effect != policy.Allow {
		return nil, fmt.Errorf("the reference input is not allowed: %s", r.JSON())
	}
	raw, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	var asMap map[string]any
	if err := json.Unmarshal(raw, &asMap); err != nil {
		return nil, err
	}
	fresh, old := "regate_uncached", "regate_cached"
	ways := []contender{
		{name: fresh, n: 3_000, many: func(n int) error {
			for range n {
				plain.Evaluate(ctx, freshParts(doc))
			}
			return nil
		}},
		{name: old, n: 200_000, many: func(n int) error {
			for range n {
				cached.Evaluate(ctx, doc)
			}
			return nil
		}},
		{name: "opa_library", n: 1_000, many: func(n int) error {
			for range n {
				if rs, err := prepared.Eval(ctx, rego.EvalInput(asMap)); err != nil || len(rs) != 1 {
					return fmt.Errorf("prepared query: %d results, %w", len(rs), err)
				}
			}
			return nil
		}},
		{name: "opa_server", n: 500, of: server.pid, many: func(n int) error {
			for range n {
				if err := server.ask(ctx, raw); err != nil {
					return err
				}
			}
			return nil
		}},
	}
	cost, allocs := map[string][]float64{}, map[string][]float64{}
	alone := []float64{} // the server's own CPU
	for round := range o.rounds + 1 {
		for _, w := range ways {
			c, err := measure(w)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", w.name, err)
			}
			if round == 0 { // warms up
				continue
			}
			cost[w.name] = append(cost[w.name], c.own+c.other)
			allocs[w.name] = append(allocs[w.name], c.allocs)
			if w.of != nil {
				alone = append(alone, c.other)
			}
		}
	}
	var figures []figure
	base := median(cost[fresh])
	for _, w := range ways {
		us := median(cost[w.name])
		name := fmt.Sprintf("policy_%d_%s", rules, w.name)
		fmt.Printf("%-8d %-26s %12.2f %10.0f %14.2f\n", rules, w.name, us, median(allocs[w.name]), us/base)
		figures = append(figures, figure{name + "_cpu", us, "µs", ""})
		if w.of == nil {
			figures = append(figures, figure{name + "_allocs", median(allocs[w.name]), "", ""})
		}
		if w.name != fresh {
			figures = append(figures, figure{name + "_cpu_ratio", us / base, "", fresh})
		}
	}
	us := median(alone)
	fmt.Printf("%-8d %-26s %12.2f %10s %14.2f\n", rules, "  of it the server's", us, "", us/base)
	return append(figures, figure{fmt.Sprintf("policy_%d_opa_server_alone_cpu", rules), us, "µs", ""},
		figure{fmt.Sprintf("policy_%d_opa_server_alone_cpu_ratio", rules), us / base, "", fresh}), nil
}

// spent is what one decision took: µs of this process and of another, and
// allocations of this one.
type spent struct{ own, other, allocs float64 }

func measure(c contender) (spent, error) {
	runtime.GC()
	var before, after runtime.MemStats
	other := 0.0
	if c.of != nil {
		var err error
		if other, err = cpu(c.of()); err != nil {
			return spent{}, err
		}
	}
	runtime.ReadMemStats(&before)
	start := processCPU()
	if err := c.many(c.n); err != nil {
		return spent{}, err
	}
	took := processCPU() - start
	runtime.ReadMemStats(&after)
	out := spent{
		own:    float64(took.Microseconds()) / float64(c.n),
		allocs: float64(after.Mallocs-before.Mallocs) / float64(c.n),
	}
	if c.of != nil {
		now, err := cpu(c.of())
		if err != nil {
			return spent{}, err
		}
		out.other = (now - other) * 1e6 / float64(c.n)
	}
	return out, nil
}

// processCPU is the processor time that this process has used, garbage
// collection included. Source: getrusage(2).
func processCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no other argument that could be wrong
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func startEngine(ctx context.Context, dir string, uncached bool) (*policy.Engine, error) {
	e, err := policy.New(ctx, policy.Config{
		Bundles: []policy.Bundle{{Name: "bench", URL: dir}},
		Cache:   policy.CacheConfig{Disabled: uncached},
		Timeout: 10 * time.Second,
	})
	if err != nil {
		return nil, err
	}
	return e, e.Ready()
}

// prepare makes the query that an embedder of OPA would: the whole package, of
// a bundle, asked with a map.
func prepare(ctx context.Context, dir string) (rego.PreparedEvalQuery, error) {
	b, err := bundle.NewCustomReader(bundle.NewDirectoryLoader(dir)).Read()
	if err != nil {
		return rego.PreparedEvalQuery{}, err
	}
	return rego.New(rego.Query("data.regate.policies.bench.rules"), rego.ParsedBundle("bench", &b)).PrepareForEval(ctx)
}

// freshParts copies what differs from request to request, so that making the
// evaluator's input of it is part of what is measured.
func freshParts(d *input.Document) *input.Document {
	out := *d
	out.Action = input.NewPart(d.Action.Value())
	out.Resource = input.NewPart(d.Resource.Value())
	out.Detail = input.NewPart(d.Detail.Value())
	out.Parameters = input.NewPart(d.Parameters.Value())
	return &out
}

func writeRules(dir string, rules, version int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, text := range map[string]string{
		".manifest":  fmt.Sprintf(`{"revision": "%d", "roots": ["regate/policies/bench"]}`, version),
		"rules.rego": rulesText(rules),
	} {
		// A folder that is watched must not be seen half written.
		next := filepath.Join(filepath.Dir(dir), "next-"+name)
		if err := os.WriteFile(next, []byte(text), 0o644); err != nil {
			return err
		}
		if err := os.Rename(next, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}
