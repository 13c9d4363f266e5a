package prove

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/storage"
	"github.com/open-policy-agent/opa/v1/tester"
	"github.com/open-policy-agent/opa/v1/topdown"

	"github.com/regate-dev/regate/engine/policy"
)

// defaultTestTimeout is stock opa's.
const defaultTestTimeout = 5 * time.Second

// TestOptions say how Rego tests are run.
type TestOptions struct {
	Filter   string        // regular expression on "data.package.test_name"; "" runs all
	Timeout  time.Duration // of one test; 0 means 5 s, as stock opa's
	Coverage bool          // count which lines the tests reach
	Trace    bool          // keep each test's trace
	Parallel int           // 0 means one for each core
}

// TestReport is what the Rego tests said.
type TestReport struct {
	Results  []*tester.Result // sorted by file and line
	Coverage *cover.Report    // nil unless asked for
}

// Counts returns how many tests passed, failed, erred and were skipped.
func (r *TestReport) Counts() (passed, failed, erred, skipped int) {
	for _, t := range r.Results {
		switch {
		case t.Skip:
			skipped++
		case t.Error != nil:
			erred++
		case t.Fail:
			failed++
		default:
			passed++
		}
	}
	return passed, failed, erred, skipped
}

// Test runs the Rego tests of the set as `opa test` does, with the gateway's
// schemas and capabilities. A test that fails is no error; tests that do not
// compile are.
func Test(ctx context.Context, set *policy.Set, o TestOptions) (*TestReport, error) {
	modules, err := set.ModulesWithTests()
	if err != nil {
		return nil, err
	}
	compiler, err := policy.NewTestCompiler()
	if err != nil {
		return nil, err
	}
	runner, txn, done, err := newRunner(ctx, set, compiler.WithEnablePrintStatements(true), modules, o)
	if err != nil {
		return nil, err
	}
	defer done()
	var covered *cover.Cover
	runner.CapturePrintOutput(true).EnableTracing(o.Trace).StackTraces(true)
	if o.Coverage {
		covered = cover.New()
		runner.SetCoverageQueryTracer(covered)
	}
	results, err := collect(ctx, runner, txn)
	if err != nil {
		return nil, err
	}
	report := &TestReport{Results: results}
	if covered != nil {
		r := covered.Report(modules)
		report.Coverage = &r
	}
	return report, nil
}

func newRunner(ctx context.Context, set *policy.Set, compiler *ast.Compiler, modules map[string]*ast.Module, o TestOptions) (*tester.Runner, storage.Transaction, func(), error) {
	store := set.Store()
	txn, err := store.NewTransaction(ctx)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("open the policies' data: %w", err)
	}
	compiler = compiler.WithPathConflictsCheck(storage.NonEmpty(ctx, store, txn))
	runner := tester.NewRunner().SetCompiler(compiler).SetStore(store).SetModules(modules).
		SetTimeout(cmp.Or(o.Timeout, defaultTestTimeout)).Filter(o.Filter)
	if o.Parallel > 0 {
		runner.SetParallel(o.Parallel)
	}
	return runner, txn, func() { store.Abort(ctx, txn) }, nil
}

func collect(ctx context.Context, runner *tester.Runner, txn storage.Transaction) ([]*tester.Result, error) {
	ch, err := runner.RunTests(ctx, txn)
	if err != nil {
		return nil, fmt.Errorf("compile the tests: %w", err)
	}
	var results []*tester.Result
	for r := range ch {
		results = append(results, r)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("run the tests: %w", context.Cause(ctx))
	}
	slices.SortFunc(results, func(a, b *tester.Result) int {
		return cmp.Or(cmp.Compare(a.Location.File, b.Location.File), cmp.Compare(a.Location.Row, b.Location.Row), cmp.Compare(a.Name, b.Name))
	})
	return results, nil
}

// NotCovered lists the lines that no test reaches, by file, both sorted.
func (r *TestReport) NotCovered() map[string][]cover.Range {
	out := map[string][]cover.Range{}
	if r.Coverage == nil {
		return out
	}
	for _, file := range slices.Sorted(maps.Keys(r.Coverage.Files)) {
		if lines := r.Coverage.Files[file].NotCovered; len(lines) > 0 {
			out[file] = lines
		}
	}
	return out
}

// Notes returns what trace(…) and print wrote and where a traced test failed.
func Notes(r *tester.Result) []*topdown.Event {
	var out []*topdown.Event
	for _, e := range r.Trace {
		if e.Op == topdown.FailOp || e.Op == topdown.NoteOp {
			out = append(out, e)
		}
	}
	return out
}
