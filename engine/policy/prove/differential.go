package prove

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/regate-dev/regate/engine/policy"
)

// Disagreement is an input that two ways of evaluating the same policies decide
// differently: a defect of the evaluator.
type Disagreement struct {
	From    string         `json:"from"`
	Without string         `json:"without"` // what was turned off
	Want    *policy.Ruling `json:"want"`    // with everything on, as the gateway
	Got     *policy.Ruling `json:"got"`
}

// DifferentialReport is what the differential test found.
type DifferentialReport struct {
	Disagreements []Disagreement `json:"disagreements"`
	Inputs        int            `json:"inputs"`
}

// ways are what is turned off; the gateway has both on.
var ways = []struct {
	name                string
	indexing, earlyExit bool
}{
	{"rule index", false, true},
	{"early exit", true, false},
	{"rule index and early exit", false, false},
}

// Differential decides every case with and without OPA's rule index and early
// exit. The cases are decided as they are.
func Differential(ctx context.Context, set *policy.Set, cases func(yield func(Case) bool)) (*DifferentialReport, error) {
	d := &differ{ctx: ctx, over: newOverlays(set), report: DifferentialReport{Disagreements: []Disagreement{}}}
	work := make(chan Case)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(func() {
			for c := range work {
				d.try(c)
			}
		})
	}
	for c := range cases {
		if ctx.Err() != nil {
			break
		}
		work <- c
	}
	close(work)
	workers.Wait()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("compare evaluations: %w", context.Cause(ctx))
	}
	if d.err != nil {
		return nil, d.err
	}
	slices.SortFunc(d.report.Disagreements, func(a, b Disagreement) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.Without, b.Without))
	})
	return &d.report, nil
}

type differ struct {
	ctx  context.Context
	over *overlays

	mu     sync.Mutex
	err    error
	report DifferentialReport
}

func (d *differ) try(c Case) {
	set, err := d.over.with(d.ctx, c.Data)
	var in *policy.Input
	if err == nil {
		in, err = policy.NewInput(c.Input)
	}
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.err = fmt.Errorf("%s: %w", c.From, err)
		return
	}
	want := set.Decide(d.ctx, in, in.Term())
	var found []Disagreement
	for _, way := range ways {
		got := set.WithOptimisations(way.indexing, way.earlyExit).Decide(d.ctx, in, in.Term())
		if !same(want, got) {
			found = append(found, Disagreement{From: c.From, Without: way.name, Want: want, Got: got})
		}
	}
	if d.ctx.Err() != nil {
		return // what was cut off says nothing
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.report.Inputs++
	d.report.Disagreements = append(d.report.Disagreements, found...)
}

// same compares rulings. Which of several errors is met first is not fixed.
func same(a, b *policy.Ruling) bool {
	if len(a.Errors) > 0 && len(b.Errors) > 0 {
		return a.Effect == b.Effect
	}
	return bytes.Equal(a.JSON(), b.JSON())
}
