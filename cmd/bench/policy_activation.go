package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/regate-dev/regate/engine/input"
	"github.com/regate-dev/regate/engine/policy"
	"github.com/regate-dev/regate/engine/policy/backtest"
	"github.com/regate-dev/regate/engine/policy/corpus"
)

// activation measures how long it takes to put 3,000 rules in force, and how
// long a decision waits meanwhile.
func activation(ctx context.Context, o options) ([]figure, error) {
	const rules = 3_000
	dir := filepath.Join(o.dir, "policy-activation")
	if err := writeRules(dir, rules, 0); err != nil {
		return nil, err
	}
	var times, quiet, busy []float64
	for range o.rounds {
		e, err := startEngine(ctx, dir, false)
		if err != nil {
			return nil, err
		}
		doc := referenceDocument()
		for _, during := range []bool{false, true} {
			waits := asking(ctx, e, doc)
			start := time.Now()
			if during {
				was := e.Status().Snapshot
				if err := writeRules(dir, rules, int(time.Now().UnixNano())); err != nil {
					return nil, err
				}
				if err := e.Refresh(ctx); err != nil {
					return nil, err
				}
				if e.Status().Snapshot == was {
					return nil, fmt.Errorf("the rules were not put in force: %+v", e.Status().Bundles)
				}
				times = append(times, float64(time.Since(start).Milliseconds()))
			} else {
				time.Sleep(500 * time.Millisecond)
			}
			list := waits()
			p := list[len(list)*999/1000]
			if during {
				busy = append(busy, p)
			} else {
				quiet = append(quiet, p)
			}
		}
		if err := e.Close(ctx); err != nil {
			return nil, err
		}
	}
	fmt.Printf("\nactivation of %d rules: %.0f ms; a decision meanwhile takes at the 99.9th percentile %.1f µs, else %.1f µs\n", rules, median(times), median(busy), median(quiet))
	return []figure{
		{"policy_3000_activation", median(times), "ms", ""},
		{"policy_decision_p999", median(quiet), "µs", ""},
		{"policy_decision_p999_during_activation", median(busy), "µs", ""},
	}, nil
}

// asking makes decisions one after the other, a part of them not from the cache,
// until the function that it returns is called; that gives the time of each in
// µs, sorted.
func asking(ctx context.Context, e *policy.Engine, doc *input.Document) func() []float64 {
	stop := make(chan struct{})
	var waits []float64
	var done sync.WaitGroup
	done.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			d := *doc
			if i%10 == 0 {
				d.Subject = input.NewPart(input.Principal{ID: fmt.Sprint("user-", i), Groups: []string{"analysts"}})
			}
			start := time.Now()
			e.Evaluate(ctx, &d)
			waits = append(waits, float64(time.Since(start).Nanoseconds())/1000)
			time.Sleep(50 * time.Microsecond) // leaves the core to the activation, as a gateway's waits do
		}
	})
	return func() []float64 {
		close(stop)
		done.Wait()
		slices.Sort(waits)
		return waits
	}
}

// replays measures how many recorded decisions a core re-evaluates in a second:
// each with an input of its own, and with inputs of which most repeat.
func replays(ctx context.Context, o options) ([]figure, error) {
	dir := filepath.Join(o.dir, "policy-300")
	set, err := policy.LoadSet(ctx, policy.SetOptions{Bundles: []policy.Bundle{{Name: "bench", URL: dir}}})
	if err != nil {
		return nil, err
	}
	var figures []figure
	for _, c := range []struct {
		name     string
		distinct int
	}{{"distinct", 0}, {"repeating", 200}} {
		const total = 20_000
		records, err := recorded(ctx, set, total, c.distinct)
		if err != nil {
			return nil, err
		}
		var rates []float64
		for range o.rounds {
			runtime.GC()
			start := processCPU()
			report, err := backtest.Replay(ctx, corpus.Of(records...), set, set, backtest.Options{})
			if err != nil {
				return nil, err
			}
			if report.Baseline.Differs > 0 || report.Unchanged != total {
				return nil, fmt.Errorf("replay: what decided does not decide the same: %+v", report.Baseline)
			}
			rates = append(rates, total/(processCPU()-start).Seconds())
		}
		fmt.Printf("replay, %s inputs: %.0f decisions a second of a core\n", c.name, median(rates))
		figures = append(figures, figure{"policy_replay_" + c.name, median(rates), "decisions/s/core", ""})
	}
	return figures, nil
}

// recorded makes decisions as recordings hold them. distinct is how many inputs
// differ in what the policies read; 0: all.
func recorded(ctx context.Context, set *policy.Set, total, distinct int) ([]corpus.Recorded, error) {
	if distinct == 0 {
		distinct = total
	}
	out := make([]corpus.Recorded, 0, total)
	for i := range total {
		doc := *referenceDocument()
		doc.Request.ID = fmt.Sprint("request-", i)
		doc.Subject = input.NewPart(input.Principal{ID: fmt.Sprint("user-", i%distinct), Groups: []string{"analysts"}, Scopes: []string{}, Claims: map[string]any{}})
		raw, err := json.Marshal(&doc)
		if err != nil {
			return nil, err
		}
		entries, err := corpus.Split(raw)
		if err != nil {
			return nil, err
		}
		r, err := set.Evaluate(ctx, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, corpus.Recorded{
			SessionID: "s", Turn: uint64(i + 1), DecisionID: fmt.Sprint("d-", i), Time: doc.Time, Stage: string(doc.Stage), Effect: r.Effect.String(),
			Input: raw, InputDigest: doc.Digest().String(), Entries: entries, Ruling: r.JSON(), Bundles: r.Bundles,
		})
	}
	return out, nil
}
